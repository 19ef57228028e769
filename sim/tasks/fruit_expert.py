"""The scripted demonstrator of `fruit_on_plate`: looks at the present state only, so it recovers from any of them.

Called for demonstrations, warm starts and the authority test. What it does is decided anew each step, in this order of
rank: leave the fruit that lies on the plate; carry the fruit it holds; get rid of a wrong fruit; fetch the right one.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.worlds import WorldState
from sim.cell import STROKE_M
from sim.tasks.fruit_on_plate import BLOCK, INFO, ON_PLATE_M, PLATE
from sim.tasks.hand import HOLD_M, Barrier, Plan, acted, choose, cross, heading, length, wrap, yaw_of

GRASP_M = 0.013
"""The hand closes when its centre is this near to the fruit's."""
BESIDE_M = 0.068
"""Distance of two fruits' centres that lie side by side on the plate."""
NEIGHBOUR_M = 0.11
"""Something nearer to the fruit than this is in the way of an open finger."""
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
    barrier: Barrier
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
        return np.asarray((length(self.tcp - pos) < HOLD_M) & (excess < 0.05) & (excess > -0.12))


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
        plan = choose(_rid(view), plan, view.holds(view.other, view.other_radius) | _letting_go(view))
        plan = choose(_carry(view), plan, view.holds(view.target, view.radius))
        plan = choose(_leave(view), plan, _on_plate(view))
        return acted(plan, state)


def _view(state: WorldState, rise: float) -> _View:
    radii = np.array([o.size_m[2] for o in INFO.objects])
    quat = state.object_quat_xyzw_in_base[np.arange(len(state.roles)), state.roles[:, 3]]
    plate, block = state.of("goal"), state.of("obstacle")
    table = plate[:, 2] - PLATE.size_m[2]
    return _View(
        tcp=state.tcp_pos_in_base,
        target=state.of("target"),
        other=state.of("distractor"),
        plate=plate,
        barrier=Barrier(pos=block, heading=yaw_of(quat), half_height_m=BLOCK.size_m[2], table=table),
        radius=radii[state.roles[:, 0]],
        other_radius=radii[state.roles[:, 1]],
        table=table,
        yaw=heading(state),
        opening=state.gripper_opening,
        command=state.gripper_command,
        rise=rise,
    )


def _fetch(view: _View) -> Plan:
    """Open above the fruit, down, close."""
    yaw, crowded = _grasp_yaw(view)
    gap = length(view.tcp - view.target)
    close = gap < np.where(view.command < 0.5, HOLD_M, GRASP_M)
    pos = cross(view.tcp, view.target, view.barrier, lift=0.10, clear=0.07, over=0.05)
    ready = (view.opening > 0.9) & (~crowded | (np.abs(wrap(yaw - view.yaw)) < 0.2))
    pos[:, 2] = np.where(ready | close, pos[:, 2], np.maximum(pos[:, 2], view.target[:, 2] + 0.07))
    pos = np.where(close[:, None], view.target, pos)
    return Plan(pos=pos, yaw=yaw, grip=np.where(close, 0.0, 1.0))


def _carry(view: _View) -> Plan:
    """Up, over the plate, down, open."""
    spot, yaw = _place(view)
    offset = view.tcp - view.target
    top = view.plate[:, 2] + PLATE.size_m[2] + view.radius
    goal = np.concatenate([spot, top[:, None] + 0.003], axis=1) + offset
    pos = cross(view.tcp, goal, view.barrier, lift=0.12, clear=0.07, over=0.075)
    down = (length(view.target[:, :2] - spot) < 0.02) & (view.target[:, 2] < top + 0.008)
    return Plan(pos=pos, yaw=yaw, grip=np.where(down, 1.0, 0.0))


def _rid(view: _View) -> Plan:
    """The wrong fruit down on a free spot of the table."""
    spots = np.concatenate([np.broadcast_to(_SPOTS, (len(view.tcp), *_SPOTS.shape)), view.other[:, None, :2]], axis=1)
    cost = length(spots - view.other[:, None, :2])
    for thing, keep in ((view.target, 0.14), (view.plate, 0.17), (view.barrier.pos, 0.16)):
        cost = cost + 10.0 * (length(spots - thing[:, None, :2]) < keep)
    spot = spots[np.arange(len(spots)), np.argmin(cost, axis=1)]
    low = view.table + view.other_radius
    goal = np.concatenate([spot, low[:, None] + 0.003], axis=1) + (view.tcp - view.other)
    pos = cross(view.tcp, goal, view.barrier, lift=0.10, clear=0.07, over=0.075)
    down = (view.other[:, 2] < low + 0.008) & (length(view.other[:, :2] - spot) < 0.02)
    letting_go = _letting_go(view)
    pos = np.where((letting_go | down)[:, None], _unstuck(view, view.table), pos)
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(letting_go | down, 1.0, 0.0))


def _letting_go(view: _View) -> Bools:
    """The hand is opening round the wrong fruit."""
    return np.asarray((length(view.tcp - view.other) < HOLD_M) & (view.command > 0.5) & (view.opening < 0.9))


def _unstuck(view: _View, surface: Floats) -> Floats:
    """Returns where the tool is (N, 3) [m], or a little higher where its fingers may be stuck on `surface` (N,) [m]."""
    pos = view.tcp.copy()
    pos[:, 2] += np.where(view.tcp[:, 2] - surface < FINGERS_M, view.rise, 0.0)
    return pos


def _leave(view: _View) -> Plan:
    """Open, then straight up."""
    pos = _unstuck(view, view.plate[:, 2] + PLATE.size_m[2])
    high = view.plate[:, 2] + 0.18
    near = length((view.tcp - view.target)[:, :2]) < 0.12
    free = (view.opening > 0.93) & near
    pos[:, 2] = np.where(free, np.maximum(pos[:, 2], high), pos[:, 2])
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.ones(len(pos)))


def _on_plate(view: _View) -> Bools:
    height = view.target[:, 2] - view.plate[:, 2] - PLATE.size_m[2] - view.radius
    inside = length((view.target - view.plate)[:, :2]) < ON_PLATE_M - 0.003
    spot, _ = _place(view)
    held_elsewhere = view.holds(view.target, view.radius) & (length(view.target[:, :2] - spot) > 0.03)
    return np.asarray(inside & (np.abs(height) < 0.008) & ~held_elsewhere)


def _place(view: _View) -> tuple[Floats, Floats]:
    """Returns where on the plate (N, 2) [m] and with which heading (N,) [rad]: the middle, or beside a fruit."""
    away = (view.plate - view.other)[:, :2]
    gap = length(away)
    taken = (gap < BESIDE_M + 0.02) & (view.other[:, 2] < view.plate[:, 2] + 0.06)
    heading = np.where(gap > 0.005, np.arctan2(away[:, 1], away[:, 0]), 0.0)
    shift = np.where(taken, np.clip(BESIDE_M + 0.004 - gap, 0.0, ON_PLATE_M - 0.008), 0.0)
    spot = view.plate[:, :2] + shift[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return spot, np.where(taken, wrap(heading), 0.0)


def _grasp_yaw(view: _View) -> tuple[Floats, Bools]:
    """Returns the heading (N,) [rad] that keeps the fingers clear of block and other fruit, and where one is near."""
    to_other = (view.other - view.target)[:, :2]
    beside_other = length(to_other) < NEIGHBOUR_M
    beside_block = view.barrier.stands & (length((view.barrier.pos - view.target)[:, :2]) < NEIGHBOUR_M)
    heading = np.where(beside_block, view.barrier.heading, np.arctan2(to_other[:, 1], to_other[:, 0]))
    crowded = beside_other | beside_block
    return np.where(crowded, wrap(heading), 0.0), crowded
