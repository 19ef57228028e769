"""`regrasp learn surrogate`: the state policies standing in for the image policy in residual training and CI."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from core.demonstrations import Demonstrations
from core.recovery import Rate
from regrasp.task_registry import TaskEntry, find_task, task_names
from residual.surrogate import Surrogate
from residual.surrogate_io import save_surrogate
from residual.surrogate_train import SurrogateConfig, train_surrogate
from residual.surrogate_trial import nominal_rate
from sim.demos import NOISE, record_demonstrations
from sim.world import BatchWorld

FINE_NOISE = 0.05
"""Noise of the second half of the demonstrations: with the base policy's, a peg seldom stays over its hole."""
TRIAL_WORLDS = 64
Progress = Callable[[int], None]
"""Told how many demonstrations are recorded."""
TRIAL_SEED = 6_000_000
"""Episodes of the trial count from here: never a demonstration's, a bank's or an evaluation's."""


@dataclass(frozen=True, kw_only=True)
class LearnSurrogateConfig:
    """Train the state-input stand-ins of the base policy on scripted demonstrations, without images."""

    task: str = "all"
    """Name of the task, or "all"."""
    out: Path = Path("out/surrogate")
    """Folder for weights and manifest, a folder a task."""
    episodes: int = 400
    """Demonstrations of each task: half as noisy as those of the base policy, half with little noise."""
    demo_seed: int = 1
    """Seed of scenes and noise of the first half, as in `regrasp learn demos`; the other half has the next one."""
    seed: int = 0
    """Seed of training."""


def learn_surrogate(config: LearnSurrogateConfig) -> int:
    """Records, trains, tries, saves; returns the exit code."""
    for name in task_names() if config.task == "all" else (config.task,):
        _learn(find_task(name), config)
    return 0


def _learn(task: TaskEntry, config: LearnSurrogateConfig) -> None:
    name, recipe, losses = task.info.name, SurrogateConfig(seed=config.seed), list[float]()
    with tqdm(total=config.episodes + recipe.epochs, desc=name) as bar:

        def recorded(count: int) -> None:
            bar.update(min(count, config.episodes) - bar.n)

        def trained(_: int, loss: float) -> None:
            losses.append(loss)
            bar.update()

        demos = _demonstrations(task, config, recorded)
        surrogate = train_surrogate(demos, task.info.course, recipe, trained)
    rate = _tried(task, surrogate)
    made: dict[str, float | str] = {
        "task": name, "episodes": float(config.episodes), "demo_seed": float(config.demo_seed),
        "seed": float(config.seed), "last_loss": round(losses[-1], 5), "nominal_k": float(rate.k),
        "nominal_n": float(rate.n), "nominal_seed": float(TRIAL_SEED),
    }  # fmt: skip
    save_surrogate(config.out / name, surrogate, made)
    print(f"{config.out / name}: {surrogate.policy_id}, {rate.k}/{rate.n} told the truth, nothing failing, simulated")


def _demonstrations(task: TaskEntry, config: LearnSurrogateConfig, progress: Progress) -> Demonstrations:
    """Returns both halves, one after the other."""
    count = config.episodes // 2
    rough = record_demonstrations(
        task.make(), task.demonstrator(), episodes=count, seed=config.demo_seed, noise=NOISE, progress=progress
    )
    fine = record_demonstrations(
        task.make(), task.demonstrator(), episodes=config.episodes - count, seed=config.demo_seed + 1,
        noise=FINE_NOISE, progress=lambda done: progress(count + done),
    )  # fmt: skip
    return replace(
        rough,
        proprio=np.concatenate([rough.proprio, fine.proprio]),
        actions=np.concatenate([rough.actions, fine.actions]),
        episode=np.concatenate([rough.episode, fine.episode + count]),
        instructions=rough.instructions + fine.instructions,
        objects_in_base=np.concatenate([rough.objects_in_base, fine.objects_in_base]),
    )


def _tried(task: TaskEntry, surrogate: Surrogate) -> Rate:
    world = BatchWorld(task.make(), TRIAL_WORLDS)
    return nominal_rate(surrogate, world, task.info.course, seed=TRIAL_SEED, steps=task.info.episode_steps)
