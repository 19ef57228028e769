"""What the residual policy sees: one code for training (noisy ground truth) and run time (observation and tracker).

Called by the recovery environment, and by `policy` at run time. Nothing here reads simulator truth: positions come as
`Tracked`, the arm as proprioception. Layout (F values, all of the order of 1):

    tool position 3, tilt 3, gripper measured and commanded 2 · tool to target, distractor, goal, obstacle 4 x 3,
    seen flags 4 · tool to target and distractor, magnified 2 x 3 · target to goal, magnified 3, more magnified 2 ·
    height of target and goal 2 · base action 7 · stage one-hot 13 · manner one-hot 5 · holds target, distractor 2 ·
    previous residual 7 · tracking error 3 · previous two commanded actions 2 x 7

A skill may read P more values, the frozen policy's own features (see `policy_features`); they are appended.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.demonstrations import proprio
from core.flow import Observation
from core.robots import EE_DELTA
from core.scene import ROLES, SceneState
from core.stages import MANNERS, STAGES, Due, Situation, by_role, due_now, held_now, known_positions, stages_now
from core.subtasks import Course
from core.worlds import WorldState

FEATURE_LAYOUT = "residual-features@2"
"""Version of the layout; an actor reads no other."""
PAST = 2
"""Commanded actions that are remembered: more than the 0.1 s that an action may be late."""
FEATURES = 8 + 12 + 4 + 6 + 5 + 2 + 2 * EE_DELTA.size + len(STAGES) + len(MANNERS) + 2 + 3 + PAST * EE_DELTA.size
"""F."""
GOAL_REACH_M = 0.06
"""Farthest the commanded position is taken to run ahead of the tool [m]; the arm's controller cuts it there too."""
FINE_M = 0.005
"""Offset of target and goal at which the most magnified feature is 0.76 [m]: a hole has clearances of this order."""
_CENTRE_M = np.array([0.45, 0.0, 0.15])
_TARGET, _DISTRACTOR, _GOAL = ROLES.index("target"), ROLES.index("distractor"), ROLES.index("goal")
_STAGE_ROWS, _MANNER_ROWS = np.eye(len(STAGES)), np.eye(len(MANNERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Proprioception of N arms."""

    tcp_pos_in_base: Floats
    """Shape (N, 3) [m]."""
    proprio: Floats
    """As `core.demonstrations.proprio` gives it, shape (N, 8)."""

    @property
    def opening(self) -> Floats:
        """Measured gripper opening, shape (N,)."""
        return self.proprio[:, 6]

    @property
    def command(self) -> Floats:
        """Commanded gripper opening, shape (N,)."""
        return self.proprio[:, 7]

    def take(self, rows: Ints | Bools) -> "Body":
        """Returns the same for a subset of arms."""
        return Body(tcp_pos_in_base=self.tcp_pos_in_base[rows], proprio=self.proprio[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What is due, and where those who matter to it are thought to be."""

    due: Due
    """By the same positions."""
    pos_in_base: Floats
    """Shape (N, 4, 3) [m], roles in the order of `ROLES`; 0 where not seen."""
    seen: Bools
    """Shape (N, 4)."""


class Trace:
    """What the features remember of N arms.

    Args:
        n: Arms.
    """

    def __init__(self, n: int) -> None:
        self.residual: Floats = np.zeros((n, EE_DELTA.size))
        """Previous residual, dimensionless, shape (N, A)."""
        self.ahead: Floats = np.zeros((n, 3))
        """Commanded minus measured tool position at the previous tick, shape (N, 3) [m]."""
        self.tcp: Floats = np.full((n, 3), np.nan)
        """Tool position at the previous tick, NaN at the start, shape (N, 3) [m]."""
        self.commands: Floats = np.zeros((n, PAST, EE_DELTA.size))
        """Commanded actions on [-1, 1], newest first, shape (N, PAST, A)."""

    def forget(self, ids: Ints) -> None:
        """Starts arms `ids` anew."""
        self.residual[ids], self.ahead[ids], self.commands[ids], self.tcp[ids] = 0.0, 0.0, 0.0, np.nan

    def take(self, ids: Ints) -> "Trace":
        """Returns the memory of arms `ids`, copied."""
        part = Trace(0)
        part.residual, part.ahead, part.commands = self.residual[ids], self.ahead[ids], self.commands[ids]
        part.tcp = self.tcp[ids]
        return part

    def observe(self, ids: Ints, tcp_pos_in_base: Floats) -> None:
        """Moves the tracking error of arms `ids` on to this tick.

        Args:
            ids: Shape (M,).
            tcp_pos_in_base: Measured now, shape (M, 3) [m].
        """
        before = self.tcp[ids]
        moved = np.where(np.isnan(before), 0.0, tcp_pos_in_base - before)
        ahead = self.ahead[ids] + self.commands[ids, 0, :3] * EE_DELTA.high[:3]
        length = np.sqrt((ahead * ahead).sum(axis=1, keepdims=True))
        self.ahead[ids] = ahead * np.minimum(1.0, GOAL_REACH_M / np.maximum(length, 1e-9)) - moved
        self.tcp[ids] = tcp_pos_in_base

    def acted(self, residual: Floats, commanded: Floats) -> None:
        """Remembers what was done this tick.

        Args:
            residual: Dimensionless, shape (N, A).
            commanded: Composed actions (N, A), in `EE_DELTA` units.
        """
        self.residual = np.array(residual)
        self.commands = np.concatenate([EE_DELTA.normalise(commanded)[:, None], self.commands[:, :-1]], axis=1)


def body_of_state(state: WorldState) -> Body:
    """Returns the proprioception of N simulated arms."""
    return Body(
        tcp_pos_in_base=state.tcp_pos_in_base,
        proprio=proprio(
            state.tcp_pos_in_base, state.tcp_quat_xyzw_in_base, state.gripper_opening, state.gripper_command
        ),
    )


def body_of_observation(obs: Observation) -> Body:
    """Returns the proprioception of one arm, N = 1."""
    row = proprio(
        obs.tcp_pos_in_base,
        obs.tcp_quat_xyzw_in_base,
        np.array(obs.gripper_opening),
        np.array(obs.gripper_command),
    )
    return Body(tcp_pos_in_base=obs.tcp_pos_in_base[None], proprio=row[None])


def tracked_by_role(pos_in_base: Floats, due: Due) -> Tracked:
    """Returns who is where in N arms.

    Args:
        pos_in_base: Object centres, shape (N, O, 3) [m]; NaN where not known.
        due: By these positions.
    """
    pos, seen = by_role(pos_in_base, due.roles)
    return Tracked(due=due, pos_in_base=pos, seen=seen)


def tracked_of_scene(scene: SceneState, course: Course) -> Tracked:
    """Returns what the tracker believes, by role, N = 1.

    Args:
        scene: Tracked now.
        course: What the arm was told to do.
    """
    known = known_positions(course, scene)
    return tracked_by_role(known, due_now(course, known))


def situation(body: Body, tracked: Tracked) -> Situation:
    """Returns what the stage rule sees of N arms."""
    return Situation(
        manner=tracked.due.manner,
        finished=tracked.due.finished,
        tcp_pos_in_base=body.tcp_pos_in_base,
        opening=body.opening,
        command=body.command,
        pos_in_base=tracked.pos_in_base,
        seen=tracked.seen,
    )


def assemble(
    body: Body,
    tracked: Tracked,
    base: Floats,
    trace: Trace,
    *,
    stage_known: Bools | None = None,
    policy_features: Floats | None = None,
) -> Floats:
    """Returns the policy's input, float64 (N, F + P).

    Args:
        body: N arms.
        tracked: Where things are thought to be.
        base: Base actions (N, A), in `EE_DELTA` units.
        trace: Memory, already moved on to this tick by `Trace.observe`.
        stage_known: Where the stage is told, shape (N,); everywhere when None.
        policy_features: The frozen policy's own features, shape (N, P); none when None.
    """
    n, now = len(base), situation(body, tracked)
    held = held_now(now)
    stage = _STAGE_ROWS[stages_now(now, held)]
    if stage_known is not None:
        stage = stage * stage_known[:, None]
    offset = np.where(tracked.seen[:, :, None], tracked.pos_in_base - body.tcp_pos_in_base[:, None], 0.0)
    both = tracked.seen[:, [_TARGET]] & tracked.seen[:, [_GOAL]]
    to_goal = np.where(both, tracked.pos_in_base[:, _GOAL] - tracked.pos_in_base[:, _TARGET], 0.0)
    parts = [
        (body.tcp_pos_in_base - _CENTRE_M) * 5.0,
        body.proprio[:, 3:6] * 3.0,
        body.proprio[:, 6:8] * 2.0 - 1.0,
        np.clip(offset * 5.0, -2.0, 2.0).reshape(n, -1),
        tracked.seen,
        np.tanh(offset[:, [_TARGET, _DISTRACTOR]] * 30.0).reshape(n, -1),
        np.tanh(to_goal * 20.0),
        np.tanh(to_goal[:, :2] / FINE_M),
        np.clip(tracked.pos_in_base[:, [_TARGET, _GOAL], 2] * 5.0, -1.0, 2.0),
        np.clip(EE_DELTA.normalise(base), -1.0, 1.0),
        stage,
        _MANNER_ROWS[tracked.due.manner],
        held,
        trace.residual,
        trace.ahead * 20.0,
        np.clip(trace.commands, -1.0, 1.0).reshape(n, -1),
    ]
    if policy_features is not None:
        parts.append(policy_features)
    return np.concatenate(parts, axis=1, dtype=np.float64)
