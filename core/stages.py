"""At which stage a recovery is: ONE rule, from geometry alone, for training, diagnosis and run time.

Called by the residual's features with N simulated arms and noisy positions, by the diagnosis at run time with one arm
and tracked positions, and by evaluations with the truth. Whoever asks gives no failure mode: the rule reads manner,
tool, gripper and positions, and answers what is to be done next.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.flow import Observation
from core.recovery import RecoveryStage
from core.scene import ROLES, SceneState
from core.subtasks import Course, Manner

STAGES = tuple(RecoveryStage)
"""What an index of `stages_now` stands for."""
MANNERS = tuple(Manner)
"""What an index of `Situation.manner` stands for."""
ABSENT_BELOW_M = -0.1
"""An object whose centre is lower than this is not on the table [m]."""
GRIP_GAP = 0.06
"""A gripper this much wider than commanded has something between its fingers, dimensionless."""
HOLD_ASIDE_M = 0.045
"""A gripped object's centre is at most this far aside of the tool [m]: 20 mm of grasp, 10 mm of noise, margin."""
HOLD_ALONG_M = 0.07
"""And at most this far above or below it [m]; a long thing is not gripped at its centre."""
ABOVE_M = 0.025
"""A tool this near to an object in the table plane is above it [m]."""
AT_M = 0.035
"""And this near in height it is at it [m]."""
LIFTED_M = 0.07
"""Height of the centre of what is held from which it can be carried [m]."""
AWAY_M = 0.06
"""A hand this far from what it let go of has retreated [m]."""
BESIDE_M = 0.045
"""An open hand this near to the distractor, nearer than to the target, is not yet free of it [m]."""
PUSHING_M = 0.08
"""A hand this near to what it pushes can push [m]."""
OVER_M = {Manner.PLACE: 0.05, Manner.INSERT: 0.03, Manner.WIPE: 0.05, Manner.PULL: 0.0, Manner.PUSH: 0.0}
"""A held thing this near to the goal in the table plane is over it, by manner [m]."""
OBSTACLE_ASIDE_M = 0.07
"""A tool this near to an obstacle in the table plane, and lower than its top, has to go up first [m]."""
_TARGET, _DISTRACTOR, _GOAL, _OBSTACLE = range(len(ROLES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is due in N worlds of one course."""

    progress: Ints
    """Sub-tasks done, up to the first that is not, 0..S, shape (N,)."""
    finished: Bools
    """Whether all are done, shape (N,); then the last one counts as due."""
    manner: Ints
    """Of the sub-task that is due, index into `MANNERS`, shape (N,)."""
    roles: Ints
    """Index of the object in each role of it, -1 when none, shape (N, 4), columns in the order of `ROLES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that the rule sees of N arms, true or tracked."""

    manner: Ints
    """Of the sub-task that is due, index into `MANNERS`, shape (N,)."""
    finished: Bools
    """Whether everything is done, shape (N,)."""
    tcp_pos_in_base: Floats
    """Shape (N, 3) [m]."""
    opening: Floats
    """Measured gripper opening, shape (N,)."""
    command: Floats
    """Commanded gripper opening, shape (N,)."""
    pos_in_base: Floats
    """Centres by role, shape (N, 4, 3) [m], in the order of `ROLES`; any finite value where not seen."""
    seen: Bools
    """Shape (N, 4)."""


def due_now(course: Course, pos_in_base: Floats) -> Due:
    """Returns what is due in N worlds that do the same course.

    Args:
        course: The sub-tasks.
        pos_in_base: Object centres, shape (N, O, 3) [m]; NaN where not known.
    """
    progress = course.progress(pos_in_base)
    at = np.minimum(progress, len(course.subtasks) - 1)
    manners = np.array([MANNERS.index(s.manner) for s in course.subtasks], dtype=np.int64)
    roles = [[course.names.index(s.roles.of(r)) if s.roles.of(r) else -1 for r in ROLES] for s in course.subtasks]
    return Due(
        progress=progress,
        finished=progress == len(course.subtasks),
        manner=manners[at],
        roles=np.array(roles, dtype=np.int64)[at],
    )


def by_role(pos_in_base: Floats, roles: Ints) -> tuple[Floats, Bools]:
    """Returns centres by role (N, 4, 3) [m], 0 where not seen, and which are seen (N, 4).

    Args:
        pos_in_base: Object centres, shape (N, O, 3) [m]; NaN where not known.
        roles: Object indices, shape (N, 4), -1 when none.
    """
    pos = pos_in_base[np.arange(len(roles))[:, None], roles]
    seen = (roles >= 0) & (pos[:, :, 2] > ABSENT_BELOW_M)
    return np.where(seen[:, :, None], pos, 0.0), seen


def known_positions(course: Course, scene: SceneState) -> Floats:
    """Returns where the objects of a course are believed to be, shape (1, O, 3) [m], NaN where never seen."""
    found = [scene.position(name) for name in course.names]
    return np.array([[np.full(3, np.nan) if p is None else p for p in found]])


def situation_of(course: Course, obs: Observation, scene: SceneState) -> Situation:
    """Returns what the rule sees of one arm, N = 1.

    Args:
        course: What it was told to do.
        obs: Measured now.
        scene: Tracked now.
    """
    known = known_positions(course, scene)
    due = due_now(course, known)
    pos, seen = by_role(known, due.roles)
    return Situation(
        manner=due.manner, finished=due.finished, tcp_pos_in_base=obs.tcp_pos_in_base[None],
        opening=np.array([obs.gripper_opening]), command=np.array([obs.gripper_command]), pos_in_base=pos, seen=seen,
    )  # fmt: skip


def stage_now(course: Course, obs: Observation, scene: SceneState) -> RecoveryStage:
    """Returns the stage of one arm; see `stages_now`.

    Args:
        course: What it was told to do.
        obs: Measured now.
        scene: Tracked now.
    """
    return STAGES[int(stages_now(situation_of(course, obs, scene))[0])]


def gripping(situation: Situation) -> Bools:
    """Returns whether something keeps the closed fingers apart, or they are still closing, shape (N,)."""
    return np.asarray((situation.command < 0.5) & (situation.opening - situation.command > GRIP_GAP))


def held_now(situation: Situation) -> Bools:
    """Returns whether target and distractor sit in the gripper, shape (N, 2), by the fingers' width and by place."""
    pair = [_TARGET, _DISTRACTOR]
    offset = situation.pos_in_base[:, pair] - situation.tcp_pos_in_base[:, None]
    aside = np.where(situation.seen[:, pair], _norm(offset[:, :, :2]), np.inf)
    there = (aside < HOLD_ASIDE_M) & (np.abs(offset[:, :, 2]) < HOLD_ALONG_M)
    nearest = aside == aside.min(axis=1, keepdims=True)
    return np.asarray(gripping(situation)[:, None] & nearest & there)


def stages_now(situation: Situation, held: Bools | None = None) -> Ints:
    """Returns the index into `STAGES` of what is to be done next, shape (N,).

    In order of rank: all done: let go, then RETREAT; something else than the target in the hand, or a hand that closed
    on nothing known: RELEASE; beside an obstacle and lower than its top (twice the height of its centre), unless the
    target in the hand is at its goal: RETREAT; an open hand still at the distractor: RETREAT; the target in the hand:
    LIFT, TRANSPORT, then PLACE, INSERT or WIPE over the goal, PULL at a handle; else fetch it: APPROACH, ALIGN above
    it, GRASP at it; PUSH when near to what is pushed.

    Args:
        situation: N arms.
        held: From `held_now`, shape (N, 2); found here when None.
    """
    held = held_now(situation) if held is None else held
    s, manner = situation, situation.manner
    offset = s.pos_in_base - s.tcp_pos_in_base[:, None]
    aside = np.where(s.seen, _norm(offset[:, :, :2]), np.inf)
    gap = np.where(s.seen, _norm(offset), np.inf)
    target, has = s.pos_in_base[:, _TARGET], held[:, 0]
    over = s.seen[:, _GOAL] & (_norm((target - s.pos_in_base[:, _GOAL])[:, :2]) < _OVER[manner])
    push, pull, wipe = (manner == MANNERS.index(m) for m in (Manner.PUSH, Manner.PULL, Manner.WIPE))
    beside = (aside[:, _OBSTACLE] < OBSTACLE_ASIDE_M) & (s.tcp_pos_in_base[:, 2] < 2 * s.pos_in_base[:, _OBSTACLE, 2])
    leaving = (s.command >= 0.5) & (gap[:, _DISTRACTOR] < np.minimum(BESIDE_M, gap[:, _TARGET]))
    away = (gap[:, _TARGET] > AWAY_M) & (s.command >= 0.5) | push | wipe
    rules = [
        (s.finished & away, RecoveryStage.RETREAT),
        (s.finished, RecoveryStage.RELEASE),
        (gripping(s) & ~has, RecoveryStage.RELEASE),
        (beside & ~(has & (over | pull)), RecoveryStage.RETREAT),
        (leaving, RecoveryStage.RETREAT),
        (push & (gap[:, _TARGET] < PUSHING_M), RecoveryStage.PUSH),
        (push, RecoveryStage.APPROACH),
        (has & pull, RecoveryStage.PULL),
    ]  # fmt: skip
    index = np.select([where for where, _ in rules], [STAGES.index(stage) for _, stage in rules], -1)
    carried = np.select([over, wipe | (target[:, 2] > LIFTED_M)], [_LAST[manner], _TRANSPORT], _LIFT)
    at = np.abs(offset[:, _TARGET, 2]) < AT_M
    fetched = np.where(aside[:, _TARGET] < ABOVE_M, np.where(at, _GRASP, _ALIGN), _APPROACH)
    return np.asarray(np.where(index >= 0, index, np.where(has, carried, fetched)), dtype=np.int64)


def _norm(offset: Floats) -> Floats:
    return np.asarray(np.sqrt((offset * offset).sum(axis=-1)))


_OVER = np.array([OVER_M[m] for m in MANNERS])
_APPROACH, _ALIGN, _GRASP = map(STAGES.index, (RecoveryStage.APPROACH, RecoveryStage.ALIGN, RecoveryStage.GRASP))
_LIFT, _TRANSPORT = STAGES.index(RecoveryStage.LIFT), STAGES.index(RecoveryStage.TRANSPORT)
_OVER_GOAL = {
    Manner.PLACE: RecoveryStage.PLACE, Manner.INSERT: RecoveryStage.INSERT, Manner.WIPE: RecoveryStage.WIPE,
    Manner.PULL: RecoveryStage.PULL, Manner.PUSH: RecoveryStage.PUSH,
}  # fmt: skip
_LAST = np.array([STAGES.index(_OVER_GOAL[m]) for m in MANNERS])
