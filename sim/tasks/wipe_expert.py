"""The scripted demonstrator of `wipe_board`: looks at the present state only, so it recovers from any of them.

Called for demonstrations, warm starts and the authority test. What it does is decided anew each step: without the
eraser it fetches it; an eraser that sits too high in the hand is put down; else it is pressed on the next stain,
sliding there when it is on the board already; once no stain is left the hand goes up.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.worlds import WorldState
from sim.tasks.hand import HOLD_M, Barrier, Plan, acted, choose, cross, heading, holds, length, long_side, wrap
from sim.tasks.wipe_board import BLOCK, BOARD, CLEAR_M, ERASER, STAINS

GRIP_ABOVE_M = 0.015
"""Height of the tool above the eraser's centre that the hand is led to; it ends up some 5 mm lower [m]."""
GRASP_M = 0.012
"""The hand closes when it is this near to where it should grasp [m]."""
REACH_M = 0.032
"""An eraser whose centre is nearer to a closed hand than this is held [m]."""
EMPTY = 0.36
"""A hand closed further than this holds nothing."""
DEEP_M = -0.004
"""A tool lower than this above the eraser's centre holds it too low: its fingers would be on the board [m]."""
RESTS_M = 0.002
"""An eraser lower than this above what is under it rests there [m]."""
PRESS_N = 9.0
"""Wanted pressing force [N]."""
STIFFNESS_N_M = 2200.0
"""Of the eraser's soft side, roughly [N/m]."""
SLIDE_M = 0.012
"""An eraser lower than this above the board slides to the next stain [m]."""
FINGERS_M = 0.015
"""The tool stays this high above the board: its fingers end 12 mm below it [m]."""
EASE_M, EASE = 0.05, 0.55
"""Nearer than this in height, the hand goes only this share as fast, so that it does not overshoot [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The state, by role."""

    tcp: Floats
    eraser: Floats
    eraser_yaw: Floats
    stain: Floats
    """The next stain, shape (N, 3) [m]."""
    clean: Bools
    top: Floats
    """Height of the board's upper side, shape (N,) [m]."""
    board: Floats
    barrier: Barrier
    yaw: Floats
    """Heading of the tool, shape (N,) [rad]."""
    opening: Floats
    command: Floats
    pressed_n: Floats
    held: Bools


class WipeExpert:
    """Wipes the board from any state; implements `core.ports.Expert`.

    Args:
        turns: Whether the hand turns with the eraser before it grasps it. One that does not lets the closing fingers
            square it, which is how it is demonstrated: a small policy does not see the eraser's heading well.
    """

    def __init__(self, *, turns: bool = True) -> None:
        self._turns = turns

    def act(self, state: WorldState) -> Floats:
        """Returns actions (N, A), in `EE_DELTA` units.

        Args:
            state: Ground truth of `wipe_board` worlds.
        """
        view = _view(state)
        deep = view.tcp[:, 2] - view.eraser[:, 2] < DEEP_M
        plan = choose(_put_down(view), _wipe(view), deep)
        plan = choose(plan, _fetch(view, self._turns), view.held)
        return acted(choose(_withdraw(view), plan, view.clean), state)


def _view(state: WorldState) -> _View:
    at = state.object_names.index
    pos, quat = state.object_pos_in_base, state.object_quat_xyzw_in_base
    eraser, board, block = (pos[:, at(thing.name)] for thing in (ERASER, BOARD, BLOCK))
    return _View(
        tcp=state.tcp_pos_in_base,
        eraser=eraser,
        eraser_yaw=long_side(quat[:, at(ERASER.name)]),
        stain=state.of("goal"),
        clean=state.subtask == len(STAINS),
        top=board[:, 2] + BOARD.size_m[2],
        board=board,
        barrier=Barrier(
            pos=block,
            heading=long_side(quat[:, at(BLOCK.name)]),
            half_height_m=BLOCK.size_m[2],
            table=board[:, 2] - BOARD.size_m[2],
        ),
        yaw=heading(state),
        opening=state.gripper_opening,
        command=state.gripper_command,
        pressed_n=state.pressed_n,
        held=holds(state, eraser, 2 * ERASER.size_m[1], near_m=REACH_M) & (state.gripper_command < 0.5),
    )


def _fetch(view: _View, turns: bool) -> Plan:
    """Open above the eraser, down, close."""
    yaw = wrap(view.eraser_yaw) if turns else np.zeros(len(view.tcp))
    goal = view.eraser + np.array([0.0, 0.0, GRIP_ABOVE_M])
    near = length(view.tcp - goal)
    turned = np.abs(wrap(yaw - view.yaw)) < 0.15
    closing = (view.command < 0.5) & (view.opening > EMPTY)
    close = np.where(closing, near < HOLD_M, (near < GRASP_M) & (view.opening > 0.85)) & turned
    pos = cross(view.tcp, goal, view.barrier, lift=0.10, clear=0.07, over=0.05)
    ready = (view.opening > 0.9) & turned
    pos[:, 2] = np.where(ready | close, pos[:, 2], np.maximum(pos[:, 2], goal[:, 2] + 0.06))
    pos = np.where(close[:, None], goal, pos)
    return Plan(pos=_eased(view, pos, goal), yaw=yaw, grip=np.where(close, 0.0, 1.0))


def _wipe(view: _View) -> Plan:
    """Over the next stain, down on the board, on along the stains."""
    offset = view.tcp - view.eraser
    bottom = view.eraser[:, 2] - ERASER.size_m[2] - view.top
    lower = np.where(view.pressed_n > 0.5, (PRESS_N - view.pressed_n) / STIFFNESS_N_M, bottom + PRESS_N / STIFFNESS_N_M)
    goal = np.concatenate([view.stain[:, :2] + offset[:, :2], (view.tcp[:, 2] - lower)[:, None]], axis=1)
    slides = _over_board(view) & (bottom < SLIDE_M)
    way = cross(view.tcp, goal, view.barrier, lift=0.045, clear=0.04, over=0.075)
    pos = np.where(slides[:, None], goal, way)
    pos = _eased(view, pos, goal)
    pos[:, 2] = np.maximum(pos[:, 2], view.top + FINGERS_M)
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.zeros(len(pos)))


def _put_down(view: _View) -> Plan:
    """Straight down until the eraser rests, then open: it is grasped anew."""
    under = np.where(_over_board(view), view.top, view.barrier.table)
    bottom = view.eraser[:, 2] - ERASER.size_m[2] - under
    goal = view.tcp - np.array([0.0, 0.0, 1.0]) * bottom[:, None]
    pos = _eased(view, goal, goal)
    return Plan(pos=pos, yaw=view.yaw, grip=np.where(bottom < RESTS_M, 1.0, 0.0))


def _over_board(view: _View) -> Bools:
    return np.asarray((np.abs(view.eraser - view.board)[:, :2] < BOARD.size_m[:2] + 0.01).all(axis=1))


def _eased(view: _View, pos: Floats, goal: Floats) -> Floats:
    """Returns `pos` (N, 3) with a gentler way down or up where the tool is close to the height of `goal` (N, 3) [m]."""
    rise = pos[:, 2] - view.tcp[:, 2]
    close = np.abs(goal[:, 2] - view.tcp[:, 2]) < EASE_M
    return np.concatenate([pos[:, :2], (view.tcp[:, 2] + np.where(close, EASE, 1.0) * rise)[:, None]], axis=1)


def _withdraw(view: _View) -> Plan:
    """Straight up, with whatever is in the hand."""
    pos = view.tcp.copy()
    pos[:, 2] = view.top + 1.8 * CLEAR_M
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.where(view.command < 0.5, 0.0, 1.0))
