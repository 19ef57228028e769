"""The scripted demonstrator of `tidy_drawer`: looks at the present state only, so it recovers from any of them.

Called for demonstrations, warm starts and the authority test. What it does is decided anew each step, in this order of
rank: slide the drawer whose handle it holds; carry the thing it holds, or put it down when the drawer is shut; get rid
of the other thing; shut the drawer when the named thing alone is in it; open it; take the other thing out; fetch.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.worlds import WorldState
from sim.cell import STROKE_M
from sim.tasks.drawer_parts import (
    CABINET,
    HANDLE,
    HANDLE_IN_CABINET_M,
    INSIDE_HIGH_M,
    INSIDE_LOW_M,
    WALL_TOP_M,
    inside,
    open_m,
)
from sim.tasks.hand import HOLD_M, Plan, acted, choose, heading, holds, length, travel, wrap
from sim.tasks.tidy_drawer import BALL, OPEN_M, named_thing

GAIN = 0.34
"""Share of the remaining way taken in one step; with more of it the arm, which lags by a step, overshoots."""
GRASP_M, GRIP_M = 0.011, 0.016
"""The hand closes when its centre is this near to where it grasps a thing, or the handle."""
PULLED_M, PUSHED_M = 0.116, 0.006
"""A handle in the hand is let go of when the drawer is this far out, or in."""
HELD_LOW_M, DEEP_LOW_M = 0.004, 0.006
"""So far below the tool's centre is a thing grasped, on the table and in the drawer: the finger tips touch neither."""
TIPS_M = 0.016
"""Height of the tool above the table at which its finger tips are still off it, where friction would hold them."""
UNSTICK_M = 0.02
"""So far up is a tool told to go that is lower."""
CRUISE_M, SAFE_M = 0.15, 0.115
"""Height above the table at which to cross, and from which crossing is safe."""
DROP_M = 0.020
"""Height above the drawer's rim at which the tool lets go of a thing."""
TOUCH_M = HANDLE.size_m[0] + 0.012
"""Distance, along x, of tool and handle when the closed fingers touch it."""
AHEAD_M = 0.045
"""So far in front of the handle the closed hand comes down to push."""
NARROW = 0.68
"""Opening that fits into the drawer with a thing between the fingers."""
MIDDLE_M = 0.012
"""A thing in the drawer is waited for until it has rolled so near to the middle, where the fingers have room."""
PERCH_M = 0.045
"""A thing on the drawer's rim that is nearer to the handle than this is in the way."""
FINGER_M = 0.046
"""Distance of an open finger's middle from the tool's."""
ROOM_M = 0.018
"""Room an open finger needs about its middle."""
_RADIUS = float(BALL.size_m[2])
_SPOTS = np.stack(np.meshgrid(np.linspace(0.32, 0.54, 6), np.linspace(-0.28, 0.0, 8)), axis=-1).reshape(-1, 2)
"""Places on the table for a thing that is in the hand at the wrong time [m]."""
_YAWS = np.array([0.0, np.pi / 2, np.pi / 4, -np.pi / 4])
_CABINET, _DRAWER, _HANDLE, _CATCH = range(2, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The state, by what things are to the task."""

    state: WorldState
    thing: Floats
    """What the instruction names."""
    other: Floats
    cabinet: Floats
    drawer: Floats
    handle: Floats
    out: Floats
    """How far the drawer is open, shape (N,) [m]."""
    caught: Bools
    """Where the catch is down and must be lifted, shape (N,)."""
    table: Floats
    """Height of the table top, shape (N,) [m]."""
    yaw: Floats

    @property
    def tcp(self) -> Floats:
        """Tool centre point, shape (N, 3) [m]."""
        return self.state.tcp_pos_in_base

    def has(self, pos: Floats) -> Bools:
        """Returns whether the hand is closed on a thing at `pos` (N, 3), shape (N,)."""
        return holds(self.state, pos, 2 * _RADIUS)

    def closing(self, goal: Floats, half_width_m: float, near_m: float) -> Bools:
        """Returns whether the hand is to close, or to go on closing, on what is at `goal` (N, 3), shape (N,)."""
        between = self.state.gripper_opening > 2 * half_width_m / STROKE_M - 0.12
        going_on = (self.state.gripper_command < 0.5) & between
        return np.asarray(length(self.tcp - goal) < np.where(going_on, HOLD_M, near_m))

    def in_drawer(self, pos: Floats) -> Bools:
        """Returns whether a thing lies in the drawer, or falls into it from the open hand, shape (N,)."""
        offset = pos - self.drawer
        over = ((offset[:, :2] > INSIDE_LOW_M[:2]) & (offset[:, :2] < INSIDE_HIGH_M[:2])).all(axis=1)
        let_go = (self.state.gripper_command > 0.5) & (length(self.tcp - pos) < 0.06)
        falling = over & let_go & (offset[:, 2] > 0.0) & (offset[:, 2] < WALL_TOP_M + DROP_M) & (self.out > OPEN_M)
        return np.asarray((inside(pos, self.drawer) | falling) & ~self.has(pos))

    def perched(self, thing: Floats) -> Bools:
        """Returns whether a thing lies on the drawer's rim at the handle, where fingers have to go, shape (N,)."""
        high = (thing[:, 2] > self.drawer[:, 2] + WALL_TOP_M) & (thing[:, 2] < self.handle[:, 2] + 0.05)
        return np.asarray(high & (length((thing - self.handle)[:, :2]) < PERCH_M) & ~self.in_drawer(thing))

    def letting_go(self, pos: Floats) -> Bools:
        """Returns whether the hand is opening round a thing that lies on the table, shape (N,)."""
        opening = (self.state.gripper_command > 0.5) & (self.state.gripper_opening < 0.75)
        low = pos[:, 2] < self.table + _RADIUS + 0.01
        return np.asarray((length(self.tcp - pos) < HOLD_M) & opening & low)

    def go(self, goal: Floats) -> Floats:
        """Returns the next way point to `goal` (N, 3) [m]."""
        return travel(self.tcp, goal, cruise=self.table + CRUISE_M, safe=self.table + SAFE_M)


class DrawerExpert:
    """Tidies the named thing away from any state; implements `core.ports.Expert`."""

    def act(self, state: WorldState) -> Floats:
        """Returns actions (N, A), in `EE_DELTA` units.

        Args:
            state: Ground truth of `tidy_drawer` worlds.
        """
        view = _view(state)
        stowed, mixed = view.in_drawer(view.thing), view.in_drawer(view.other)
        full = stowed & ~mixed
        plan = _fetch(view, view.thing, view.other)
        plan = choose(_fetch(view, view.other, view.thing), plan, mixed)
        plan = choose(_reach(view), plan, view.out < OPEN_M + 0.002)
        plan = choose(choose(_leave(view), _shut(view), view.out < PUSHED_M + 0.004), plan, full)
        for thing, other in ((view.other, view.thing), (view.thing, view.other)):
            plan = choose(_fetch(view, thing, other), plan, view.perched(thing))
        for thing, other in ((view.other, view.thing), (view.thing, view.other)):
            plan = choose(_put_down(view, thing, other), plan, view.has(thing) | view.letting_go(thing))
        plan = choose(_carry(view), plan, view.has(view.thing) & (view.out > OPEN_M))
        plan = choose(_slide(view, full | view.caught), plan, holds(state, view.handle, 2 * HANDLE.size_m[1]))
        return acted(plan, state, gain=GAIN)


def _view(state: WorldState) -> _View:
    pos, rows = state.object_pos_in_base, np.arange(len(state.roles))
    named = named_thing(state.roles)
    return _View(
        state=state,
        thing=pos[rows, named],
        other=pos[rows, 1 - named],
        cabinet=pos[:, _CABINET],
        drawer=pos[:, _DRAWER],
        handle=pos[:, _HANDLE],
        out=open_m(pos[:, _HANDLE], pos[:, _CABINET]),
        caught=pos[:, _CATCH, 2] > 0.0,
        table=pos[:, _CABINET, 2] - CABINET.size_m[2],
        yaw=heading(state),
    )


def _reach(view: _View) -> Plan:
    """Open above the handle, down, close."""
    close = view.closing(view.handle, HANDLE.size_m[1], GRIP_M)
    pos = view.go(view.handle)
    ready = view.state.gripper_opening > 0.8
    pos[:, 2] = np.where(ready | close, pos[:, 2], np.maximum(pos[:, 2], view.handle[:, 2] + 0.06))
    pos = np.where(close[:, None], view.handle, pos)
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(close, 0.0, 1.0))


def _slide(view: _View, home: Bools) -> Plan:
    """Drawer out, or all the way in where that is wanted (N,); then let go."""
    way = np.where(home, -view.out, PULLED_M + 0.008 - view.out)
    pos = view.handle.copy()
    pos[:, 0] = view.tcp[:, 0] - way
    there = np.where(home, view.out < PUSHED_M, view.out > PULLED_M)
    pos[:, 0] = np.where(there, view.tcp[:, 0], pos[:, 0])
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(there, 1.0, 0.0))


def _fetch(view: _View, thing: Floats, other: Floats) -> Plan:
    """Open above the thing, down, close; on the table, on the roof or in the drawer."""
    deep = inside(thing, view.drawer)
    turn = np.where(deep, 0.0, _grasp_yaw(view, thing, other))
    wide = np.where(deep, NARROW, 1.0)
    goal = thing + np.where(deep, DEEP_LOW_M, HELD_LOW_M)[:, None] * [0.0, 0.0, 1.0]
    close = view.closing(goal, _RADIUS, GRASP_M)
    pos = view.go(goal)
    right = np.abs(wrap(turn - view.yaw)) < 0.15
    ready = (np.abs(view.state.gripper_opening - wide) < 0.1) & right
    ready &= ~deep | (np.abs(thing[:, 1] - view.drawer[:, 1]) < MIDDLE_M)
    pos[:, 2] = np.where(ready | close, pos[:, 2], np.maximum(pos[:, 2], goal[:, 2] + np.where(deep, 0.09, 0.06)))
    pos = np.where(close[:, None], goal, pos)
    return Plan(pos=pos, yaw=turn, grip=np.where(close, 0.0, wide))


def _carry(view: _View) -> Plan:
    """Up, over the drawer, a little down, open."""
    goal = view.drawer + (view.tcp - view.thing)
    goal[:, 2] = view.drawer[:, 2] + WALL_TOP_M + DROP_M
    aside = length((view.thing - view.drawer)[:, :2])
    down = (aside < 0.02) & (view.tcp[:, 2] < goal[:, 2] + 0.008)
    pos = view.go(goal)
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(down, 1.0, 0.0))


def _put_down(view: _View, thing: Floats, other: Floats) -> Plan:
    """Down on a free spot of the table, open."""
    spots = np.broadcast_to(_SPOTS, (len(thing), *_SPOTS.shape))
    cost = length(spots - thing[:, None, :2]) + 10.0 * (length(spots - other[:, None, :2]) < 0.12)
    cost = cost + 10.0 * (view.cabinet[:, None, 1] - spots[:, :, 1] < 0.14)
    spot = spots[np.arange(len(spots)), np.argmin(cost, axis=1)]
    low = view.table + _RADIUS
    goal = np.column_stack([spot, low + 0.003]) + (view.tcp - thing)
    goal[:, 2] = np.maximum(goal[:, 2], view.table + TIPS_M)
    landed = (thing[:, 2] < low + 0.008) | (view.tcp[:, 2] < view.table + TIPS_M + 0.003)
    down = landed & (length(thing[:, :2] - spot) < 0.02)
    free = view.tcp + np.where(view.tcp[:, 2] < view.table + TIPS_M, UNSTICK_M, 0.0)[:, None] * [0.0, 0.0, 1.0]
    pos = np.where((view.letting_go(thing) | down)[:, None], free, view.go(goal))
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(view.letting_go(thing) | down, 1.0, 0.0))


def _shut(view: _View) -> Plan:
    """Closed hand down in front of the handle, then push."""
    offset = view.handle - view.tcp
    low = view.drawer[:, 2] + WALL_TOP_M + 0.008
    front = (offset[:, 0] > TOUCH_M - 0.008) & (np.abs(offset[:, 1]) < 0.02) & (view.tcp[:, 2] < low + 0.02)
    start = view.handle - np.array([AHEAD_M, 0.0, 0.0])
    start[:, 2] = low
    ahead = offset[:, 0] - TOUCH_M
    shut = view.cabinet[:, 0] + HANDLE_IN_CABINET_M[0] - TOUCH_M + 0.004
    push = start.copy()
    push[:, 0] = np.where(ahead > 0.004, view.tcp[:, 0] + np.minimum(ahead + 0.006, 0.022), shut)
    pos = np.where(front[:, None], push, view.go(start))
    closed = (view.state.gripper_command < 0.5) | (view.tcp[:, 2] > view.table + 0.10) | front
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(closed, 0.0, 1.0))


def _leave(view: _View) -> Plan:
    """Back from the handle and up; the hand as it is."""
    pos = view.tcp.copy()
    pos[:, 2] = np.maximum(pos[:, 2], view.table + 0.17)
    pos[:, 0] -= np.where(view.tcp[:, 2] < view.handle[:, 2] + 0.03, 0.01, 0.0)
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(view.state.gripper_command > 0.5, 1.0, 0.0))


def _grasp_yaw(view: _View, thing: Floats, other: Floats) -> Floats:
    """Returns the heading with most room for both fingers, beside furniture and the other thing, shape (N,) [rad]."""
    way = FINGER_M * np.stack([-np.sin(_YAWS), np.cos(_YAWS)], axis=1)
    fingers = thing[:, None, None, :2] + np.stack([way, -way], axis=1)
    front = view.handle[:, 0] - HANDLE.size_m[0]
    low = np.stack([front, view.cabinet[:, 1] - CABINET.size_m[1]], axis=1)
    high = view.cabinet[:, :2] + CABINET.size_m[:2]
    beyond = np.maximum(low[:, None, None] - fingers, fingers - high[:, None, None])
    low_down = (thing[:, 2] < view.table + 0.04)[:, None, None]
    room = np.minimum(
        np.where(low_down, length(np.maximum(beyond, 0.0)), length(fingers - view.handle[:, None, None, :2]) - 0.012),
        length(fingers - other[:, None, None, :2]) - _RADIUS,
    )
    enough = np.minimum(room.min(axis=2), ROOM_M) - 0.001 * np.arange(len(_YAWS))
    return np.asarray(wrap(_YAWS[np.argmax(enough, axis=1)]))
