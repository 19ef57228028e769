"""The last question to a freshly trained policy: does it do the task, alone, in the simulator? Called by `learn_bc`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bridge.pi0.policy import Noise, Pi0Policy
from core.recovery import Rate
from regrasp.capture import LATENCY_TICKS
from regrasp.rollout_policy import RolloutConfig, rollout
from sim.cameras import CellCameras
from sim.task import Task, Wording
from sim.world import BatchWorld

_ARMS: tuple[tuple[Wording, Noise], ...] = (
    ("training", "zero"),
    ("training", "random"),
    ("paraphrases", "zero"),
    ("paraphrases", "random"),
)
_WORLDS = 32
_AS_IN_THE_LOOP = RolloutConfig(latency_ticks=LATENCY_TICKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Success of the policy alone, without failures injected."""

    task: str
    instructions: Wording
    """"training": those of the demonstrations; "paraphrases": those held out."""
    noise: Noise
    rate: Rate
    mean_ticks: float
    """Control steps to success, over successes; NaN when there were none."""


def try_policy(directory: Path, task: Task, *, size_px: int, episodes: int, seed: int) -> tuple[Trial, ...]:
    """Returns how the checkpoint does with known and held-out instructions, with zero and with random noise.

    Args:
        directory: Checkpoint.
        task: What to do.
        size_px: Rendered picture size [px].
        episodes: Per trial.
        seed: First episode seed, must differ from any training seed's scenes.
    """
    trials = []
    for instructions, noise in _ARMS:
        world = BatchWorld(task, min(_WORLDS, episodes), wording=instructions)
        policy = Pi0Policy.load(directory, noise=noise)
        with CellCameras(world, size_px=size_px) as cameras:
            done = rollout(world, cameras, policy, np.arange(seed, seed + episodes), config=_AS_IN_THE_LOOP)
        ticks = float(done.ticks[done.success].mean()) if done.success.any() else float("nan")
        rate = Rate(k=int(done.success.sum()), n=episodes)
        name = task.info.name
        trials.append(Trial(task=name, instructions=instructions, noise=noise, rate=rate, mean_ticks=round(ticks, 1)))
    return tuple(trials)


def write_trials(directory: Path, trials: Sequence[Trial], seed: int) -> None:
    """Writes evaluation.json into a checkpoint directory, and a table at the end of its README.md.

    Args:
        directory: Checkpoint.
        trials: From `try_policy`.
        seed: First episode seed.
    """
    last = seed + trials[0].rate.n - 1
    arms = [{**asdict(t), "rate": t.rate.rate, "k": t.rate.k, "n": t.rate.n, "ci95": t.rate.ci95} for t in trials]
    document = {"seeds": [seed, last], "injected": "", "arms": arms}
    (directory / "evaluation.json").write_text(json.dumps(document, indent=2) + "\n")
    rows = "".join(
        f"| {t.task} | {t.instructions} | {t.noise} | {t.rate.k}/{t.rate.n} "
        f"| {t.rate.ci95[0]:.2f}-{t.rate.ci95[1]:.2f} | {t.mean_ticks:.0f} |\n"
        for t in trials
    )
    head = f"\nAlone in the simulator, seeds {seed} to {last}, nothing injected:\n\n"
    table = "| task | instructions | noise | success | 95 % | steps |\n|---|---|---|---|---|---|\n"
    with (directory / "README.md").open("a") as file:
        file.write(head + table + rows)
