"""What the batched world does beyond its contract: domains, latency, silent resets, injections in snapshots."""

from dataclasses import replace

import numpy as np
import pytest

from core.errors import ConfigError, ContractError
from core.failures import FailureMode
from core.robots import EE_DELTA
from core.servo import REACH_M
from core.worlds import DomainParams, Injection
from sim.controller import latency_steps
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld


@pytest.fixture
def world() -> BatchWorld:
    return BatchWorld(FruitOnPlate(), 2)


def still(n: int) -> np.ndarray:
    return np.tile(EE_DELTA.still(1.0), (n, 1))


def test_the_arm_keeps_still_when_told_nothing(world: BatchWorld) -> None:
    start = world.state()
    for _ in range(20):
        world.step(still(2))
    assert np.abs(world.state().tcp_pos_in_base - start.tcp_pos_in_base).max() < 1e-3
    assert world.state().contact_force_n.max() == 0.0


def test_the_commanded_pose_never_runs_far_ahead_of_the_tool(world: BatchWorld) -> None:
    down = still(2)
    down[:, 2] = -0.025
    for _ in range(40):
        world.step(down)
        state = world.state()
        ahead = np.linalg.norm(state.tcp_goal_in_base - state.tcp_pos_in_base, axis=1)
        assert (ahead < REACH_M + 0.03).all()
    assert (state.tcp_pos_in_base[:, 2] > 0.0).all(), "the table holds the hand"
    assert (state.contact_force_n > 5.0).all()
    assert not state.physics_reset.any()


def test_latency_delays_the_motion_by_that_much(world: BatchWorld) -> None:
    domain = replace(DomainParams.nominal(2), action_latency_s=np.array([0.0, 0.1]))
    world.reset(np.arange(2), np.array([4, 4]), domain)
    push = still(2)
    push[:, 1] = 0.01
    path = []
    for _ in range(8):
        world.step(push)
        path.append(world.state().tcp_pos_in_base[:, 1])
    y = np.array(path)
    assert y[2:, 1] == pytest.approx(y[:-2, 0], abs=1e-9)
    assert latency_steps(np.array([0.0, 0.005, 0.012, 9.0])).tolist() == [0, 1, 2, 40]


def test_a_domain_changes_only_its_own_world_and_goes_with_the_next_reset(world: BatchWorld) -> None:
    nominal = DomainParams.nominal(1)
    world.reset(np.arange(2), np.array([4, 4]))
    world.reset(np.array([1]), np.array([4]), replace(nominal, table_height_m=np.array([0.006])))
    heights = world.state().object_pos_in_base[:, 0, 2]
    assert heights[1] - heights[0] == pytest.approx(0.006)
    for _ in range(10):
        world.step(still(2))
    assert world.state().object_pos_in_base[:, 0, 2] == pytest.approx(heights, abs=5e-4)
    world.reset(np.array([1]), np.array([4]))
    assert world.state().object_pos_in_base[1, 0, 2] == pytest.approx(heights[0])


def test_restoring_on_another_table_height_lifts_what_stands_on_it(world: BatchWorld) -> None:
    saved = world.snapshot(0)
    before = world.state().object_pos_in_base[0]
    world.restore(np.array([0]), [saved], replace(DomainParams.nominal(1), table_height_m=np.array([0.005])))
    assert world.state().object_pos_in_base[0] - before == pytest.approx(np.tile([0.0, 0.0, 0.005], (4, 1)))


def test_a_silent_physics_reset_voids_the_episode_until_the_next_reset(world: BatchWorld) -> None:
    saved = world.snapshot(1)
    broken = saved.physics.copy()
    qvel = 1 + world.cell.model.nq
    broken[qvel : qvel + 7] = 1e12
    world.restore(np.array([1]), [replace(saved, physics=broken)])
    for _ in range(3):
        world.step(still(2))
        assert world.state().physics_reset.tolist() == [False, True]
    world.reset(np.array([1]), np.array([3]))
    assert not world.state().physics_reset.any()


def test_a_snapshot_of_another_cell_is_refused(world: BatchWorld) -> None:
    saved = world.snapshot(0)
    with pytest.raises(ContractError, match="this cell has"):
        world.restore(np.array([0]), [replace(saved, physics=saved.physics[:-1])])


def test_an_unknown_failure_names_the_nearest(world: BatchWorld) -> None:
    with pytest.raises(ConfigError, match="allowed: collision"):
        world.inject(0, Injection(mode=FailureMode.JAM))


def test_an_armed_failure_survives_snapshot_and_restore() -> None:
    expert, world, other = FruitExpert(), BatchWorld(FruitOnPlate(), 1), BatchWorld(FruitOnPlate(), 1)
    world.reset(np.array([0]), np.array([11]))
    world.inject(0, Injection(mode=FailureMode.DROP), seed=5)
    for _ in range(8):
        world.step(expert.act(world.state()))
    other.restore(np.array([0]), [world.snapshot(0)])
    for _ in range(40):
        world.step(expert.act(world.state()))
        other.step(expert.act(other.state()))
    assert world.injected_at(0) == other.injected_at(0) > 0
    assert (world.before_injection(0) == other.before_injection(0)).all()
    assert (world.state().object_pos_in_base == other.state().object_pos_in_base).all()


def test_a_reset_disarms_failures(world: BatchWorld) -> None:
    world.inject(0, Injection(mode=FailureMode.MISSED_GRASP))
    world.reset(np.arange(2), np.arange(2))
    expert = FruitExpert()
    for _ in range(40):
        world.step(expert.act(world.state()))
    assert np.isnan(world.injected_at(0))


def test_training_and_held_out_wordings_never_meet() -> None:
    told: dict[str, set[str]] = {}
    for wording in ("training", "paraphrases"):
        world = BatchWorld(FruitOnPlate(), 64, wording=wording)
        told[wording] = {world.instruction(i) for i in range(64)}
    assert not told["training"] & told["paraphrases"]
