"""What a cloned policy must be asked before it is trusted: losses on unseen episodes, and does it follow the words.

A low loss does not tell whether the policy reads its target from the instruction or from its own motion; at the first
step of an episode there is no motion yet. Called by `regrasp` during and after training.
"""

import numpy as np
import torch

from core.arrays import Floats, Ints
from residual.bc import BcConfig, BcNetwork, batch_losses
from residual.bc_data import BcData, encode_rows, instructions


@torch.no_grad()
def unseen_losses(network: BcNetwork, data: BcData, config: BcConfig, rows: int, seed: int) -> dict[str, float]:
    """Returns mean losses over `rows` random rows of `data`, keyed as in `Trained.losses`.

    Args:
        network: To be judged.
        data: Episodes it was not trained on.
        config: For the number of draws.
        rows: How many.
        seed: Of rows, phrases and noise; the same seed compares networks.
    """
    rng = np.random.default_rng(seed)
    picked = rng.integers(len(data.step), size=rows)
    totals: dict[str, float] = {}
    for part in np.array_split(picked, max(1, rows // 128)):
        told = data.order[part]
        batch = encode_rows(data, part, told, instructions(data, part, told, rng))
        for name, value in batch_losses(network, batch, config, rng).items():
            totals[name] = totals.get(name, 0.0) + value.item() * len(part) / rows
    return totals


@torch.no_grad()
def first_moves(network: BcNetwork, data: BcData, rows: Ints, text: Ints) -> Floats:
    """Returns the chunks (E, T, A), still normalised, that the policy plans at `rows`.

    Args:
        network: To be judged; the sampler starts from zero noise and takes 3 steps.
        data: Episodes it was not trained on.
        rows: First rows of E episodes, shape (E,).
        text: What each is told, shape (E, W).
    """
    batch = encode_rows(data, rows, data.order[rows], text)
    prefix = network.read_all(batch.pixels, batch.text)
    return np.asarray(network.sample(prefix, batch.state, torch.zeros_like(batch.actions), 3).double().numpy())


def headed_for(moved_m: Floats, tcp_m: Floats, objects_m: Floats) -> Ints:
    """Returns the index of the object whose direction in the plane is nearest to the movement's, shape (E,).

    Args:
        moved_m: Displacement the chunk asks for, x and y, shape (E, 2) [m].
        tcp_m: Where the tool is, x and y, shape (E, 2) [m].
        objects_m: Candidates, x and y, shape (E, O, 2) [m].
    """
    towards = objects_m - tcp_m[:, None]
    cosine = (towards * moved_m[:, None]).sum(-1) / np.linalg.norm(towards, axis=-1)
    return np.asarray(cosine.argmax(axis=1), dtype=np.int64)
