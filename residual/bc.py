"""Behaviour cloning of a flow-matching policy: first its eyes on object positions, then its actions.

`pretrain` and `fit` are given a network and encoded demonstrations by `regrasp` and yield after every step, so that
whoever calls them shows progress, logs and saves. The network's own code lives elsewhere; `BcNetwork` is all that is
asked of it. Source: pi0's flow-matching loss, Black et al. (2024); several noise draws share one costly prefix.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from core.errors import ContractError
from residual.bc_data import Augmentation, Batch, BcData, Sampler


class BcPrefix(Protocol):
    """What the network made of images and words."""

    @property
    def image_tokens(self) -> Tensor:
        """Shape (B, tokens, H)."""
        ...

    @property
    def text_state(self) -> Tensor:
        """Shape (B, H); the robot's state must not have entered it."""
        ...


class BcReadout(Protocol):
    """Reads positions out of the network."""

    centre_m: Tensor
    """Middle of the positions, shape (3,) [m]; set here before training."""
    spread_m: Tensor
    """Size of one output unit, shape () [m]."""

    def object_positions(self, image_tokens: Tensor, state: Tensor) -> Tensor:
        """Returns (B, O, 3) [m]."""
        ...

    def named_positions(self, text_state: Tensor) -> Tensor:
        """Returns the present target's and goal's position, (B, 2, 3) [m]."""
        ...


class BcNetwork(Protocol):
    """A torch module with a readout, see `bridge.pi0.model.Pi0Network`."""

    readout: Any
    """A `BcReadout`."""

    def image_tokens(self, pixel_values: Tensor) -> Tensor:
        """Returns (B, tokens, H) of pixels (B, C, 3, H, W), without the language model."""
        ...

    def read_all(self, pixel_values: Tensor, text: Tensor) -> Any:
        """Returns a `BcPrefix` of pixels and instruction ids (B, W)."""
        ...

    def flow_loss(self, prefix: Any, state: Tensor, actions: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        """Returns squared velocity errors (B * K, T, A) for K draws of noise and time per row."""
        ...

    def sample(self, prefix: Any, state: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Returns normalised chunks (B, T, A)."""
        ...

    def parameters(self) -> Iterator[Any]:
        """Yields every weight."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """Returns weights by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BcConfig:
    """The recipe; the defaults are those of the shipped policy."""

    pretrain_steps: int = 2500
    """Steps on object positions alone."""
    pretrain_batch: int = 128
    pretrain_lr: float = 2e-3
    steps: int = 14000
    """Steps of flow matching."""
    batch: int = 64
    lr: float = 1e-3
    """Largest learning rate; falls to 2 % of it along a cosine."""
    weight_decay: float = 0.02
    draws: int = 3
    """Noise and time draws that share one prefix."""
    average: float = 0.999
    """Decay per step of the averaged weights, which are the ones to keep."""
    readout_weight: float = 1.0
    """Weight of each position loss [per 0.1 m] beside the flow loss."""
    time_alpha: float = 1.5
    """Flow times follow Beta(time_alpha, 1) * 0.999 + 0.001: mostly noise. Source: pi0."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.pretrain_steps, self.steps) < 0 or min(self.batch, self.pretrain_batch, self.draws) < 1:
            raise ContractError("steps must not be negative; batches and draws must be 1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """Where training stands after one step."""

    stage: str
    """"pretrain" or "fit"."""
    step: int
    """Steps done, from 1."""
    losses: Mapping[str, float]
    """"flow" without unit; "objects_cm" and "named_cm" mean errors per coordinate [cm]."""


def pretrain(network: BcNetwork, data: BcData, config: BcConfig) -> Iterator[Trained]:
    """Teaches vision tower and readout where all objects are; yields after every step.

    Args:
        network: Changed in place; its readout is centred on the data.
        data: Demonstrations.
        config: The recipe.
    """
    _centre(network, data)
    sampler = Sampler(data, config.augmentation, np.random.default_rng([config.seed, 1]))
    optimizer = _optimizer(network, config.pretrain_lr, config)
    for step in range(1, config.pretrain_steps + 1):
        _set_rate(optimizer, config.pretrain_lr, step / config.pretrain_steps, warm=min(1.0, step / 50))
        batch = sampler.draw(config.pretrain_batch)
        loss = _objects_loss(network, network.image_tokens(batch.pixels), batch)
        _descend(network, optimizer, loss)
        yield Trained(stage="pretrain", step=step, losses={"objects_cm": 10 * loss.item()})


def fit(network: BcNetwork, data: BcData, config: BcConfig, average: "Average", start: int = 0) -> Iterator[Trained]:
    """Trains everything on actions and positions; yields after every step.

    Args:
        network: Changed in place.
        data: Demonstrations.
        config: The recipe.
        average: Follows the weights; keep those.
        start: Steps already done, when an interrupted run goes on; the optimizer starts afresh.
    """
    rng = np.random.default_rng([config.seed, 2, start])
    sampler = Sampler(data, config.augmentation, rng)
    optimizer = _optimizer(network, config.lr, config)
    for step in range(start + 1, config.steps + 1):
        _set_rate(optimizer, config.lr, step / config.steps, warm=min(1.0, (step - start) / 100))
        batch = sampler.draw(config.batch)
        losses = batch_losses(network, batch, config, rng)
        total = losses["flow"] + config.readout_weight * (losses["objects_cm"] + losses["named_cm"]) / 10
        _descend(network, optimizer, total)
        average.follow(network)
        yield Trained(stage="fit", step=step, losses={k: v.item() for k, v in losses.items()})


def batch_losses(network: BcNetwork, batch: Batch, config: BcConfig, rng: np.random.Generator) -> dict[str, Tensor]:
    """Returns the losses of one batch, keyed as in `Trained.losses`.

    Args:
        network: In any mode.
        batch: Rows.
        config: For the number of draws.
        rng: Of noise and time.
    """
    prefix: BcPrefix = network.read_all(batch.pixels, batch.text)
    objects = _objects_loss(network, prefix.image_tokens, batch)
    named = (network.readout.named_positions(prefix.text_state) - batch.named_m).abs().mean() / 0.1
    rows = len(batch.state) * config.draws
    noise = torch.from_numpy(rng.standard_normal((rows, *batch.actions.shape[1:]), dtype=np.float32))
    time = torch.from_numpy(rng.random(rows, dtype=np.float32)) ** (1 / config.time_alpha) * 0.999 + 0.001
    error = network.flow_loss(prefix, batch.state, batch.actions, noise, time).mean(-1)
    weight = batch.weight.repeat_interleave(config.draws, 0)
    flow = (error * weight).sum() / weight.sum().clamp(min=1)
    return {"flow": flow, "objects_cm": 10 * objects, "named_cm": 10 * named}


class Average:
    """Exponentially averaged weights: calmer than the last ones, and what a checkpoint holds.

    Args:
        network: Whose weights.
        decay: Per step, once warm.
    """

    def __init__(self, network: BcNetwork, decay: float) -> None:
        self._decay, self._seen = decay, 0
        self._weights = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def follow(self, network: BcNetwork) -> None:
        """Moves towards the network's weights."""
        self._seen += 1
        decay = min(self._decay, (1 + self._seen) / (10 + self._seen))
        for name, now in network.state_dict().items():
            self._weights[name].lerp_(now, 1 - decay)

    @contextmanager
    def shown(self, network: BcNetwork) -> Iterator[None]:
        """Puts the averaged weights into the network for as long as the context lasts."""
        live = network.state_dict()
        kept = {k: v.detach().clone() for k, v in live.items()}
        try:
            _put(live, self._weights)
            yield
        finally:
            _put(live, kept)


@torch.no_grad()
def _put(into: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, tensor in into.items():
        tensor.copy_(values[name])


def _centre(network: BcNetwork, data: BcData) -> None:
    where = data.objects_m[data.present]
    network.readout.centre_m.copy_(torch.from_numpy(where.mean(axis=0)))


def _objects_loss(network: BcNetwork, tokens: Tensor, batch: Batch) -> Tensor:
    """Mean absolute error per coordinate of objects on the table [0.1 m]."""
    error = (network.readout.object_positions(tokens, batch.state) - batch.objects_m).abs().mean(-1)
    mean: Tensor = (error * batch.present).sum() / batch.present.sum().clamp(min=1)
    return mean / 0.1


def _optimizer(network: BcNetwork, rate: float, config: BcConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(list(network.parameters()), lr=rate, betas=(0.9, 0.98), weight_decay=config.weight_decay)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float, done: float, warm: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = warm * rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def _descend(network: BcNetwork, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(list(network.parameters()), 1.0)
    optimizer.step()
