"""The scripted demonstrator of `peg_in_hole`: looks at the present state only, so it recovers from any of them.

Called for demonstrations, warm starts and the authority test. What it does is decided anew each step, in this order of
rank: leave the peg that is in the hole; bring in the peg it holds; fetch the peg. It steers the peg, not the tool: a
peg that sits askew in the hand goes where it belongs all the same.

Near the rim it gives way: the commanded pose leads the tool by little, so that the funnel can push the peg into the
middle and nothing is pressed hard. A peg that is pressed and does not sink is led round in small circles.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.robots import EE_DELTA
from core.worlds import WorldState
from sim.cell import STROKE_M
from sim.tasks.hand import Barrier, Plan, acted, choose, cross, heading, length, turn_to, yaw_of
from sim.tasks.peg_in_hole import GRIP_M, INSERTED_M
from sim.tasks.peg_parts import BLOCK, PEG, SOCKET, aside_m, depth_m

GRASP_M = 0.012
"""The hand closes when it is this near to where the peg is best held."""
HELD_M, HELD_LOW_M, HELD_HIGH_M = 0.024, -0.005, 0.048
"""The peg is held when the tool is this near to its axis, and so far above its middle."""
ABOVE_M = 0.006
"""Height of the peg's lower end above the rim at which it is lined up."""
ALIGNED_M = 0.003
"""A peg that is less than this aside is let down."""
ENTERED_M = 0.003
"""A peg whose lower end is this far below the rim is in the funnel, or further."""
INSIDE_M = 0.011
"""A peg that has entered cannot be further aside than this, the tracker's error included."""
FALLING_M, PUSH_M = 0.012, 0.006
"""How far below the tool it is told to go while the peg comes down: freely, or pressed on something."""
SIDEWAYS_M, YIELD_M = 0.006, 0.0015
"""How far aside of the tool it is told to go at most: above the rim, and where the peg is led by the socket."""
PRESSED_N = 2.0
"""The peg is pressed on the socket when the force between them is larger."""
DEEP_M = 0.034
"""The hand lets go when the peg's lower end is this far below the rim."""
SEARCH_M, SEARCH_S = 0.004, 1.2
"""Radius and period of the circles in which a pressed peg is led that does not sink."""
FREE = 0.42
"""An opening from which the fingers are clear of the peg."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The state, by role."""

    tcp: Floats
    peg: Floats
    socket: Floats
    barrier: Barrier
    aside: Floats
    depth: Floats
    turned: Floats
    """Heading of the peg's nearest side, on (-pi/4, pi/4], shape (N,) [rad]."""
    yaw: Floats
    """Heading of the tool, shape (N,) [rad]."""
    opening: Floats
    command: Floats
    pressed: Bools
    time_s: Floats

    def held(self) -> Bools:
        """Returns whether the hand is closed on the peg, shape (N,)."""
        offset, excess = self.tcp - self.peg, self.opening - 2 * PEG.size_m[1] / STROKE_M
        level = (offset[:, 2] > HELD_LOW_M) & (offset[:, 2] < HELD_HIGH_M)
        return np.asarray((length(offset[:, :2]) < HELD_M) & level & (excess < 0.05) & (excess > -0.12))

    def entered(self) -> Bools:
        """Returns whether the peg is led by funnel or hole, shape (N,)."""
        return np.asarray((self.aside < INSIDE_M) & ((self.depth > ENTERED_M) | self.pressed))


class PegExpert:
    """Puts the peg into the hole from any state in which it stands; implements `core.ports.Expert`."""

    def act(self, state: WorldState) -> Floats:
        """Returns actions (N, A), in `EE_DELTA` units.

        Args:
            state: Ground truth of `peg_in_hole` worlds.
        """
        view = _view(state)
        held = view.held()
        done = (view.aside < INSIDE_M) & (view.depth > np.where(held & (view.command < 0.5), DEEP_M, INSERTED_M))
        plan = choose(_bring(view), _fetch(view), held)
        plan = choose(_leave(view), plan, done)
        lined_up = (view.depth > -2.5 * ABOVE_M) & (view.aside < ALIGNED_M)
        gentle = held & ~done & (lined_up | view.entered())
        return np.where(gentle[:, None], _let_down(view, state), acted(plan, state))


def _view(state: WorldState) -> _View:
    rows = np.arange(len(state.roles))
    peg_quat, block_quat = (state.object_quat_xyzw_in_base[rows, state.roles[:, k]] for k in (0, 3))
    peg, socket = state.of("target"), state.of("goal")
    table = socket[:, 2] - SOCKET.size_m[2]
    block = Barrier(
        pos=state.of("obstacle"), heading=yaw_of(block_quat), half_height_m=float(BLOCK.size_m[2]), table=table
    )
    return _View(
        tcp=state.tcp_pos_in_base,
        peg=peg,
        socket=socket,
        barrier=block,
        aside=aside_m(peg, socket),
        depth=depth_m(peg, socket),
        turned=_quarter(yaw_of(peg_quat)),
        yaw=heading(state),
        opening=state.gripper_opening,
        command=state.gripper_command,
        pressed=state.pressed_n > PRESSED_N,
        time_s=state.time_s,
    )


def _fetch(view: _View) -> Plan:
    """Open above the peg, down, close."""
    grip = view.peg + np.array([0.0, 0.0, GRIP_M])
    gap = length(view.tcp - grip)
    close = gap < np.where(view.command < 0.5, HELD_M, GRASP_M)
    pos = cross(view.tcp, grip, view.barrier, lift=0.08, clear=0.10, over=0.05)
    waits = (view.opening < 0.8) & ~close
    pos[:, 2] = np.where(waits, np.maximum(pos[:, 2], grip[:, 2] + 0.06), pos[:, 2])
    pos = np.where(close[:, None], grip, pos)
    return Plan(pos=pos, yaw=view.turned, grip=np.where(close, 0.0, 1.0))


def _bring(view: _View) -> Plan:
    """Up, and over the socket."""
    offset = view.tcp - view.peg
    goal = view.socket + offset
    goal[:, 2] += SOCKET.size_m[2] + PEG.size_m[2] + ABOVE_M
    below = PEG.size_m[2] + GRIP_M
    pos = cross(view.tcp, goal, view.barrier, lift=0.04, clear=below + 0.05, over=below + 0.03)
    return Plan(pos=pos, yaw=_quarter(view.yaw - view.turned), grip=np.zeros(len(pos)))


def _let_down(view: _View, state: WorldState) -> Floats:
    """Returns actions (N, A) that let the peg down, giving way to what it touches."""
    to_axis = (view.socket - view.peg)[:, :2]
    phase = 2 * np.pi * view.time_s / SEARCH_S
    circle = SEARCH_M * np.stack([np.cos(phase), np.sin(phase)], axis=1)
    stuck = view.pressed & (view.depth < 0.5 * INSERTED_M)
    most = np.where(view.entered(), YIELD_M, SIDEWAYS_M)[:, None]
    ahead = np.empty_like(view.tcp)
    ahead[:, :2] = np.clip(to_axis + np.where(stuck[:, None], circle, 0.0), -most, most)
    ahead[:, 2] = -np.where(view.pressed, PUSH_M, FALLING_M)
    actions = np.zeros((len(ahead), EE_DELTA.size))
    actions[:, :3] = view.tcp + ahead - state.tcp_goal_in_base
    actions[:, 3:6] = 0.4 * turn_to(_quarter(view.yaw - view.turned), state.tcp_quat_xyzw_in_base)
    return EE_DELTA.clip(actions)


def _leave(view: _View) -> Plan:
    """Open, then straight up."""
    pos = view.tcp.copy()
    pos[:, 2] += np.where(view.opening > FREE, 0.08, 0.0)
    pos[:, 2] = np.minimum(pos[:, 2], np.maximum(view.tcp[:, 2], view.socket[:, 2] + 0.22))
    return Plan(pos=pos, yaw=view.yaw, grip=np.ones(len(pos)))


def _quarter(angle: Floats) -> Floats:
    """Returns headings on (-pi/4, pi/4]: a square peg turned by a quarter is the same peg."""
    return np.asarray(np.pi / 4 - np.mod(np.pi / 4 - angle, np.pi / 2))
