"""Moves that scripted experts are made of, for N hands that point straight down. Called by every task's expert.

An expert looks at the present state only and plans anew each step: a wanted tool position, heading and opening. `acted`
turns that into an action; `travel` goes up, across and down; `choose` lets one plan outrank another.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.robots import EE_DELTA
from core.transforms import quat_conjugate, quat_from_rotvec, quat_multiply, rotvec_from_quat
from core.worlds import WorldState
from sim.cell import STROKE_M

POSITION_GAIN = 0.45
"""Share of the remaining way taken in one step."""
TURN_GAIN = 0.4
HOLD_M = 0.024
"""Something this near to a closed hand's centre is held, unless an expert says otherwise [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where to and how, for N worlds."""

    pos: Floats
    """Wanted tool position, shape (N, 3) [m]."""
    yaw: Floats
    """Wanted heading of the tool, shape (N,) [rad]; the fingers move along y of the base at 0."""
    grip: Floats
    """Wanted opening, shape (N,)."""


def acted(plan: Plan, state: WorldState, *, gain: float = POSITION_GAIN) -> Floats:
    """Returns the actions (N, A) that follow a plan, in `EE_DELTA` units.

    Args:
        plan: Where to.
        state: Where everything is.
        gain: Share of the remaining way taken in one step.
    """
    actions = np.zeros((len(plan.pos), EE_DELTA.size))
    actions[:, :3] = gain * (plan.pos - state.tcp_pos_in_base)
    actions[:, 3:6] = TURN_GAIN * turn_to(plan.yaw, state.tcp_quat_xyzw_in_base)
    actions[:, 6] = plan.grip
    longest = np.abs(actions[:, :3]).max(axis=1, keepdims=True)
    actions[:, :3] *= np.minimum(1.0, EE_DELTA.high[:3] / np.maximum(longest, 1e-9))
    return EE_DELTA.clip(actions)


def choose(first: Plan, second: Plan, where: Bools) -> Plan:
    """Returns `first` where `where` (N,) is true, else `second`."""
    return Plan(
        pos=np.where(where[:, None], first.pos, second.pos),
        yaw=np.where(where, first.yaw, second.yaw),
        grip=np.where(where, first.grip, second.grip),
    )


def travel(tcp: Floats, goal: Floats, *, cruise: Floats, safe: Floats, slope: float = 3.0) -> Floats:
    """Returns the next way point to `goal`: up, across, down through a funnel, shape (N, 3) [m].

    Args:
        tcp: Where the tool is, shape (N, 3) [m].
        goal: Where to, shape (N, 3) [m].
        cruise: Height at which to cross, shape (N,) [m].
        safe: Height from which crossing is safe, shape (N,) [m]; below it the tool first goes up.
        slope: Steepness of the funnel above the goal: rise over distance.
    """
    across = goal[:, :2] - tcp[:, :2]
    gap = length(across)
    height = np.minimum(cruise, goal[:, 2] + slope * np.maximum(0.0, gap - 0.012))
    share = np.clip(1.0 - (np.minimum(height, safe) - tcp[:, 2]) / 0.03, 0.0, 1.0)
    return np.concatenate([tcp[:, :2] + share[:, None] * across, height[:, None]], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """A block that may stand in the way, in N worlds."""

    pos: Floats
    """Its centre, shape (N, 3) [m]."""
    heading: Floats
    """Direction of its thin side, shape (N,) [rad]."""
    half_height_m: float
    table: Floats
    """Height of the table top, shape (N,) [m]."""

    @property
    def stands(self) -> Bools:
        """Whether there is one, shape (N,)."""
        return np.asarray(self.pos[:, 2] > 0.0)


def cross(
    tcp: Floats, goal: Floats, barrier: Barrier, *, lift: float, clear: float, over: float, swerve: float = 0.14
) -> Floats:
    """Returns the next way point to `goal` as `travel` does, over a block where one is in the way, shape (N, 3) [m].

    Args:
        tcp: Where the tool is, shape (N, 3) [m].
        goal: Where to, shape (N, 3) [m].
        barrier: What may be in the way.
        lift: Height above the goal, or above the table, at which to cross [m].
        clear: Height above the table from which crossing is safe [m].
        over: Height above the block from which crossing it is safe [m].
        swerve: A block nearer than this to the straight way is gone over [m].
    """
    across = goal[:, :2] - tcp[:, :2]
    gap, top = length(across), barrier.pos[:, 2] + barrier.half_height_m
    blocked = barrier.stands & (segment_gap(tcp[:, :2], goal[:, :2], barrier.pos[:, :2]) < swerve) & (gap > 0.012)
    cruise = np.where(blocked, top + over + 0.015, np.maximum(goal[:, 2], barrier.table) + lift)
    safe = np.where(blocked, top + over - 0.01, barrier.table + clear + 0.02)
    height = np.minimum(cruise, goal[:, 2] + np.where(blocked, 15.0, 3.0) * np.maximum(0.0, gap - 0.012))
    share = np.clip(1.0 - (np.minimum(height, safe) - tcp[:, 2]) / 0.03, 0.0, 1.0)
    low = blocked & (tcp[:, 2] < top + 0.01)
    flat = tcp[:, :2] + np.where(low[:, None], away(tcp, barrier), share[:, None] * across)
    return np.concatenate([flat, height[:, None]], axis=1)


def away(tcp: Floats, barrier: Barrier) -> Floats:
    """Returns a small step away from the block's face (N, 2) [m] where the hand is close to it, else zero.

    Args:
        tcp: Where the tool is, shape (N, 3) [m].
        barrier: The block.
    """
    normal = np.stack([np.cos(barrier.heading), np.sin(barrier.heading)], axis=1)
    ahead = ((tcp - barrier.pos)[:, :2] * normal).sum(axis=1)
    return np.asarray(np.where(np.abs(ahead) < 0.10, 0.03 * np.sign(ahead), 0.0)[:, None] * normal)


def holds(state: WorldState, pos: Floats, width_m: Floats | float, near_m: float = HOLD_M) -> Bools:
    """Returns whether the hand is closed on something of `width_m` at `pos`, shape (N,).

    Args:
        state: Where everything is.
        pos: Its centre, shape (N, 3) [m].
        width_m: Its width between the pads [m].
        near_m: Largest distance of its centre from the tool centre point [m].
    """
    excess = state.gripper_opening - width_m / STROKE_M
    return np.asarray((length(state.tcp_pos_in_base - pos) < near_m) & (excess < 0.05) & (excess > -0.12))


def heading(state: WorldState) -> Floats:
    """Returns the heading of the tools about z, shape (N,) [rad]."""
    return np.asarray(-turn_to(np.zeros(len(state.time_s)), state.tcp_quat_xyzw_in_base)[:, 2])


def turn_to(yaw: Floats, tcp_quat_xyzw: Floats) -> Floats:
    """Returns the turn (N, 3) [rad], in base, that points a tool straight down with heading `yaw` (N,)."""
    axis = np.zeros((len(yaw), 3))
    axis[:, 2] = yaw
    down = quat_multiply(quat_from_rotvec(axis), np.broadcast_to([1.0, 0.0, 0.0, 0.0], (len(yaw), 4)))
    return np.asarray(rotvec_from_quat(quat_multiply(down, quat_conjugate(tcp_quat_xyzw))))


def yaw_of(quat_xyzw: Floats) -> Floats:
    """Returns the heading about z of things that stand upright, shape (N,) [rad]."""
    return np.asarray(2.0 * np.arctan2(quat_xyzw[:, 2], quat_xyzw[:, 3]))


def long_side(quat_xyzw: Floats) -> Floats:
    """Returns the heading of a thing's own x axis, whichever face it lies on, shape (...) [rad].

    Args:
        quat_xyzw: Its orientation, shape (..., 4).
    """
    x, y, z, w = np.moveaxis(quat_xyzw, -1, 0)
    return np.asarray(np.arctan2(2.0 * (x * y + z * w), 1.0 - 2.0 * (y * y + z * z)))


def wrap(angle: Floats) -> Floats:
    """Returns headings on (-pi/2, pi/2]: a hand turned by half a turn is the same hand."""
    return np.asarray(np.pi / 2 - np.mod(np.pi / 2 - angle, np.pi))


def segment_gap(start: Floats, end: Floats, point: Floats) -> Floats:
    """Returns how far `point` (N, 2) is from the straight way between `start` and `end`, shape (N,) [m]."""
    along = end - start
    share = np.clip(((point - start) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-9), 0.0, 1.0)
    return length(start + share[:, None] * along - point)


def length(vector: Floats) -> Floats:
    """Returns Euclidean lengths along the last axis."""
    return np.asarray(np.sqrt((vector**2).sum(axis=-1)))
