"""Failures that are quickly learned: hands over the plate that hold the fruit, as an idle base would for ever."""

import numpy as np

from core.failures import FailureMode
from core.flow import ActionChunk
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask, RewardSpec
from core.robots import EE_DELTA
from core.scene import SceneState, TrackedObject
from core.worlds import FailureState
from residual.batch import RecoveryConfig, RecoverySetup
from residual.compile import compile_reward
from residual.masks import default_mask
from residual.mlp import Mlp
from residual.skills import default_space
from residual.surrogate import INPUTS
from residual.surrogate_train import finished
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import INFO
from sim.world import BatchWorld

MODE = FailureMode.MISSED_GRASP


def stuck_over_the_plate(world: BatchWorld, first_seed: int) -> tuple[FailureState, ...]:
    """One failure a world, reached by the expert."""
    states: list[FailureState] = []
    seeds = np.arange(first_seed, first_seed + world.n)
    world.reset(np.arange(world.n), seeds)
    caught: set[int] = set()
    while len(caught) < world.n:
        world.step(FruitExpert().act(world.state()))
        offset = world.state().of("target") - world.state().of("goal")
        over = (np.linalg.norm(offset[:, :2], axis=1) < 0.03) & (offset[:, 2] < 0.07)
        for i in set(np.flatnonzero(over).tolist()) - caught:
            caught.add(i)
            states.append(captured(world, i, int(seeds[i])))
    return tuple(states)


def captured(world: BatchWorld, i: int, seed: int) -> FailureState:
    """World `i` as it is, the base still and knowing where things were before anything was injected."""
    names, before = world.state().object_names, world.state().object_pos_in_base[i]
    if not np.isnan(world.injected_at(i)):
        before = world.before_injection(i)
    seen = {n: p for n, p in zip(names, before, strict=True) if p[2] > -0.1}
    objects = {n: TrackedObject(pos_in_base=p, t_ns=0, confidence=1.0) for n, p in seen.items()}
    rest = ActionChunk(obs_t_ns=0, values=np.tile(EE_DELTA.still(0.0), (3, 1)), dt_s=0.05, policy_id="base@0")
    return FailureState(
        snapshot=world.snapshot(i), mode=MODE, seed=seed, age_s=0.05, queue=rest,
        belief=SceneState(t_ns=0, objects=objects, source="truth"),
    )  # fmt: skip


def idle_setup(world: BatchWorld, episode_steps: int) -> RecoverySetup:
    """Recoveries against a base that does nothing and keeps the hand closed: wrong in every failure."""
    still = EE_DELTA.normalise(EE_DELTA.still(0.0))
    network = Mlp(
        weights=(np.zeros((56, INPUTS), dtype=np.float32),), biases=(np.tile(still, 8).astype(np.float32),),
        activation="relu",
    )  # fmt: skip
    return RecoverySetup(
        world=world, course=INFO.course, surrogate=finished(network, np.zeros(INPUTS), np.ones(INPUTS), 8),
        space=default_space(), config=RecoveryConfig(episode_steps=episode_steps),
    )  # fmt: skip


def compiled(mask: RewardMask | None = None) -> RewardSpec:
    """The reward of these failures."""
    return compile_reward(
        RecoveryDescriptor(
            report_id="r",
            mode=MODE,
            stage=RecoveryStage.APPROACH,
            target="apple",
            obstacles=(),
            mask=mask or default_mask(MODE),
            confidence=1.0,
            model_id="m",
        )
    )
