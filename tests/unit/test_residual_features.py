"""The residual policy's input: the same from simulation and from measurements, right in its memory and its stages."""

import numpy as np
import pytest

from core.demonstrations import DOWN_XYZW, proprio
from core.flow import Observation
from core.robots import EE_DELTA
from core.scene import ROLES, SceneState, TrackedObject
from residual.features import (
    FEATURES,
    GOAL_REACH_M,
    STAGES,
    Body,
    Trace,
    Tracked,
    assemble,
    body_of_observation,
    body_of_state,
    holding,
    stage_of,
    tracked_of_scene,
    tracked_of_state,
)
from sim.tasks.fruit_on_plate import FruitOnPlate
from sim.world import BatchWorld

ONE = np.zeros(1, dtype=np.int64)


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    world = BatchWorld(FruitOnPlate(), 2)
    for _ in range(3):
        world.step(np.tile([0.01, -0.01, -0.02, 0.02, 0.0, 0.05, 0.4], (2, 1)))
    return world


def body(tcp: tuple[float, float, float], opening: float = 1.0, command: float = 1.0) -> Body:
    pos = np.array([tcp])
    return Body(tcp_pos_in_base=pos, proprio=proprio(pos, DOWN_XYZW[None], np.array([opening]), np.array([command])))


def tracked(**places: tuple[float, float, float]) -> Tracked:
    pos = np.array([[places.get(role, (0.0, 0.0, 0.0)) for role in ROLES]])
    return Tracked(pos_in_base=pos, seen=np.array([[role in places for role in ROLES]]))


def stage(arm: Body, things: Tracked) -> str:
    return STAGES[int(stage_of(arm, things, holding(arm, things))[0])]


def test_simulation_and_measurement_give_the_same_features(world: BatchWorld) -> None:
    state, i = world.state(), 1
    obs = Observation(
        t_ns=0, joint_pos=state.joint_pos[i], joint_vel=state.joint_vel[i], tcp_pos_in_base=state.tcp_pos_in_base[i],
        tcp_quat_xyzw_in_base=state.tcp_quat_xyzw_in_base[i], gripper_opening=float(state.gripper_opening[i]),
        gripper_command=float(state.gripper_command[i]),
    )  # fmt: skip
    things = zip(state.object_names, state.object_pos_in_base[i], strict=True)
    objects = {n: TrackedObject(pos_in_base=p, t_ns=0, confidence=1.0) for n, p in things if p[2] > -0.1}
    scene = SceneState(t_ns=0, objects=objects, source="truth")
    base = EE_DELTA.still(1.0)[None]
    there = assemble(body_of_state(state), tracked_of_state(state), np.repeat(base, 2, axis=0), Trace(2))[i]
    here = assemble(body_of_observation(obs), tracked_of_scene(scene, world.roles(i)), base, Trace(1))[0]
    assert here == pytest.approx(there, abs=1e-12)
    assert here.shape == (FEATURES,)


def test_features_stay_of_the_order_of_one(world: BatchWorld) -> None:
    state = world.state()
    x = assemble(body_of_state(state), tracked_of_state(state), EE_DELTA.denormalise(np.ones((2, 7))), Trace(2))
    assert np.abs(x).max() < 4.0


def test_an_absent_obstacle_is_flagged_and_its_place_does_not_matter() -> None:
    arm = body((0.4, 0.0, 0.2))
    one = tracked(target=(0.5, 0.0, 0.03), goal=(0.4, 0.2, 0.0))
    other = Tracked(pos_in_base=one.pos_in_base + 5.0 * ~one.seen[:, :, None], seen=one.seen)
    base = EE_DELTA.still(1.0)[None]
    assert (assemble(arm, one, base, Trace(1)) == assemble(arm, other, base, Trace(1))).all()
    seen = tracked(target=(0.5, 0.0, 0.03), goal=(0.4, 0.2, 0.0), obstacle=(0.4, 0.1, 0.1))
    assert (assemble(arm, seen, base, Trace(1)) != assemble(arm, one, base, Trace(1))).any()


def test_a_stage_that_is_not_told_is_all_zero() -> None:
    arm, things, base = body((0.4, 0, 0.2)), tracked(target=(0.5, 0, 0.03)), EE_DELTA.still(1.0)[None]
    told = assemble(arm, things, base, Trace(1), np.array([True]))
    untold = assemble(arm, things, base, Trace(1), np.array([False]))
    assert (told != untold).sum() == 1


@pytest.mark.parametrize(
    ("arm", "things", "expected"),
    [
        (body((0.4, 0, 0.2)), tracked(target=(0.5, 0, 0.03), goal=(0.4, 0.2, 0)), "approach"),
        (body((0.5, 0, 0.2)), tracked(target=(0.5, 0, 0.03), goal=(0.4, 0.2, 0)), "align"),
        (body((0.5, 0, 0.04)), tracked(target=(0.5, 0, 0.03), goal=(0.4, 0.2, 0)), "grasp"),
        (body((0.5, 0, 0.03), 0.7, 0.0), tracked(target=(0.5, 0, 0.03), goal=(0.4, 0.2, 0)), "lift"),
        (body((0.5, 0, 0.15), 0.7, 0.0), tracked(target=(0.5, 0, 0.15), goal=(0.4, 0.2, 0)), "transport"),
        (body((0.4, 0.2, 0.15), 0.7, 0.0), tracked(target=(0.4, 0.2, 0.15), goal=(0.4, 0.2, 0)), "place"),
        (body((0.4, 0.2, 0.04), 0.7, 0.0), tracked(target=(0.4, 0.2, 0.04), goal=(0.4, 0.2, 0)), "release"),
        (body((0.4, 0.2, 0.15)), tracked(target=(0.4, 0.2, 0.04), goal=(0.4, 0.2, 0)), "retreat"),
        (body((0.5, 0, 0.15), 0.7, 0.0), tracked(target=(0.3, 0, 0.03), distractor=(0.5, 0, 0.15)), "retreat"),
    ],
)
def test_the_stage_follows_from_what_is_tracked(arm: Body, things: Tracked, expected: str) -> None:
    assert stage(arm, things) == expected


def test_only_the_nearer_fruit_is_held_and_only_by_stopped_fingers() -> None:
    things = tracked(target=(0.5, 0.0, 0.1), distractor=(0.5, 0.03, 0.1))
    assert holding(body((0.5, 0.0, 0.1), 0.7, 0.0), things).tolist() == [[True, False]]
    assert holding(body((0.5, 0.03, 0.1), 0.7, 0.0), things).tolist() == [[False, True]]
    assert not holding(body((0.5, 0.0, 0.1), 0.0, 0.0), things).any()
    assert not holding(body((0.5, 0.0, 0.1), 1.0, 1.0), things).any()


def test_the_tracking_error_is_what_was_commanded_and_not_yet_done() -> None:
    trace, start = Trace(1), np.array([[0.4, 0.0, 0.2]])
    trace.observe(ONE, start)
    assert trace.ahead == pytest.approx(np.zeros((1, 3)))
    trace.acted(np.zeros((1, 7)), np.array([[0.02, 0, 0, 0, 0, 0, 1.0]]))
    trace.observe(ONE, start + np.array([0.015, 0, 0]))
    assert trace.ahead == pytest.approx(np.array([[0.005, 0, 0]]))
    for _ in range(20):
        trace.acted(np.zeros((1, 7)), np.array([[0.02, 0, 0, 0, 0, 0, 1.0]]))
        trace.observe(ONE, start + np.array([0.015, 0, 0]))
    assert np.linalg.norm(trace.ahead) == pytest.approx(GOAL_REACH_M)
    trace.forget(ONE)
    assert not trace.ahead.any()
    assert not trace.residual.any()


def test_tracking_error_matches_the_controller_of_the_simulated_arm() -> None:
    world, trace = BatchWorld(FruitOnPlate(), 1), Trace(1)
    action = np.array([[0.02, 0.01, -0.015, 0, 0, 0, 1.0]])
    for _ in range(12):
        state = world.state()
        trace.observe(ONE, state.tcp_pos_in_base)
        truth = state.tcp_goal_in_base - state.tcp_pos_in_base
        assert trace.ahead == pytest.approx(truth, abs=2e-3)
        trace.acted(np.zeros((1, 7)), action)
        world.step(action)
