"""Recoveries of one sub-task of a long task, and what the frozen policy saw as a further input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import ConfigError, ContractError
from core.failures import FailureMode
from core.robots import EE_DELTA
from core.scene import SceneState
from core.worlds import FailureState
from residual.bank import by_subtask, load_bank, save_bank
from residual.batch import RecoveryBatch, RecoveryConfig, RecoverySetup
from residual.evaluate import expert_actor, idle_actor, recovered
from residual.features import FEATURES
from residual.mlp import Mlp
from residual.policy_features import PolicyScale
from residual.skills import default_space
from residual.surrogate import INPUTS
from residual.surrogate_train import finished
from sim.tasks.pick_place import PickPlaceExpert
from sim.tasks.sort_two import INFO, SortTwo
from sim.world import BatchWorld

N, P = 6, 3
EXPERT = PickPlaceExpert(INFO)


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    return BatchWorld(SortTwo(), N)


@pytest.fixture(scope="module")
def bank(world: BatchWorld) -> tuple[FailureState, ...]:
    """In every world one state early in the first sub-task, and one early in the second."""
    world.reset(np.arange(N), np.arange(N) + 40)
    rng, states = np.random.default_rng(0), []
    waits = np.full(N, 5)
    caught = np.zeros(N, dtype=np.int64)
    for _ in range(120):
        world.step(EXPERT.act(world.state()))
        waits -= 1
        due = world.state().subtask
        for i in np.flatnonzero((waits <= 0) & (due == caught) & (caught < 2)):
            states.append(failure(world, int(i), int(due[i]), rng.normal(2.0, 5.0, P)))
            caught[i], waits[i] = caught[i] + 1, 30
        if (caught == 2).all():
            break
    return tuple(states)


def failure(world: BatchWorld, i: int, subtask: int, watched: np.ndarray) -> FailureState:
    return FailureState(
        snapshot=world.snapshot(i), mode=FailureMode.DROP, seed=i, age_s=0.1, queue=None,
        belief=SceneState(t_ns=0, objects={}, source="truth"), subtask=subtask, policy_features=watched,
    )  # fmt: skip


@pytest.fixture(scope="module")
def setup(world: BatchWorld) -> RecoverySetup:
    """Against a base that keeps still, hand open."""
    still = EE_DELTA.normalise(EE_DELTA.still(1.0)).astype(np.float32)
    network = Mlp(weights=(np.zeros((7, INPUTS), dtype=np.float32),), biases=(still,), activation="relu")
    base = finished(network, np.zeros(INPUTS), np.ones(INPUTS), 1)
    config = RecoveryConfig(episode_steps=110)
    return RecoverySetup(world=world, course=INFO.course, surrogate=base, space=default_space(), config=config)


def fresh(setup: RecoverySetup) -> RecoveryBatch:
    return RecoveryBatch(setup, np.random.default_rng(0))


def test_a_bank_is_parted_by_sub_task_and_survives_the_disk(bank: tuple[FailureState, ...], tmp_path: Path) -> None:
    save_bank(tmp_path, bank)
    parts = by_subtask(load_bank(tmp_path))
    assert [len(parts[k]) for k in (0, 1)] == [N, N]
    assert {s.subtask for s in parts[1]} == {1}


def test_the_expert_recovers_either_sub_task_and_standing_still_neither(
    setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    assert recovered(fresh(setup.hard()), bank, expert_actor(EXPERT)).all()
    assert not recovered(fresh(setup.hard()), bank[:N], idle_actor).any()


def test_the_first_sub_task_is_recovered_before_the_task_is_done_with_the_hand_free(
    setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    batch = fresh(setup.hard())
    batch.start(np.arange(N), by_subtask(bank)[0])
    roles, early = batch.judged().roles.copy(), 0
    while not batch.recovered().any():
        early += int((batch.state.subtask > 0).any())
        batch.step(batch.squeezed(EXPERT.act(batch.state)))
    won = np.flatnonzero(batch.recovered())
    assert early > 0
    assert not batch.state.success[won].any()
    assert (batch.state.gripper_command[won] >= 0.5).all()
    assert (batch.state.roles[won] != roles[won]).any(axis=1).all()
    assert (batch.judged().roles == roles).all()
    assert (batch.judged().success == batch.recovered()).all()
    assert batch.over()[won].all()


def test_a_target_below_the_table_is_lost(setup: RecoverySetup, bank: tuple[FailureState, ...]) -> None:
    batch = fresh(setup.hard())
    batch.start(np.arange(N), by_subtask(bank)[0])
    assert not batch.lost().any()
    pos = batch.state.object_pos_in_base.copy()
    pos[2, batch.state.roles[2, 0], 2] = -0.2
    batch.state = replace(batch.state, object_pos_in_base=pos)
    assert batch.lost().tolist() == [False, False, True, False, False, False]


def test_what_the_policy_saw_is_standardised_and_held_through_the_episode(
    setup: RecoverySetup, bank: tuple[FailureState, ...]
) -> None:
    seeing = replace(setup, policy_scale=PolicyScale.of(bank))
    batch = fresh(seeing)
    assert seeing.features == FEATURES + P
    batch.start(np.arange(N), bank[:N])
    first = batch.features[:, FEATURES:].copy()
    batch.step(np.zeros((N, EE_DELTA.size)))
    assert (batch.features[:, FEATURES:] == first).all()
    everything = PolicyScale.of(bank).standardised(bank)
    assert everything.mean(axis=0) == pytest.approx(np.zeros(P), abs=1e-9)
    assert everything.std(axis=0) == pytest.approx(np.ones(P))


def test_a_folded_actor_reads_raw_features(bank: tuple[FailureState, ...]) -> None:
    rng, scale = np.random.default_rng(0), PolicyScale.of(bank)
    weights = tuple(rng.normal(0, 0.3, size).astype(np.float32) for size in ((8, 5 + P), (2, 8)))
    actor = Mlp(weights=weights, biases=tuple(np.zeros(len(w), dtype=np.float32) for w in weights), activation="tanh")
    seen = rng.normal(size=(len(bank), 5))
    raw = np.stack([s.policy_features for s in bank])
    x, y = np.concatenate([seen, scale.standardised(bank)], axis=1), np.concatenate([seen, raw], axis=1)
    assert scale.folded(actor)(y) == pytest.approx(actor(x), abs=1e-5)


def test_states_without_policy_features_are_refused(bank: tuple[FailureState, ...]) -> None:
    bare = replace(bank[0], policy_features=np.zeros(0))
    with pytest.raises(ConfigError, match=r"carry \[0\] policy features"):
        PolicyScale.of([bare])
    with pytest.raises(ConfigError, match="has 0 policy features, not 3"):
        PolicyScale.of(bank).standardised([bank[0], bare])
    with pytest.raises(ContractError, match="count from 0"):
        replace(bare, subtask=-1)
