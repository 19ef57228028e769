"""A scripted expert for any task of picking blocks and placing each on the flat thing where it belongs.

It looks at the present state only, so it recovers from any of them. What it does is decided anew each step, in this
order of rank: when all is done, leave; finish letting go; carry whatever it holds to where that belongs, also when it
is not its turn; fetch the target. Called for demonstrations, warm starts and the authority test.

On `sort_two` it succeeds in 128 of 128 episodes, after 93 control steps (median; seeds 1000 to 1127); with the noise of
demonstrations it sorts both blocks at the first try in 254 of 256.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.tasks import TaskInfo
from core.worlds import WorldState
from sim.cell import STROKE_M
from sim.tasks.hand import Barrier, Plan, acted, choose, cross, heading, holds, length, wrap, yaw_of

GAIN = 0.33
"""Share of the remaining way taken in one step; with more of it the arm, which lags by a step, overshoots."""
GRASP_M = 0.012
"""The hand closes when it is this near to where it grasps."""
REGRASP_M = 0.024
"""A hand that is closing goes on doing so this far from there."""
ABOVE_M = 0.004
"""So far above a block's centre it is grasped, which keeps the finger tips off what it lies on."""
TIPS_M = 0.015
"""The tool stays this far above whatever is below."""
HOVER_M = 0.06
"""Until hand and heading are ready for a grasp, the tool stays this far above it."""
FREE = 0.14
"""An opening this much wider than a block has let go of it, dimensionless."""
SETTLE_M = 0.009
"""A block is let go of when its underside is this near to what is below."""
ON_SPOT_M = 0.02
"""And its centre this near to where it should be."""
PUT_M = 0.004
"""So far above what is below it is meant to be by then."""
BESIDE_M = 0.055
"""Distance of two blocks' centres side by side."""
RIM_M = 0.032
"""A block's centre stays this far inside the rim of what it is put on."""
FINGER_M = 0.050
"""Distance of an open finger from the hand's centre."""
CLEAR_M = 0.022
"""Room an open finger needs around its centre."""
PALM_M = np.array([0.028, 0.052])
"""Half extents of the palm, which a barrier reaches up to; the fingers are along the second."""
PALM_CLEAR_M = 0.008
"""Room the palm needs around it."""
LEAVE_M = 0.16
"""Height above the table to which the hand goes when all is done."""
_HEADINGS = np.arange(8) * np.pi / 8
"""Turns of the hand that are tried, half a turn being none [rad]."""
_ASKEW = np.array([0.0, 0.6, 10.0, 0.6, 0.0, 0.6, 10.0, 0.6])
"""What it costs to grasp a box that askew; closing fingers straighten it, but not from half a right angle."""
_EDGE = PALM_M * np.array([[1, 1], [1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1], [0, 1]])
"""Points around the palm, in the hand [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """What does not change, of L loose blocks."""

    index: Ints
    """Which objects they are, shape (L,)."""
    home: Ints
    """Which objects they belong on, shape (L,)."""
    round: Bools
    """Whether every heading grasps an upright one alike, shape (L,)."""
    half_m: Floats
    """Half heights, shape (L,) [m]."""
    width_m: Floats
    """Widths between the pads, shape (L,) [m]."""
    girth_m: Floats
    """Distances of their corners from the upright axis, shape (L,) [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The state, arranged for L loose blocks."""

    state: WorldState
    tcp: Floats
    yaw: Floats
    """Heading of the hand, shape (N,) [rad]."""
    pos: Floats
    """Of the blocks, shape (N, L, 3) [m]."""
    settled: Bools
    """Whether they rest where they belong, shape (N, L)."""
    held: Bools
    """Whether the hand is closed on them, shape (N, L)."""
    barrier: Barrier
    barrier_half: Floats
    """Half extents of the barrier along its thin and its wide side, shape (2,) [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rest:
    """Where blocks are put down, in N worlds."""

    spot: Floats
    """Shape (N, 2) [m]."""
    top: Floats
    """Height of the surface there, shape (N,) [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns:
    """Headings that a hand with one block may take, in N worlds."""

    at: Floats
    """Where the block is, or will be, shape (N, 3) [m]."""
    tried: Floats
    """Shape (N, K) [rad]."""
    cost: Floats
    """What each costs, in radians of turning, shape (N, K)."""
    near: Floats
    """What the heading should be near to, shape (N,) [rad]."""


class PickPlaceExpert:
    """Puts every block where it belongs, from any state; implements `core.ports.Expert`.

    Args:
        info: A task whose sub-tasks each place one block, named outright, on something flat; a block that is not its
            turn's is taken where it belongs all the same. The task's obstacle, if it has one, is a box.

    Raises:
        ConfigError: A loose object is no sub-task's target, so that there is nowhere to put it.
    """

    def __init__(self, info: TaskInfo) -> None:
        self._info = info
        self._names = tuple(o.name for o in info.objects)
        self._blocks = _blocks(info)
        self._obstacle = self._names.index(info.obstacle)

    def act(self, state: WorldState) -> Floats:
        """Returns actions (N, A), in `EE_DELTA` units.

        Args:
            state: Ground truth of worlds of the task.
        """
        view = self._view(state)
        rows = np.arange(len(state.time_s))
        target = np.argmax(self._blocks.index[None] == state.roles[:, :1], axis=1)
        inside = np.asarray(view.held.any(axis=1))
        plan = self._fetch(view, rows, target)
        plan = choose(self._carry(view, rows, np.argmax(view.held, axis=1)), plan, inside)
        finished = state.subtask == len(self._info.subtasks)
        plan = choose(_leave(view), plan, np.asarray(finished & ~inside))
        plan = choose(_open(view), plan, self._letting_go(view))
        return acted(plan, state, gain=GAIN)

    def _view(self, state: WorldState) -> _View:
        blocks, things = self._blocks, self._info.objects
        pos = state.object_pos_in_base[:, blocks.index]
        done = {s.roles.target: s.done for s in self._info.subtasks}
        rests = [done[self._names[k]] for k in blocks.index]
        where = [[w.holds(self._names, state.object_pos_in_base) for w in boxes] for boxes in rests]
        home = blocks.home[0]
        barrier = state.object_pos_in_base[:, self._obstacle]
        return _View(
            state=state,
            tcp=state.tcp_pos_in_base,
            yaw=heading(state),
            pos=pos,
            settled=np.stack([np.logical_or.reduce(boxes) for boxes in where], axis=1),
            held=np.stack([holds(state, pos[:, k], w, REGRASP_M) for k, w in enumerate(blocks.width_m)], axis=1),
            barrier=Barrier(
                pos=barrier,
                heading=yaw_of(state.object_quat_xyzw_in_base[:, self._obstacle]),
                half_height_m=float(things[self._obstacle].size_m[2]),
                table=state.object_pos_in_base[:, home, 2] - things[home].size_m[2],
            ),
            barrier_half=things[self._obstacle].size_m[:2],
        )

    def _fetch(self, view: _View, rows: Ints, block: Ints) -> Plan:
        """Open above the block, down, close."""
        pos = view.pos[rows, block]
        goal = pos + np.array([0.0, 0.0, ABOVE_M])
        goal[:, 2] = np.maximum(goal[:, 2], view.barrier.table + TIPS_M)
        yaw = self._grasp_yaw(view, rows, block)
        close = length(view.tcp - goal) < np.where(view.state.gripper_command < 0.5, REGRASP_M, GRASP_M)
        way = cross(view.tcp, goal, view.barrier, lift=0.08, clear=0.07, over=0.05)
        ready = (view.state.gripper_opening > 0.9) & (np.abs(yaw - view.yaw) < 0.2)
        way[:, 2] = np.where(ready, way[:, 2], np.maximum(way[:, 2], goal[:, 2] + HOVER_M))
        return Plan(pos=np.where(close[:, None], goal, way), yaw=yaw, grip=np.where(close, 0.0, 1.0))

    def _carry(self, view: _View, rows: Ints, block: Ints) -> Plan:
        """Up, to where it belongs, down, open; open at once where it rests there already."""
        pos, half = view.pos[rows, block], self._blocks.half_m[block]
        rest = self._rest(view, rows, block)
        goal = np.concatenate([rest.spot, (rest.top + half + PUT_M)[:, None]], axis=1) + (view.tcp - pos)
        goal[:, 2] = np.maximum(goal[:, 2], rest.top + TIPS_M)
        way = cross(view.tcp, goal, view.barrier, lift=0.09, clear=0.07, over=0.075)
        low = (pos[:, 2] - half - rest.top < SETTLE_M) | (view.tcp[:, 2] - rest.top < TIPS_M + 0.002)
        down = (low & (length(pos[:, :2] - rest.spot) < ON_SPOT_M)) | view.settled[rows, block]
        tried = np.tile(_HEADINGS, (len(rows), 1))
        at = np.append(rest.spot, pos[:, 2:], axis=1)
        turns = _Turns(at=at, tried=tried, cost=np.zeros(tried.shape), near=np.zeros(len(rows)))
        yaw = self._free_yaw(view, block, turns)
        return Plan(pos=np.where(down[:, None], _level(view), way), yaw=yaw, grip=np.where(down, 1.0, 0.0))

    def _rest(self, view: _View, rows: Ints, block: Ints) -> _Rest:
        """Returns where a block goes: the middle of where it belongs, or beside another block that lies there."""
        home = self._blocks.home[block]
        centre, size = view.state.object_pos_in_base[rows, home], np.array([o.size_m for o in self._info.objects])[home]
        gaps = length(view.pos[:, :, :2] - centre[:, None, :2])
        high = view.pos[:, :, 2] - centre[:, None, 2] > 0.06
        gaps[high | (np.arange(gaps.shape[1]) == block[:, None])] = np.inf
        near = np.argmin(gaps, axis=1)
        gap = gaps[rows, near]
        away = (centre - view.pos[rows, near])[:, :2] / np.maximum(gap, 1e-3)[:, None]
        shift = np.clip(BESIDE_M - gap, 0.0, size[:, 0] - RIM_M)
        away[gap < 1e-3] = [1.0, 0.0]
        return _Rest(spot=centre[:, :2] + shift[:, None] * away, top=centre[:, 2] + size[:, 2])

    def _grasp_yaw(self, view: _View, rows: Ints, block: Ints) -> Floats:
        """Returns the heading (N,) [rad] that grasps a block flat, with room for the open fingers."""
        quat = view.state.object_quat_xyzw_in_base[rows, self._blocks.index[block]]
        axes = _axes(quat)
        lies = np.abs(axes[:, 2, 2]) < 0.7
        level = np.where(lies[:, None], axes[:, :, 2], axes[:, :, 0])
        flat = np.arctan2(level[:, 1], level[:, 0])
        any_way = (self._blocks.round[block] & ~lies)[:, None]
        tried = np.where(any_way, 0.0, flat[:, None]) + _HEADINGS
        cost = np.where(any_way, 0.0, _ASKEW)
        return self._free_yaw(view, block, _Turns(at=view.pos[rows, block], tried=tried, cost=cost, near=view.yaw))

    def _free_yaw(self, view: _View, block: Ints, hand: _Turns) -> Floats:
        """Returns the heading (N,) [rad] that leaves room for both open fingers beside a block, and costs least."""
        turns = wrap(hand.tried)
        reach = FINGER_M * np.stack([-np.sin(turns), np.cos(turns)], axis=-1)
        room = np.full(turns.shape, np.inf)
        for finger, other in product(
            (hand.at[:, None, :2] + reach, hand.at[:, None, :2] - reach), range(view.pos.shape[1])
        ):
            gap = length(finger - view.pos[:, None, other, :2]) - self._blocks.girth_m[other]
            away = (block == other) | (view.pos[:, other, 2] > hand.at[:, 2] + 0.05)
            room = np.minimum(room, np.where(away[:, None], np.inf, gap))
        if view.barrier.stands.any():
            room = np.minimum(room, _barrier_room(view, hand.at, turns))
        cost = hand.cost + np.abs(turns - hand.near[:, None]) + 200.0 * np.maximum(0.0, CLEAR_M - room)
        return np.asarray(turns[np.arange(len(turns)), np.argmin(cost, axis=1)])

    def _letting_go(self, view: _View) -> Bools:
        """The hand is opening, and not yet wide enough to leave the block between its fingers."""
        offset = view.pos - view.tcp[:, None]
        around = (length(offset[:, :, :2]) < 0.03) & (np.abs(offset[:, :, 2]) < 0.04)
        tight = view.state.gripper_opening[:, None] < self._blocks.width_m / STROKE_M + FREE
        return np.asarray((view.state.gripper_command > 0.5) & (around & tight).any(axis=1))


def _blocks(info: TaskInfo) -> _Blocks:
    names = [o.name for o in info.objects]
    home = {s.roles.target: names.index(s.roles.goal) for s in info.subtasks}
    loose = [o for o in info.objects if o.graspable]
    for thing in loose:
        if thing.name not in home:
            raise ConfigError(
                f"{thing.name!r} is no sub-task's target in {info.name!r}; an expert that places {sorted(home)} does "
                "not know where to put it"
            )
    size = np.array([o.size_m for o in loose])
    boxes = np.array([o.shape == "box" for o in loose])
    return _Blocks(
        index=np.array([names.index(o.name) for o in loose], dtype=np.int64),
        home=np.array([home[o.name] for o in loose], dtype=np.int64),
        round=~boxes,
        half_m=size[:, 2],
        width_m=2.0 * size[:, 1],
        girth_m=np.where(boxes, np.hypot(size[:, 0], size[:, 1]), size[:, 0]),
    )


def _open(view: _View) -> Plan:
    """Stay, and open."""
    return Plan(pos=_level(view), yaw=view.yaw, grip=np.ones(len(view.tcp)))


def _level(view: _View) -> Floats:
    """Returns where the tool is, (N, 3) [m], or a little higher where finger tips may be stuck on what is below."""
    near = np.argmin(length(view.pos - view.tcp[:, None]), axis=1)
    pos = view.tcp.copy()
    pos[:, 2] = np.maximum(pos[:, 2], view.pos[np.arange(len(near)), near, 2] + ABOVE_M)
    return pos


def _leave(view: _View) -> Plan:
    """Open, then straight up."""
    pos = view.tcp.copy()
    pos[:, 2] = np.maximum(pos[:, 2], view.barrier.table + LEAVE_M)
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.ones(len(pos)))


def _barrier_room(view: _View, at: Floats, turns: Floats) -> Floats:
    """Returns the room around a finger that the barrier leaves, or what is left of it by the palm, (N, K) [m]."""
    ahead, aside = np.stack([np.cos(turns), np.sin(turns)], axis=-1), np.stack([-np.sin(turns), np.cos(turns)], axis=-1)
    room = np.full(turns.shape, np.inf)
    for along, across in _EDGE:
        gap = _barrier_gap(view, at[:, None, :2] + along * ahead + across * aside)
        room = np.minimum(room, gap + CLEAR_M - PALM_CLEAR_M)
    for finger in (FINGER_M, -FINGER_M):
        room = np.minimum(room, _barrier_gap(view, at[:, None, :2] + finger * aside))
    return room


def _barrier_gap(view: _View, point: Floats) -> Floats:
    """Returns how far points (N, K, 2) are from the barrier's sides, shape (N, K) [m]; infinity where there is none."""
    turn = np.stack([np.cos(view.barrier.heading), np.sin(view.barrier.heading)], axis=1)[:, None]
    offset = point - view.barrier.pos[:, None, :2]
    along = np.abs((offset * turn).sum(axis=2)) - view.barrier_half[0]
    across = np.abs(offset[:, :, 0] * turn[:, :, 1] - offset[:, :, 1] * turn[:, :, 0]) - view.barrier_half[1]
    gap = np.hypot(np.maximum(along, 0.0), np.maximum(across, 0.0)) + np.minimum(np.maximum(along, across), 0.0)
    return np.asarray(np.where(view.barrier.stands[:, None], gap, np.inf))


def _axes(quat_xyzw: Floats) -> Floats:
    """Returns the axes of things as columns, shape (N, 3, 3)."""
    x, y, z, w = np.moveaxis(quat_xyzw, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
