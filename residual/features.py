"""What the residual policy sees: one code for training (noisy ground truth) and run time (observation and tracker).

Called by the recovery environment, and by `policy` at run time. Nothing here reads simulator truth: positions come as
`Tracked`, the arm as proprioception. Layout (F values, all of the order of 1):

    tool position 3, tilt 3, gripper measured and commanded 2 · tool to target, distractor, goal, obstacle 4 x 3,
    seen flags 4 · tool to target and distractor, magnified 2 x 3 · target to goal, magnified 3 · base action 7 ·
    stage one-hot 8 · holds target, holds distractor 2 · previous residual 7 · tracking error 3
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.demonstrations import proprio
from core.flow import Observation
from core.robots import EE_DELTA
from core.scene import ROLES, SceneRoles, SceneState
from core.worlds import WorldState
from residual.terms import GRIP_GAP, PARKED_BELOW_M

STAGES = ("retreat", "approach", "align", "grasp", "lift", "transport", "place", "release")
"""Order of the stage one-hot; names of `RecoveryStage`."""
FEATURES = 8 + 12 + 4 + 6 + 3 + EE_DELTA.size + len(STAGES) + 2 + EE_DELTA.size + 3
"""F."""
GOAL_REACH_M = 0.06
"""Farthest the commanded position is taken to run ahead of the tool [m]; the arm's controller cuts it there too."""
HOLD_NEAR_M = 0.045
"""A gripped object's centre is at most this far from the tool centre point [m]: 20 mm grasp, 10 mm noise, margin."""
_CENTRE_M = np.array([0.45, 0.0, 0.15])
_TARGET, _DISTRACTOR, _GOAL = ROLES.index("target"), ROLES.index("distractor"), ROLES.index("goal")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """Where the objects are thought to be, by role."""

    pos_in_base: Floats
    """Shape (N, 4, 3) [m], roles in the order of `ROLES`; any finite value where not seen."""
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
        self.command: Floats = np.zeros((n, 3))
        """Commanded translation of the previous tick, shape (N, 3) [m]."""

    def forget(self, ids: Ints) -> None:
        """Starts arms `ids` anew."""
        self.residual[ids], self.ahead[ids], self.command[ids], self.tcp[ids] = 0.0, 0.0, 0.0, np.nan

    def take(self, ids: Ints) -> "Trace":
        """Returns the memory of arms `ids`, copied."""
        part = Trace(len(ids))
        part.residual, part.ahead, part.command = self.residual[ids], self.ahead[ids], self.command[ids]
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
        ahead = self.ahead[ids] + self.command[ids]
        length = np.linalg.norm(ahead, axis=1, keepdims=True)
        self.ahead[ids] = ahead * np.minimum(1.0, GOAL_REACH_M / np.maximum(length, 1e-9)) - moved
        self.tcp[ids] = tcp_pos_in_base

    def acted(self, residual: Floats, commanded: Floats) -> None:
        """Remembers what was done this tick.

        Args:
            residual: Dimensionless, shape (N, A).
            commanded: Composed actions (N, A), in `EE_DELTA` units.
        """
        self.residual, self.command = np.array(residual), np.array(commanded[:, :3])


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


def tracked_of_state(state: WorldState) -> Tracked:
    """Returns where everything truly is in N worlds; parked objects are not seen."""
    pos = np.stack([state.of(role) for role in ROLES], axis=1)
    seen = pos[:, :, 2] > PARKED_BELOW_M
    return Tracked(pos_in_base=np.where(seen[:, :, None], pos, 0.0), seen=seen)


def tracked_of_scene(scene: SceneState, roles: SceneRoles) -> Tracked:
    """Returns what the tracker believes, by role, N = 1."""
    found = [scene.position(roles.of(r)) if roles.of(r) else None for r in ROLES]
    seen = np.array([p is not None and p[2] > PARKED_BELOW_M for p in found])
    pos = np.stack([p if p is not None and s else np.zeros(3) for p, s in zip(found, seen, strict=True)])
    return Tracked(pos_in_base=pos[None], seen=seen[None])


def holding(body: Body, tracked: Tracked) -> Bools:
    """Returns whether target and distractor sit in the gripper, shape (N, 2), by width and place."""
    blocked = (body.command < 0.5) & (body.opening - body.command > GRIP_GAP)
    offset = tracked.pos_in_base[:, [_TARGET, _DISTRACTOR]] - body.tcp_pos_in_base[:, None]
    distance = np.where(tracked.seen[:, [_TARGET, _DISTRACTOR]], np.linalg.norm(offset, axis=2), np.inf)
    nearest = distance == distance.min(axis=1, keepdims=True)
    return np.asarray(blocked[:, None] & nearest & (distance < HOLD_NEAR_M))


def stage_of(body: Body, tracked: Tracked, held: Bools) -> Ints:
    """Returns the index into `STAGES` of what is to be done next, shape (N,), a rule on tracked quantities.

    Args:
        body: N arms.
        tracked: Where things are.
        held: From `holding`, shape (N, 2).
    """
    target, goal = tracked.pos_in_base[:, _TARGET], tracked.pos_in_base[:, _GOAL]
    aside = np.linalg.norm((target - body.tcp_pos_in_base)[:, :2], axis=1)
    distance = np.linalg.norm(target - body.tcp_pos_in_base, axis=1)
    to_goal = np.linalg.norm((goal - target)[:, :2], axis=1)
    placed = (to_goal < 0.05) & (target[:, 2] - goal[:, 2] < 0.06) & tracked.seen[:, _GOAL]
    away = distance > 0.06
    names = np.select(
        [
            placed & away,
            placed,
            held[:, 1],
            held[:, 0] & (to_goal < 0.04),
            held[:, 0] & (target[:, 2] > 0.07),
            held[:, 0],
            distance < 0.025,
            aside < 0.025,
        ],
        [STAGES.index(s) for s in ("retreat", "release", "retreat", "place", "transport", "lift", "grasp", "align")],
        STAGES.index("approach"),
    )
    return np.asarray(names, dtype=np.int64)


def assemble(body: Body, tracked: Tracked, base: Floats, trace: Trace, stage_known: Bools | None = None) -> Floats:
    """Returns the policy's input, float64 (N, F).

    Args:
        body: N arms.
        tracked: Where things are thought to be.
        base: Base actions (N, A), in `EE_DELTA` units.
        trace: Memory, already moved on to this tick by `Trace.observe`.
        stage_known: Where the stage is told, shape (N,); everywhere when None.
    """
    held = holding(body, tracked)
    stage = np.eye(len(STAGES))[stage_of(body, tracked, held)]
    if stage_known is not None:
        stage = stage * stage_known[:, None]
    offset = np.where(tracked.seen[:, :, None], tracked.pos_in_base - body.tcp_pos_in_base[:, None], 0.0)
    to_goal = tracked.pos_in_base[:, _GOAL] - tracked.pos_in_base[:, _TARGET]
    parts = [
        (body.tcp_pos_in_base - _CENTRE_M) * 5.0,
        body.proprio[:, 3:6] * 3.0,
        body.proprio[:, 6:8] * 2.0 - 1.0,
        np.clip(offset * 5.0, -2.0, 2.0).reshape(len(base), -1),
        tracked.seen.astype(np.float64),
        np.tanh(offset[:, [_TARGET, _DISTRACTOR]] * 30.0).reshape(len(base), -1),
        np.tanh(np.where(tracked.seen[:, [_GOAL]], to_goal, 0.0) * 20.0),
        np.clip(EE_DELTA.normalise(base), -1.0, 1.0),
        stage,
        held.astype(np.float64),
        trace.residual,
        trace.ahead * 20.0,
    ]
    return np.concatenate(parts, axis=1)
