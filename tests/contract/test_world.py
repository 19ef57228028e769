"""What every `World` promises."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from core.errors import ContractError
from core.ports import World
from core.robots import EE_DELTA
from core.worlds import DomainParams
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

Build = Callable[[int], World]


@pytest.fixture(params=["batch", "batch, two threads"])
def build(request: pytest.FixtureRequest) -> Build:
    threads = 1 if request.param == "batch" else 2
    return lambda n: BatchWorld(FruitOnPlate(), n, threads=threads)


def random_actions(n: int, steps: int) -> np.ndarray:
    return EE_DELTA.denormalise(np.random.default_rng(0).uniform(-1, 1, (steps, n, EE_DELTA.size)))


def flat(world: World) -> np.ndarray:
    s = world.state()
    arrays = [s.time_s, s.joint_pos, s.joint_vel, s.tcp_pos_in_base, s.tcp_goal_in_base, s.gripper_opening]
    arrays += [s.contact_force_n, s.object_pos_in_base, s.object_quat_xyzw_in_base, s.q_score, s.success.astype(float)]
    return np.concatenate([a.reshape(world.n, -1) for a in arrays], axis=1)


def test_it_is_a_world(build: Build) -> None:
    assert isinstance(build(1), World)


def test_state_has_one_row_a_world_and_finite_values(build: Build) -> None:
    world = build(3)
    state = world.state()
    assert world.n == 3
    assert state.object_pos_in_base.shape == (3, len(state.object_names), 3)
    assert np.isfinite(flat(world)).all()
    assert not state.physics_reset.any()
    assert np.linalg.norm(state.tcp_quat_xyzw_in_base, axis=1) == pytest.approx(np.ones(3))


def test_the_same_seeds_and_actions_give_the_same_bits(build: Build) -> None:
    first, second = build(4), build(4)
    for world in (first, second):
        world.reset(np.arange(4), np.arange(4) + 77)
        for actions in random_actions(4, 15):
            world.step(actions)
    assert (flat(first) == flat(second)).all()


def test_other_seeds_give_other_scenes(build: Build) -> None:
    world = build(2)
    world.reset(np.arange(2), np.array([1, 2]))
    pos = world.state().object_pos_in_base
    assert not np.allclose(pos[0], pos[1])


def test_time_advances_one_control_period_a_step(build: Build) -> None:
    world = build(2)
    world.reset(np.arange(2), np.arange(2))
    for actions in random_actions(2, 7):
        world.step(actions)
    assert world.state().time_s == pytest.approx(np.full(2, 7 * EE_DELTA.dt_s))


def test_reset_touches_only_the_worlds_it_is_given(build: Build) -> None:
    world = build(3)
    for actions in random_actions(3, 5):
        world.step(actions)
    before = flat(world)
    world.reset(np.array([1]), np.array([9]))
    after = flat(world)
    assert (before[[0, 2]] == after[[0, 2]]).all()
    assert world.state().time_s[1] == 0.0


def test_a_restored_world_goes_on_bit_for_bit(build: Build) -> None:
    world, other = build(2), build(3)
    actions = random_actions(2, 30)
    for a in actions[:15]:
        world.step(a)
    saved = world.snapshot(1)
    for a in actions[15:]:
        world.step(a)
    other.restore(np.array([2]), [saved])
    for a in actions[15:]:
        other.step(np.stack([a[0], a[0], a[1]]))
    assert (flat(other)[2] == flat(world)[1]).all()
    assert other.instruction(2) == world.instruction(1)


def test_a_restored_world_goes_on_bit_for_bit_in_its_domain(build: Build) -> None:
    one = np.ones(2)
    domain = replace(
        DomainParams.nominal(2),
        friction_scale=0.8 * one,
        mass_scale=1.3 * one,
        gain_scale=0.9 * one,
        action_latency_s=0.06 * one,
        table_height_m=0.004 * one,
        gripper_friction_scale=0.9 * one,
        joint_offset_rad=np.full((2, 7), 0.005),
    )
    world, other = build(2), build(2)
    world.reset(np.arange(2), np.arange(2), domain)
    actions = random_actions(2, 20)
    for a in actions[:10]:
        world.step(a)
    saved = [world.snapshot(i) for i in range(2)]
    other.restore(np.arange(2), saved, domain)
    for a in actions[10:]:
        world.step(a)
        other.step(a)
    assert (flat(other) == flat(world)).all()


def test_snapshots_of_the_same_moment_are_the_same(build: Build) -> None:
    world = build(1)
    first, second = world.snapshot(0), world.snapshot(0)
    assert (first.physics == second.physics).all()
    assert (first.controller == second.controller).all()
    assert (first.task == second.task).all()


@pytest.mark.parametrize("bad", [np.zeros((1, 7)), np.zeros((2, 6)), np.full((2, 7), np.nan)])
def test_actions_of_the_wrong_shape_or_not_finite_are_refused(build: Build, bad: np.ndarray) -> None:
    with pytest.raises(ContractError, match="actions"):
        build(2).step(bad)


def test_every_world_has_an_instruction(build: Build) -> None:
    world = build(2)
    assert all(world.instruction(i) for i in range(2))
