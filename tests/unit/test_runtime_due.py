"""What is due, and what follows from it: hand-backs, claims and stages over several sub-tasks of several manners."""

import numpy as np
import pytest

from core.failures import FailureMode
from core.flow import Arrived, Observation, Phase, Source, Step
from core.recovery import RecoveryStage
from core.robots import EE_DELTA
from core.scene import SceneState
from core.subtasks import Course, Manner
from courses import APPLE, LEMON, PUSH, WIPE, course, tracked
from runtime.config import HandRules
from runtime.due import due_in
from runtime.hand import HOME_POS_M
from runtime.recover.done import TaskDone
from runtime.recover.stages import stage_for
from runtime.recover.verify import Handback

RULES = HandRules()
SORT = course(APPLE, LEMON)
LAID = {"plate": (0.5, -0.2, 0.01), "tray": (0.5, 0.2, 0.01)}
BEFORE = tracked(apple=(0.4, 0.0, 0.03), lemon=(0.3, 0.1, 0.03), **LAID)
HALF = tracked(apple=(0.5, -0.2, 0.03), lemon=(0.3, 0.1, 0.03), **LAID)
BOTH = tracked(apple=(0.5, -0.2, 0.03), lemon=(0.5, 0.2, 0.03), **LAID)
ONLY_LATER = tracked(apple=(0.4, 0.0, 0.03), lemon=(0.5, 0.2, 0.03), **LAID)
DIRTY, CLEAN = (tracked(sponge=(0.4, 0.0, 0.02), stain=(0.45, 0.0, z)) for z in (0.0, -5.0))


def hand(x: float, y: float, z: float, command: float = 1.0, opening: float | None = None) -> Observation:
    return Observation(
        t_ns=0, joint_pos=np.zeros(7), joint_vel=np.zeros(7), tcp_pos_in_base=np.array([x, y, z]),
        tcp_quat_xyzw_in_base=np.array([1.0, 0, 0, 0]), gripper_opening=command if opening is None else opening,
        gripper_command=command,
    )  # fmt: skip


AWAY = hand(0.3, 0.0, 0.25)


@pytest.mark.parametrize(
    ("scene", "progress", "target", "finished"),
    [
        (None, 0, "apple", False), (BEFORE, 0, "apple", False), (HALF, 1, "lemon", False), (BOTH, 2, "lemon", True),
        (ONLY_LATER, 0, "apple", False), (tracked(apple=(0.5, -0.2, 0.03)), 0, "apple", False),
    ],
)  # fmt: skip
def test_the_first_sub_task_that_is_not_done_is_due_and_nothing_is_done_unseen(
    scene: SceneState | None, progress: int, target: str, finished: bool
) -> None:
    due = due_in(SORT, scene)
    assert (due.progress, due.roles.target, due.finished) == (progress, target, finished)
    assert due.sub.manner is Manner.PLACE


def test_a_stain_that_is_reported_below_the_table_is_gone_and_one_not_seen_is_not() -> None:
    wipe = course(WIPE)
    assert due_in(wipe, CLEAN).finished
    assert not due_in(wipe, DIRTY).finished
    assert not due_in(wipe, tracked(sponge=(0.4, 0.0, 0.02))).finished


def streak(handback: Handback, *seen: tuple[Observation, SceneState | None]) -> list[bool]:
    return [handback.update(obs, scene) for obs, scene in seen]


def test_a_hand_back_comes_when_the_sub_task_that_was_due_is_done_and_its_target_let_go() -> None:
    handback = Handback("placed", SORT, RULES, ticks=2)
    at_the_plate = hand(0.5, -0.2, 0.05)
    assert streak(handback, (AWAY, BEFORE), (at_the_plate, HALF), (AWAY, HALF), (AWAY, HALF)) == [False] * 3 + [True]


def test_a_hand_back_in_the_second_sub_task_waits_for_the_second_thing() -> None:
    handback = Handback("placed", SORT, RULES, ticks=1)
    at_the_tray = hand(0.5, 0.2, 0.05)
    assert streak(handback, (AWAY, HALF), (AWAY, HALF), (at_the_tray, BOTH), (AWAY, BOTH)) == [False] * 3 + [True]


def test_a_hand_back_is_not_fooled_by_a_sub_task_that_comes_undone_meanwhile() -> None:
    handback = Handback("placed", SORT, RULES, ticks=1)
    assert streak(handback, (AWAY, HALF), (AWAY, BEFORE), (AWAY, HALF)) == [False] * 3


def test_the_next_thing_in_the_hand_satisfies_held() -> None:
    carried = tracked(apple=(0.5, -0.2, 0.03), lemon=(0.3, 0.0, 0.25), **LAID)
    gripping = hand(0.3, 0.0, 0.25, command=0.0, opening=0.4)
    assert Handback("held", SORT, RULES, ticks=1).update(gripping, carried)
    assert not Handback("held", SORT, RULES, ticks=1).update(gripping, HALF)


def test_a_hand_back_at_home_needs_the_open_hand_there_or_the_sub_task_done() -> None:
    x, y, z = HOME_POS_M
    home, closed, near = hand(x, y, z), hand(x, y, z, command=0.0), hand(x, y, z - 0.03)
    handback = Handback("home", SORT, RULES, ticks=1)
    assert streak(handback, (closed, BEFORE), (near, BEFORE), (home, None)) == [False, False, True]
    assert streak(Handback("home", SORT, RULES, ticks=1), (AWAY, BEFORE), (AWAY, HALF)) == [False, True]


def step(i: int, obs: Observation, scene: SceneState) -> Step:
    still = EE_DELTA.still(1.0)
    return Step(
        index=i, observation=obs, arrived=Arrived(now_ns=i, scene=scene), phase=Phase.RUNNING, source=Source.POLICY,
        base=None, asked=still, commanded=still, clipped_by=(), report=None, next_phase=Phase.RUNNING,
    )  # fmt: skip


def claims(told: Course, *seen: tuple[Observation, SceneState], ticks: int = 2) -> list[bool]:
    done = TaskDone(told, RULES, ticks=ticks)
    return [done(step(i, obs, scene)) for i, (obs, scene) in enumerate(seen)]


def test_a_task_of_two_things_is_done_after_the_second() -> None:
    assert claims(SORT, (AWAY, HALF), (AWAY, HALF), (AWAY, BOTH), (AWAY, BOTH)) == [False] * 3 + [True]


def test_wiping_is_done_when_the_stain_is_gone_and_the_hand_has_risen_with_the_tool_still_in_it() -> None:
    pressing, risen = hand(0.4, 0.0, 0.03, 0.0, 0.4), hand(0.4, 0.0, RULES.withdrawn_m + 0.01, 0.0, 0.4)
    seen = (risen, DIRTY), (pressing, CLEAN), (risen, CLEAN), (risen, CLEAN)
    assert claims(course(WIPE), *seen) == [False, False, False, True]
    on_a_table = TaskDone(course(WIPE), RULES, ticks=1, table_height_m=0.05)
    assert not on_a_table(step(0, risen, CLEAN))


def test_pushing_is_done_when_the_closed_hand_has_drawn_back_from_what_lies_at_its_goal() -> None:
    there = tracked(card=(0.5, 0.2, 0.01), tray=(0.5, 0.2, 0.01))
    short = tracked(card=(0.4, 0.2, 0.01), tray=(0.5, 0.2, 0.01))
    beside, back = hand(0.46, 0.2, 0.02, command=0.0), hand(0.3, 0.2, 0.1, command=0.0)
    assert claims(course(PUSH), (back, short), (beside, there), (back, there), ticks=1) == [False, False, True]


@pytest.mark.parametrize(
    ("told", "scene", "obs", "stage"),
    [
        (SORT, HALF, AWAY, RecoveryStage.APPROACH),
        (SORT, HALF, hand(0.3, 0.1, 0.2), RecoveryStage.ALIGN),
        (SORT, BOTH, AWAY, RecoveryStage.RETREAT),
        (course(WIPE), DIRTY, hand(0.4, 0.0, 0.02, 0.0, 0.4), RecoveryStage.WIPE),
        (course(PUSH), tracked(card=(0.3, 0.0, 0.01), tray=(0.5, 0.2, 0.01)), AWAY, RecoveryStage.APPROACH),
        (course(PUSH), tracked(card=(0.3, 0.0, 0.01), tray=(0.5, 0.2, 0.01)), hand(0.28, 0, 0.02, 0.0),
         RecoveryStage.PUSH),
    ],
)  # fmt: skip
def test_a_recovery_starts_at_what_is_to_be_done_next_in_the_sub_task_that_is_due(
    told: Course, scene: SceneState, obs: Observation, stage: RecoveryStage
) -> None:
    assert stage_for(FailureMode.STALLED, obs, scene, told) is stage
    assert stage_for(FailureMode.COLLISION, obs, scene, told) is RecoveryStage.RETREAT
