"""The residual policy's input: the same from simulation and from measurements, right in its memory and its layout."""

from dataclasses import replace

import numpy as np
import pytest

from core.demonstrations import DOWN_XYZW, proprio
from core.flow import Observation
from core.robots import EE_DELTA
from core.scene import ROLES, SceneState, TrackedObject
from core.stages import MANNERS, STAGES, Due
from core.subtasks import Manner
from core.worlds import WorldState
from residual.agenda import Agenda
from residual.features import (
    FEATURES,
    GOAL_REACH_M,
    Body,
    Trace,
    Tracked,
    assemble,
    body_of_observation,
    body_of_state,
    tracked_by_role,
    tracked_of_scene,
)
from sim.tasks.fruit_on_plate import INFO, FruitOnPlate
from sim.tasks.sort_two import INFO as SORT_TWO
from sim.tasks.sort_two import SortTwo
from sim.world import BatchWorld

ONE = np.zeros(1, dtype=np.int64)


PARTS = {
    "tool": 3, "tilt": 3, "gripper": 2, "offsets": 12, "seen": 4, "near": 6, "to_goal": 3, "fine": 2, "heights": 2,
    "base": 7, "stage": 13, "manner": 5, "held": 2, "residual": 7, "ahead": 3, "commands": 14,
}  # fmt: skip
"""Width of every part, in order."""


def part(x: np.ndarray, name: str) -> np.ndarray:
    """Returns one part of one row."""
    start = sum(width for other, width in PARTS.items() if list(PARTS).index(other) < list(PARTS).index(name))
    return x[start : start + PARTS[name]]


@pytest.fixture(scope="module")
def world() -> BatchWorld:
    world = BatchWorld(FruitOnPlate(), 2)
    for _ in range(3):
        world.step(np.tile([0.01, -0.01, -0.02, 0.02, 0.0, 0.05, 0.4], (2, 1)))
    return world


def truth(world: BatchWorld) -> Tracked:
    ids, pos = np.arange(world.n), world.state().object_pos_in_base
    agenda = Agenda(world.task.info.course, world.n)
    agenda.tell(ids, [world.instruction(int(i)) for i in ids])
    return tracked_by_role(pos, agenda.due(ids, pos))


def body(tcp: tuple[float, float, float], opening: float = 1.0, command: float = 1.0) -> Body:
    pos = np.array([tcp])
    return Body(tcp_pos_in_base=pos, proprio=proprio(pos, DOWN_XYZW[None], np.array([opening]), np.array([command])))


def tracked(**places: tuple[float, float, float]) -> Tracked:
    due = Due(
        progress=np.array([0]), finished=np.array([False]), manner=np.array([MANNERS.index(Manner.PLACE)]),
        roles=np.arange(4)[None],
    )  # fmt: skip
    pos = np.array([[places.get(role, (0.0, 0.0, 0.0)) for role in ROLES]])
    return Tracked(due=due, pos_in_base=pos, seen=np.array([[role in places for role in ROLES]]))


def measured(state: WorldState, i: int) -> tuple[Observation, SceneState]:
    """Returns what a perfect robot and a perfect tracker report of one world."""
    obs = Observation(
        t_ns=0, joint_pos=state.joint_pos[i], joint_vel=state.joint_vel[i], tcp_pos_in_base=state.tcp_pos_in_base[i],
        tcp_quat_xyzw_in_base=state.tcp_quat_xyzw_in_base[i], gripper_opening=float(state.gripper_opening[i]),
        gripper_command=float(state.gripper_command[i]),
    )  # fmt: skip
    things = zip(state.object_names, state.object_pos_in_base[i], strict=True)
    objects = {n: TrackedObject(pos_in_base=p, t_ns=0, confidence=1.0) for n, p in things if p[2] > -0.1}
    return obs, SceneState(t_ns=0, objects=objects, source="truth")


def test_the_layout_is_what_its_parts_add_up_to() -> None:
    assert sum(PARTS.values()) == FEATURES


def test_simulation_and_measurement_give_the_same_features(world: BatchWorld) -> None:
    state, i = world.state(), 1
    obs, scene = measured(state, i)
    base = EE_DELTA.still(1.0)[None]
    there = assemble(body_of_state(state), truth(world), np.repeat(base, 2, axis=0), Trace(2))[i]
    course = INFO.course(world.instruction(i))
    here = assemble(body_of_observation(obs), tracked_of_scene(scene, course), base, Trace(1))[0]
    assert here == pytest.approx(there, abs=1e-12)
    assert here.shape == (FEATURES,)


def test_features_stay_of_the_order_of_one(world: BatchWorld) -> None:
    x = assemble(body_of_state(world.state()), truth(world), EE_DELTA.denormalise(np.ones((2, 7))), Trace(2))
    assert np.abs(x).max() < 4.0


def test_roles_stage_and_manner_follow_the_sub_task_that_is_due() -> None:
    world, base = BatchWorld(SortTwo(), 1), EE_DELTA.still(1.0)[None]
    obs, scene = measured(world.state(), 0)
    course = SORT_TWO.course(world.instruction(0))
    first, second = (sub.roles for sub in course.subtasks)
    home = scene.objects[first.goal].pos_in_base + np.array([0.0, 0.0, 0.03])
    sorted_one = replace(scene, objects={**scene.objects, first.target: replace(scene.objects[first.target],
                                                                                pos_in_base=home)})  # fmt: skip
    before, after = (
        assemble(body_of_observation(obs), tracked_of_scene(s, course), base, Trace(1))[0] for s in (scene, sorted_one)
    )
    for x, roles in ((before, first), (after, second)):
        offset = scene.objects[roles.target].pos_in_base - obs.tcp_pos_in_base
        assert part(x, "offsets")[:3] == pytest.approx(np.clip(offset * 5.0, -2.0, 2.0))
        assert part(x, "manner")[MANNERS.index(Manner.PLACE)] == 1.0
        assert STAGES[int(part(x, "stage").argmax())] == "approach"


def test_an_absent_obstacle_is_flagged_and_its_place_does_not_matter() -> None:
    arm = body((0.4, 0.0, 0.2))
    one = tracked(target=(0.5, 0.0, 0.03), goal=(0.4, 0.2, 0.0))
    other = replace(one, pos_in_base=one.pos_in_base + 5.0 * ~one.seen[:, :, None])
    base = EE_DELTA.still(1.0)[None]
    assert (assemble(arm, one, base, Trace(1)) == assemble(arm, other, base, Trace(1))).all()
    seen = tracked(target=(0.5, 0.0, 0.03), goal=(0.4, 0.2, 0.0), obstacle=(0.4, 0.1, 0.1))
    assert (assemble(arm, seen, base, Trace(1)) != assemble(arm, one, base, Trace(1))).any()


def test_a_stage_that_is_not_told_is_all_zero() -> None:
    arm, things, base = body((0.4, 0, 0.2)), tracked(target=(0.5, 0, 0.03)), EE_DELTA.still(1.0)[None]
    told, untold = (assemble(arm, things, base, Trace(1), stage_known=np.array([know]))[0] for know in (True, False))
    assert part(told, "stage").sum() == 1
    assert not part(untold, "stage").any()
    assert (told != untold).sum() == 1


def test_a_millimetre_off_the_hole_is_seen() -> None:
    arm, base = body((0.4, 0.2, 0.1), 0.7, 0.0), EE_DELTA.still(1.0)[None]
    x = [
        part(assemble(arm, tracked(target=(0.4 + off, 0.2, 0.08), goal=(0.4, 0.2, 0.0)), base, Trace(1))[0], "fine")
        for off in (0.0, 0.001)
    ]
    assert abs(x[1][0] - x[0][0]) > 0.15


def test_the_last_two_commands_are_remembered_newest_first() -> None:
    trace, arm = Trace(1), body((0.4, 0, 0.2))
    for opening in (0.0, 1.0, 0.5):
        trace.acted(np.zeros((1, 7)), EE_DELTA.still(opening)[None])
    x = assemble(arm, tracked(), EE_DELTA.still(1.0)[None], trace)[0]
    assert part(x, "commands")[[6, 13]].tolist() == [0.0, 1.0]
    trace.forget(ONE)
    assert not part(assemble(arm, tracked(), EE_DELTA.still(1.0)[None], trace)[0], "commands").any()


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
