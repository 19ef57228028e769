"""Physical parameters of single worlds do what they are named after, and leave their neighbours alone."""

from dataclasses import replace

import numpy as np
import pytest

from core.kinematics import forward
from core.robots import EE_DELTA
from core.worlds import DomainParams
from sim.tasks.fruit_expert import FruitExpert
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld


def held_height(world: BatchWorld, domain: DomainParams) -> np.ndarray:
    """Returns how high the fruit is after the expert worked for 32 steps, shape (N,)."""
    world.reset(np.arange(world.n), np.full(world.n, 3), domain)
    best = np.zeros(world.n)
    for _ in range(32):
        world.step(FruitExpert().act(world.state()))
        best = np.maximum(best, world.state().of("target")[:, 2])
    return best


def test_slippery_fingertips_lose_the_fruit_and_others_do_not() -> None:
    world = BatchWorld(FruitOnPlate(), 2)
    high = held_height(world, replace(DomainParams.nominal(2), gripper_friction_scale=np.array([1.0, 0.02])))
    assert high[0] > 0.1
    assert high[1] < 0.06
    again = held_height(world, DomainParams.nominal(2))
    assert again == pytest.approx(np.full(2, high[0]), abs=1e-9)


def test_a_joint_offset_is_not_seen_by_the_encoders() -> None:
    world, offset = BatchWorld(FruitOnPlate(), 2), np.zeros((2, 7))
    offset[1] = 0.01
    world.reset(np.arange(2), np.array([3, 3]), replace(DomainParams.nominal(2), joint_offset_rad=offset))
    for _ in range(10):
        world.step(np.repeat(EE_DELTA.still(1.0)[None], 2, axis=0))
    joints, tcp, _ = world.measured()
    state = world.state()
    assert joints == pytest.approx(state.joint_pos - offset)
    assert tcp == pytest.approx(forward(joints)[0])
    assert tcp == pytest.approx(world.state().tcp_goal_in_base, abs=2e-3)
    assert np.linalg.norm(tcp - state.tcp_pos_in_base, axis=1) == pytest.approx([0.0, 0.0065], abs=0.004)
    assert (tcp[0] == state.tcp_pos_in_base[0]).all()
