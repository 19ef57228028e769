"""The stage rule: one answer for every manner, from geometry alone, the same for one arm and for many."""

import numpy as np
import pytest

from core.flow import Observation
from core.scene import ROLES, SceneRoles, SceneState, TrackedObject
from core.stages import MANNERS, STAGES, Situation, by_role, due_now, held_now, stage_now, stages_now
from core.subtasks import Course, Manner, SubTask, Where

Place = tuple[float, float, float]
T, G = (0.5, 0.0, 0.03), (0.4, 0.2, 0.0)
HELD, SHUT, OPEN = (0.7, 0.0), (0.0, 0.0), (1.0, 1.0)
"""Measured and commanded opening."""


def seen(
    tcp: Place, *, manner: Manner = Manner.PLACE, hand: tuple[float, float] = OPEN, finished: bool = False,
    **places: Place,
) -> Situation:  # fmt: skip
    return Situation(
        manner=np.array([MANNERS.index(manner)]), finished=np.array([finished]), tcp_pos_in_base=np.array([tcp]),
        opening=np.array(hand[:1]), command=np.array(hand[1:]),
        pos_in_base=np.array([[places.get(role, (0.0, 0.0, 0.0)) for role in ROLES]]),
        seen=np.array([[role in places for role in ROLES]]),
    )  # fmt: skip


PLACING = [
    (seen((0.4, 0, 0.2), target=T, goal=G), "approach"),
    (seen((0.5, 0, 0.2), target=T, goal=G), "align"),
    (seen((0.5, 0, 0.04), target=T, goal=G), "grasp"),
    (seen((0.5, 0, 0.03), hand=HELD, target=T, goal=G), "lift"),
    (seen((0.5, 0, 0.15), hand=HELD, target=(0.5, 0, 0.15), goal=G), "transport"),
    (seen((0.4, 0.2, 0.15), hand=HELD, target=(0.4, 0.2, 0.15), goal=G), "place"),
    (seen((0.4, 0.2, 0.04), hand=HELD, target=(0.4, 0.2, 0.04), goal=G, finished=True), "release"),
    (seen((0.4, 0.2, 0.04), target=(0.4, 0.2, 0.04), goal=G, finished=True), "release"),
    (seen((0.4, 0.2, 0.15), target=(0.4, 0.2, 0.04), goal=G, finished=True), "retreat"),
    (seen((0.5, 0, 0.15), hand=HELD, target=(0.3, 0, 0.03), distractor=(0.5, 0, 0.15)), "release"),
    (seen((0.5, 0, 0.15), hand=HELD, target=(0.3, 0, 0.03)), "release"),
    (seen((0.5, 0, 0.05), target=(0.3, 0, 0.03), distractor=(0.5, 0, 0.03)), "retreat"),
    (seen((0.5, 0, 0.15), hand=HELD, target=(0.5, 0, 0.15), goal=G, obstacle=(0.5, 0.05, 0.1)), "retreat"),
    (seen((0.5, 0, 0.22), hand=HELD, target=(0.5, 0, 0.22), goal=G, obstacle=(0.5, 0.05, 0.1)), "transport"),
    (seen((0.4, 0, 0.2)), "approach"),
]
OTHERS = [
    (seen((0.4, 0.2, 0.1), manner=Manner.INSERT, hand=HELD, target=(0.4, 0.2, 0.08), goal=G), "insert"),
    (seen((0.4, 0.1, 0.1), manner=Manner.INSERT, hand=HELD, target=(0.4, 0.1, 0.08), goal=G), "transport"),
    (seen((0.4, 0.2, 0.03), manner=Manner.WIPE, hand=HELD, target=(0.4, 0.2, 0.02), goal=G), "wipe"),
    (seen((0.4, 0.1, 0.03), manner=Manner.WIPE, hand=HELD, target=(0.4, 0.1, 0.02), goal=G), "transport"),
    (seen((0.4, 0.1, 0.03), manner=Manner.WIPE, hand=HELD, target=(0.4, 0.1, 0.02), finished=True), "retreat"),
    (seen((0.5, 0.0, 0.05), manner=Manner.PULL, hand=HELD, target=(0.5, 0, 0.05), goal=G), "pull"),
    (seen((0.5, 0.0, 0.05), manner=Manner.PULL, target=(0.5, 0, 0.05), goal=G), "grasp"),
    (seen((0.45, 0.0, 0.05), manner=Manner.PUSH, hand=SHUT, target=(0.5, 0, 0.05)), "push"),
    (seen((0.3, 0.0, 0.2), manner=Manner.PUSH, target=(0.5, 0, 0.05)), "approach"),
    (seen((0.45, 0.0, 0.05), manner=Manner.PUSH, target=(0.5, 0, 0.05), finished=True), "retreat"),
]


@pytest.mark.parametrize(("situation", "expected"), PLACING + OTHERS)
def test_the_stage_follows_from_what_is_seen(situation: Situation, expected: str) -> None:
    assert STAGES[int(stages_now(situation)[0])] == expected


def test_only_the_nearer_thing_is_held_and_only_by_stopped_fingers() -> None:
    a, b = (0.5, 0.0, 0.1), (0.5, 0.03, 0.1)
    assert held_now(seen((0.5, 0.0, 0.1), hand=HELD, target=a, distractor=b)).tolist() == [[True, False]]
    assert held_now(seen((0.5, 0.03, 0.1), hand=HELD, target=a, distractor=b)).tolist() == [[False, True]]
    assert held_now(seen((0.5, 0.0, 0.15), hand=HELD, target=a, distractor=b)).tolist() == [[True, False]]
    assert not held_now(seen((0.5, 0.0, 0.1), hand=SHUT, target=a, distractor=b)).any()
    assert not held_now(seen((0.5, 0.0, 0.1), target=a, distractor=b)).any()


@pytest.fixture
def course() -> Course:
    """Two things onto one tray."""
    inf = np.full(3, np.inf)

    def put(name: str) -> SubTask:
        low, high = np.array([-0.05, -0.05, -inf[0]]), np.array([0.05, 0.05, inf[0]])
        done = (Where(thing=name, anchor="tray", low=low, high=high),)
        return SubTask(name=name, manner=Manner.PLACE, roles=SceneRoles(target=name, goal="tray"), done=done)

    return Course(names=("a", "b", "tray"), subtasks=(put("a"), put("b")))


def test_what_is_due_moves_on_and_ends_with_the_last(course: Course) -> None:
    tray, off = [0.4, 0.2, 0.0], [0.5, 0.0, 0.0]
    due = due_now(course, np.array([[off, off, tray], [tray, off, tray], [off, tray, tray], [tray, tray, tray]]))
    assert due.progress.tolist() == [0, 1, 0, 2]
    assert due.finished.tolist() == [False, False, False, True]
    assert due.roles[:, 0].tolist() == [0, 1, 0, 1]
    assert (due.roles[:, 2] == 2).all()


def test_things_below_the_table_or_never_seen_are_not_seen() -> None:
    pos = np.array([[[0.4, 0.0, 0.0], [0.4, 0.0, -0.5], [np.nan, np.nan, np.nan]]])
    found, there = by_role(pos, np.array([[0, 1, 2, -1]]))
    assert there.tolist() == [[True, False, False, False]]
    assert np.isfinite(found).all()


def test_one_arm_is_judged_like_many(course: Course) -> None:
    obs = Observation(
        t_ns=0, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=np.array([0.5, 0.0, 0.1]),
        tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=0.5, gripper_command=0.0,
    )  # fmt: skip

    def scene(**places: Place) -> SceneState:
        objects = {n: TrackedObject(pos_in_base=np.array(p), t_ns=0, confidence=1.0) for n, p in places.items()}
        return SceneState(t_ns=0, objects=objects, source="image")

    assert stage_now(course, obs, scene(a=(0.5, 0.0, 0.1), tray=G)) == "transport"
    assert stage_now(course, obs, scene(b=(0.5, 0.0, 0.1), tray=G)) == "release"
    assert stage_now(course, obs, scene(a=G, b=(0.5, 0.0, 0.1), tray=G)) == "transport"
