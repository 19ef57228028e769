"""`regrasp bench train`: how fast recovery training is end to end, in environment steps per CPU-second.

Everything that training does counts: physics, base, tracker noise, features, reward, PPO's rollouts and updates. The
failure states are made on the spot by the scripted demonstrator, without pictures, so that nothing has to be captured.
What a process loads once, whatever it trains, does not count: torch brings in its compiler with the first optimizer.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from core.failures import FailureMode
from core.recovery import RecoveryDescriptor
from core.scene import SceneState, TrackedObject
from core.worlds import FailureState, Injection
from regrasp.artifacts import find_models
from regrasp.task_registry import TaskEntry, find_task
from residual.batch import RecoveryConfig, RecoverySetup
from residual.compile import compile_reward
from residual.fitting import fit_of
from residual.masks import default_mask
from residual.noise import DomainRanges
from residual.ppo import Schooling, train_actor
from residual.ppo_config import PpoConfig
from residual.skills import default_space
from residual.surrogate_io import load_surrogate
from residual.templates import find_template
from sim.cell import PARKED_M
from sim.world import BatchWorld

WORLDS = 64
AGE_S = 0.5
"""The failure states are taken so long after the injection struck [s]."""


@dataclass(frozen=True, kw_only=True)
class BenchTrainConfig:
    """PPO end to end, environment steps per CPU-second, one thread; no skill comes of it."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    steps: int = 65_536
    """Environment steps to time."""
    models: Path | None = None
    """Folder with the task's surrogate; the shipped one when not given."""


def bench_train(config: BenchTrainConfig) -> int:
    """Measures; returns the exit code."""
    task = find_task(config.task)
    bank = made_failures(task, task.info.modes[0])
    setup = RecoverySetup(
        world=BatchWorld(task.make(), WORLDS),
        course=task.info.course,
        surrogate=load_surrogate(find_models(config.models).surrogate(config.task)),
        space=default_space(),
        config=RecoveryConfig(episode_steps=120, domain=DomainRanges()),
    )
    sub = task.info.course(bank[0].snapshot.instruction).at(bank[0].subtask)
    mode = bank[0].mode
    descriptor = RecoveryDescriptor(
        report_id="bench", mode=mode, stage=find_template(sub.manner, mode).stages[0].stage, target="", obstacles=(),
        mask=default_mask(mode, sub.manner), confidence=1.0, model_id="bench",
    )  # fmt: skip
    spec = compile_reward(descriptor, manner=sub.manner, fit=fit_of(task.info, sub))
    torch.optim.Adam([torch.zeros(1)])
    rates = PpoConfig(total_steps=config.steps, eval_every=10 * config.steps, eval_from=2.0, judge_last=False)
    start = time.process_time()
    with threadpool_limits(1):  # as in training's child processes: idle threads of BLAS spin, and would count
        trained = train_actor(setup, bank, bank[:WORLDS], spec, schooling=Schooling(), config=rates)
    seconds = time.process_time() - start
    print(f"{config.task}: PPO end to end {trained.steps / seconds:.0f} environment steps per CPU-second "
          f"({trained.steps} steps, {WORLDS} worlds, one thread)")  # fmt: skip
    return 0


def made_failures(task: TaskEntry, mode: FailureMode) -> list[FailureState]:
    """Returns one failure state for each world in which a failure struck while the demonstrator worked."""
    world, expert = BatchWorld(task.make(), WORLDS), task.demonstrator()
    world.reset(np.arange(WORLDS), np.arange(WORLDS))
    for i in range(WORLDS):
        world.inject(i, Injection(mode=mode), seed=i)
    found: dict[int, FailureState] = {}
    for _ in range(task.info.episode_steps):
        state = world.state()
        for i in range(WORLDS):
            age_s = float(state.time_s[i]) - world.injected_at(i)
            if i not in found and age_s >= AGE_S:
                found[i] = _state(world, i, mode, age_s)
        if len(found) == WORLDS:
            break
        world.step(expert.act(state))
    return list(found.values())


def _state(world: BatchWorld, i: int, mode: FailureMode, age_s: float) -> FailureState:
    names, before = world.state().object_names, world.before_injection(i)
    there = {n: p for n, p in zip(names, before, strict=True) if p[2] > PARKED_M[2] / 2}
    objects = {n: TrackedObject(pos_in_base=p, t_ns=0, confidence=1.0) for n, p in there.items()}
    subtasks = len(world.task.info.course(world.instruction(i)).subtasks)
    return FailureState(
        snapshot=world.snapshot(i), mode=mode, seed=i, age_s=age_s, queue=None,
        subtask=min(int(world.state().subtask[i]), subtasks - 1),
        belief=SceneState(t_ns=0, objects=objects, source="truth"),
    )  # fmt: skip
