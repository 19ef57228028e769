"""The scripted demonstrator of `fruit_on_plate`: looks at the present state only, so it recovers from any of them.

Called for demonstrations, warm starts and the authority test. What it does is decided anew each step, in this order of
rank: leave the fruit that lies on the plate; carry the fruit it holds; get rid of a wrong fruit; fetch the right one.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.robots import EE_DELTA
from core.transforms import quat_conjugate, quat_from_rotvec, quat_multiply, rotvec_from_quat
from core.worlds import WorldState
from sim.cell import STROKE_M
from sim.tasks.fruit_on_plate import BLOCK, INFO, ON_PLATE_M, PLATE

POSITION_GAIN = 0.45
"""Share of the remaining way taken in one step."""
TURN_GAIN = 0.4
GRASP_M = 0.013
"""The hand closes when its centre is this near to the fruit's."""
HOLD_M = 0.024
"""A fruit this near to a closed hand's centre is held."""
BESIDE_M = 0.068
"""Distance of two fruits' centres that lie side by side on the plate."""
NEIGHBOUR_M = 0.11
"""Something nearer to the fruit than this is in the way of an open finger."""
SWERVE_M = 0.14
"""A block nearer than this to the straight way is gone over."""
FINGERS_M = 0.022
"""A tool lower than this above a surface may have its finger tips on it, where friction keeps the hand from opening."""
UNSTICK_M = 0.02
"""So far up such a tool is told to go while the hand opens [m]."""
_SPOTS = np.stack(np.meshgrid(np.linspace(0.30, 0.56, 7), np.linspace(-0.28, 0.28, 9)), axis=-1).reshape(-1, 2)
"""Places on the table for a wrong fruit [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The state, by role."""

    tcp: Floats
    target: Floats
    other: Floats
    plate: Floats
    block: Floats
    block_heading: Floats
    """Direction of the block's thin side, shape (N,) [rad]."""
    blocked: Bools
    radius: Floats
    """Of the target, shape (N,) [m]."""
    other_radius: Floats
    table: Floats
    """Height of the table top, shape (N,) [m]."""
    yaw: Floats
    """Heading of the tool, shape (N,) [rad]."""
    opening: Floats
    command: Floats
    rise: float
    """How far up fingers that rest on a surface are told to go [m]."""

    def holds(self, pos: Floats, radius: Floats) -> Bools:
        """Returns whether the hand is closed on a fruit at `pos` (N, 3), shape (N,)."""
        excess = self.opening - 2 * radius / STROKE_M
        return np.asarray((_length(self.tcp - pos) < HOLD_M) & (excess < 0.05) & (excess > -0.12))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """Where to and how, for N worlds."""

    pos: Floats
    """Wanted tool position, shape (N, 3) [m]."""
    yaw: Floats
    """Wanted heading of the tool, shape (N,) [rad]."""
    grip: Floats
    """Wanted opening, shape (N,)."""


class FruitExpert:
    """Puts the named fruit on the plate from any state; implements `core.ports.Expert`.

    Args:
        unstick: Whether fingers that rest on a surface are lifted so that the hand can open. A fruit held too high in
            the hand needs it, which the expert's own grasps never cause: demonstrations are recorded without it.
    """

    def __init__(self, *, unstick: bool = True) -> None:
        self._rise = UNSTICK_M if unstick else 0.0

    def act(self, state: WorldState) -> Floats:
        """Returns actions (N, A), in `EE_DELTA` units.

        Args:
            state: Ground truth of `fruit_on_plate` worlds.
        """
        view = _view(state, self._rise)
        plan = _fetch(view)
        plan = _choose(_rid(view), plan, view.holds(view.other, view.other_radius) | _letting_go(view))
        plan = _choose(_carry(view), plan, view.holds(view.target, view.radius))
        plan = _choose(_leave(view), plan, _on_plate(view))
        actions = np.zeros((len(view.tcp), EE_DELTA.size))
        actions[:, :3] = POSITION_GAIN * (plan.pos - view.tcp)
        actions[:, 3:6] = TURN_GAIN * _turn_to(plan.yaw, state.tcp_quat_xyzw_in_base)
        actions[:, 6] = plan.grip
        longest = np.abs(actions[:, :3]).max(axis=1, keepdims=True)
        actions[:, :3] *= np.minimum(1.0, EE_DELTA.high[:3] / np.maximum(longest, 1e-9))
        return EE_DELTA.clip(actions)


def _view(state: WorldState, rise: float) -> _View:
    radii = np.array([o.size_m[2] for o in INFO.objects])
    quat = state.object_quat_xyzw_in_base[np.arange(len(state.roles)), state.roles[:, 3]]
    plate, block = state.of("goal"), state.of("obstacle")
    return _View(
        tcp=state.tcp_pos_in_base,
        target=state.of("target"),
        other=state.of("distractor"),
        plate=plate,
        block=block,
        block_heading=2.0 * np.arctan2(quat[:, 2], quat[:, 3]),
        blocked=block[:, 2] > 0.0,
        radius=radii[state.roles[:, 0]],
        other_radius=radii[state.roles[:, 1]],
        table=plate[:, 2] - PLATE.size_m[2],
        yaw=-_turn_to(np.zeros(len(plate)), state.tcp_quat_xyzw_in_base)[:, 2],
        opening=state.gripper_opening,
        command=state.gripper_command,
        rise=rise,
    )


def _fetch(view: _View) -> _Plan:
    """Open above the fruit, down, close."""
    yaw, crowded = _grasp_yaw(view)
    gap = _length(view.tcp - view.target)
    close = gap < np.where(view.command < 0.5, HOLD_M, GRASP_M)
    pos = _travel(view, view.target, lift=0.10, clear=0.07, over=0.05)
    ready = (view.opening > 0.9) & (~crowded | (np.abs(_wrap(yaw - view.yaw)) < 0.2))
    pos[:, 2] = np.where(ready | close, pos[:, 2], np.maximum(pos[:, 2], view.target[:, 2] + 0.07))
    pos = np.where(close[:, None], view.target, pos)
    return _Plan(pos=pos, yaw=yaw, grip=np.where(close, 0.0, 1.0))


def _carry(view: _View) -> _Plan:
    """Up, over the plate, down, open."""
    spot, yaw = _place(view)
    offset = view.tcp - view.target
    top = view.plate[:, 2] + PLATE.size_m[2] + view.radius
    goal = np.concatenate([spot, top[:, None] + 0.003], axis=1) + offset
    pos = _travel(view, goal, lift=0.12, clear=0.07, over=0.075)
    down = (_length(view.target[:, :2] - spot) < 0.02) & (view.target[:, 2] < top + 0.008)
    return _Plan(pos=pos, yaw=yaw, grip=np.where(down, 1.0, 0.0))


def _rid(view: _View) -> _Plan:
    """The wrong fruit down on a free spot of the table."""
    spots = np.concatenate([np.broadcast_to(_SPOTS, (len(view.tcp), *_SPOTS.shape)), view.other[:, None, :2]], axis=1)
    cost = _length(spots - view.other[:, None, :2])
    for thing, keep in ((view.target, 0.14), (view.plate, 0.17), (view.block, 0.16)):
        cost = cost + 10.0 * (_length(spots - thing[:, None, :2]) < keep)
    spot = spots[np.arange(len(spots)), np.argmin(cost, axis=1)]
    low = view.table + view.other_radius
    goal = np.concatenate([spot, low[:, None] + 0.003], axis=1) + (view.tcp - view.other)
    pos = _travel(view, goal, lift=0.10, clear=0.07, over=0.075)
    down = (view.other[:, 2] < low + 0.008) & (_length(view.other[:, :2] - spot) < 0.02)
    letting_go = _letting_go(view)
    pos = np.where((letting_go | down)[:, None], _unstuck(view, view.table), pos)
    return _Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(letting_go | down, 1.0, 0.0))


def _letting_go(view: _View) -> Bools:
    """The hand is opening round the wrong fruit."""
    return np.asarray((_length(view.tcp - view.other) < HOLD_M) & (view.command > 0.5) & (view.opening < 0.9))


def _unstuck(view: _View, surface: Floats) -> Floats:
    """Returns where the tool is (N, 3) [m], or a little higher where its fingers may be stuck on `surface` (N,) [m]."""
    pos = view.tcp.copy()
    pos[:, 2] += np.where(view.tcp[:, 2] - surface < FINGERS_M, view.rise, 0.0)
    return pos


def _leave(view: _View) -> _Plan:
    """Open, then straight up."""
    pos = _unstuck(view, view.plate[:, 2] + PLATE.size_m[2])
    high = view.plate[:, 2] + 0.18
    near = _length((view.tcp - view.target)[:, :2]) < 0.12
    free = (view.opening > 0.93) & near
    pos[:, 2] = np.where(free, np.maximum(pos[:, 2], high), pos[:, 2])
    return _Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.ones(len(pos)))


def _on_plate(view: _View) -> Bools:
    height = view.target[:, 2] - view.plate[:, 2] - PLATE.size_m[2] - view.radius
    inside = _length((view.target - view.plate)[:, :2]) < ON_PLATE_M - 0.003
    spot, _ = _place(view)
    held_elsewhere = view.holds(view.target, view.radius) & (_length(view.target[:, :2] - spot) > 0.03)
    return np.asarray(inside & (np.abs(height) < 0.008) & ~held_elsewhere)


def _travel(view: _View, goal: Floats, *, lift: float, clear: float, over: float) -> Floats:
    """Returns the next way point to `goal` (N, 3): up, across, down through a funnel.

    Args:
        view: The state.
        goal: Where to, shape (N, 3) [m].
        lift: Height above the goal, or above the table, at which to cross [m].
        clear: Height above the table from which crossing is safe [m].
        over: Height above the block from which crossing it is safe [m].
    """
    across = goal[:, :2] - view.tcp[:, :2]
    gap = _length(across)
    swerve = view.blocked & (_segment_gap(view.tcp[:, :2], goal[:, :2], view.block[:, :2]) < SWERVE_M) & (gap > 0.012)
    top = view.block[:, 2] + BLOCK.size_m[2]
    cruise = np.where(swerve, top + over + 0.015, np.maximum(goal[:, 2], view.table) + lift)
    safe = np.where(swerve, top + over - 0.01, view.table + clear + 0.02)
    slope = np.where(swerve, 15.0, 3.0)
    height = np.minimum(cruise, goal[:, 2] + slope * np.maximum(0.0, gap - 0.012))
    share = np.clip(1.0 - (np.minimum(height, safe) - view.tcp[:, 2]) / 0.03, 0.0, 1.0)
    low = swerve & (view.tcp[:, 2] < top + 0.01)
    flat = view.tcp[:, :2] + np.where(low[:, None], _away(view), share[:, None] * across)
    return np.concatenate([flat, height[:, None]], axis=1)


def _away(view: _View) -> Floats:
    """Returns a small step away from the block's face (N, 2) [m] where the hand is close to it, else zero."""
    normal = np.stack([np.cos(view.block_heading), np.sin(view.block_heading)], axis=1)
    ahead = ((view.tcp - view.block)[:, :2] * normal).sum(axis=1)
    return np.asarray(np.where(np.abs(ahead) < 0.10, 0.03 * np.sign(ahead), 0.0)[:, None] * normal)


def _place(view: _View) -> tuple[Floats, Floats]:
    """Returns where on the plate (N, 2) [m] and with which heading (N,) [rad]: the middle, or beside a fruit."""
    away = (view.plate - view.other)[:, :2]
    gap = _length(away)
    taken = (gap < BESIDE_M + 0.02) & (view.other[:, 2] < view.plate[:, 2] + 0.06)
    heading = np.where(gap > 0.005, np.arctan2(away[:, 1], away[:, 0]), 0.0)
    shift = np.where(taken, np.clip(BESIDE_M + 0.004 - gap, 0.0, ON_PLATE_M - 0.008), 0.0)
    spot = view.plate[:, :2] + shift[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return spot, np.where(taken, _wrap(heading), 0.0)


def _grasp_yaw(view: _View) -> tuple[Floats, Bools]:
    """Returns the heading (N,) [rad] that keeps the fingers clear of block and other fruit, and where one is near."""
    to_other = (view.other - view.target)[:, :2]
    beside_other = _length(to_other) < NEIGHBOUR_M
    beside_block = view.blocked & (_length((view.block - view.target)[:, :2]) < NEIGHBOUR_M)
    heading = np.where(beside_block, view.block_heading, np.arctan2(to_other[:, 1], to_other[:, 0]))
    crowded = beside_other | beside_block
    return np.where(crowded, _wrap(heading), 0.0), crowded


def _turn_to(yaw: Floats, tcp_quat_xyzw: Floats) -> Floats:
    axis = np.zeros((len(yaw), 3))
    axis[:, 2] = yaw
    down = quat_multiply(quat_from_rotvec(axis), np.broadcast_to([1.0, 0.0, 0.0, 0.0], (len(yaw), 4)))
    return rotvec_from_quat(quat_multiply(down, quat_conjugate(tcp_quat_xyzw)))


def _choose(first: _Plan, second: _Plan, where: Bools) -> _Plan:
    return _Plan(
        pos=np.where(where[:, None], first.pos, second.pos),
        yaw=np.where(where, first.yaw, second.yaw),
        grip=np.where(where, first.grip, second.grip),
    )


def _wrap(angle: Floats) -> Floats:
    """Returns headings on (-pi/2, pi/2]: a hand turned by half a turn is the same hand."""
    return np.asarray(np.pi / 2 - np.mod(np.pi / 2 - angle, np.pi))


def _segment_gap(start: Floats, end: Floats, point: Floats) -> Floats:
    along = end - start
    share = np.clip(((point - start) * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-9), 0.0, 1.0)
    return _length(start + share[:, None] * along - point)


def _length(vector: Floats) -> Floats:
    return np.asarray(np.sqrt((vector**2).sum(axis=-1)))
