"""The scripted demonstrator of `peg_in_hole`: looks at the present state only, so it recovers from any of them.

Called for demonstrations, warm starts and the authority test. What it does is decided anew each step, in this order of
rank: leave the peg that is in the hole; bring in the peg it holds; fetch the peg. It steers the peg, not the tool: a
peg that sits askew in the hand goes where it belongs all the same.

Near the rim it gives way: the commanded pose leads the tool by little, so that the funnel can push the peg into the
middle and nothing is pressed hard. A peg that is pressed and does not sink is led round in small circles. So it need
not know exactly where things are. With a constant random error of peg and socket, of the given standard deviation along
every axis, it succeeds in so many of 128 episodes (seeds 30000 to 30127, on which nothing was tuned); nearly all that
fail are off by more than the 8 mm of the funnel:

    error       2 mm    3 mm    4 mm
    success     99 %    93 %    83 %
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.robots import EE_DELTA
from core.worlds import WorldState
from sim.cell import STROKE_M
from sim.tasks.hand import TURN_GAIN, Barrier, Plan, acted, choose, cross, length, yaw_of
from sim.tasks.peg_in_hole import GRIP_M, INSERTED_M
from sim.tasks.peg_parts import BLOCK, PEG, SOCKET, aside_m, depth_m

NEAR_M, GRASP_M = 0.018, 0.010
"""The hand closes when it is so near to where the peg is best held, and it is told to go so near."""
HELD_M, HELD_LOW_M, HELD_HIGH_M = 0.024, -0.015, 0.048
"""The peg is held when the tool is this near to its axis, and so far above its middle."""
ABOVE_M = 0.006
"""Height of the peg's lower end above the rim at which it is lined up."""
ALIGNED_M, ASTRAY_M = 0.004, 0.009
"""A peg that is less than the first aside is let down at full speed, from the second on not at all."""
ENTERED_M = 0.003
"""A peg whose lower end is this far below the rim is in the funnel, or further."""
LED_M = 0.005
"""From this depth on the socket says where the axis is, and the hand stays above the peg's lower end."""
INSIDE_M = 0.011
"""A peg that has entered cannot be further aside than this, the tracker's error included."""
FALLING_M, PUSH_M = 0.012, 0.005
"""How far below the tool it is told to go while the peg comes down: freely, or pressed on something."""
SIDEWAYS_M, YIELD_M = 0.006, 0.001
"""How far aside of the tool it is told to go at most: above the rim, and where the peg is led by the socket."""
PRESSED_N = 2.0
"""The peg is pressed on the socket when the force between them is larger."""
DEEP_M, IN_M = 0.030, 0.010
"""The hand lets go when the peg's lower end is so far below the rim; from the second depth on it falls by itself."""
TIPS_M, CLEAR_M = 0.012, 0.003
"""The finger tips are so far below the tool, and nearer than the second length they do not come to the rim."""
SEARCH_M, SEARCH_S = 0.005, 1.2
"""Radius and period of the circles in which a pressed peg is led that does not sink."""
FREE = 0.42
"""An opening from which the fingers are clear of the peg."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """The state, by role."""

    tcp: Floats
    heads_for: Floats
    """Where the tool is told to go, shape (N, 3) [m]."""
    peg: Floats
    socket: Floats
    barrier: Barrier
    aside: Floats
    depth: Floats
    turned: Floats
    """Heading of the peg's nearest side, on (-pi/4, pi/4], shape (N,) [rad]."""
    axis: Floats
    """Direction of the peg's axis, up, shape (N, 3)."""
    opening: Floats
    command: Floats
    pressed: Bools
    time_s: Floats

    @property
    def tips(self) -> Floats:
        """Height of the finger tips above the rim, shape (N,) [m]."""
        return np.asarray(self.tcp[:, 2] - TIPS_M - self.socket[:, 2] - SOCKET.size_m[2])

    def held(self) -> Bools:
        """Returns whether the hand is closed on the peg, shape (N,)."""
        offset, excess = self.tcp - self.peg, self.opening - 2 * PEG.size_m[1] / STROKE_M
        level = (offset[:, 2] > HELD_LOW_M) & (offset[:, 2] < HELD_HIGH_M)
        return np.asarray((length(offset[:, :2]) < HELD_M) & level & (excess < 0.05) & (excess > -0.12))

    def done(self, holding: Bools) -> Bools:
        """Returns whether nothing is left but to let go and leave, shape (N,); `holding` (N,): not letting go yet."""
        letting_go = (length(self.tcp - self.peg) < HELD_HIGH_M) & (self.command > 0.5) & (self.opening < 0.9)
        enough = np.where(holding & (self.tips > CLEAR_M), DEEP_M, np.where(holding | letting_go, IN_M, INSERTED_M))
        return np.asarray((self.aside < INSIDE_M) & (self.depth > enough))

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
        done = view.done(held & (view.command < 0.5))
        plan = choose(_bring(view), _fetch(view), held)
        plan = choose(_leave(view), plan, done)
        lined_up = (view.depth > -3.0 * ABOVE_M) & (view.aside < ASTRAY_M)
        gentle = held & ~done & (lined_up | view.entered())
        actions = np.where(gentle[:, None], _let_down(view), acted(plan, state))
        actions[:, 3:6] = np.where((held & ~done)[:, None], _upright(view), actions[:, 3:6])
        return EE_DELTA.clip(actions)


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
        heads_for=state.tcp_goal_in_base,
        peg=peg,
        socket=socket,
        barrier=block,
        aside=aside_m(peg, socket),
        depth=depth_m(peg, socket),
        turned=_quarter(yaw_of(peg_quat)),
        axis=_up(peg_quat),
        opening=state.gripper_opening,
        command=state.gripper_command,
        pressed=state.pressed_n > PRESSED_N,
        time_s=state.time_s,
    )


def _fetch(view: _View) -> Plan:
    """Open above the peg, down, close."""
    grip = view.peg + np.array([0.0, 0.0, GRIP_M])
    gap, coming = length(view.tcp - grip), length(view.heads_for - grip)
    close = np.where(view.command < 0.5, gap < HELD_M, (gap < NEAR_M) & (coming < GRASP_M))
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
    return Plan(pos=pos, yaw=view.turned, grip=np.zeros(len(pos)))


def _let_down(view: _View) -> Floats:
    """Returns actions (N, A) that let the peg down, giving way to what it touches."""
    led = view.entered() & (view.depth > LED_M)
    to_axis = np.where(led[:, None], -PEG.size_m[2] * view.axis[:, :2], (view.socket - view.peg)[:, :2])
    phase = 2 * np.pi * view.time_s / SEARCH_S
    circle = SEARCH_M * np.stack([np.cos(phase), np.sin(phase)], axis=1)
    stuck = view.pressed & (view.depth < 0.5 * INSERTED_M)
    most = np.where(view.entered(), YIELD_M, SIDEWAYS_M)[:, None]
    ahead = np.empty_like(view.tcp)
    ahead[:, :2] = np.clip(to_axis + np.where(stuck[:, None], circle, 0.0), -most, most)
    share = np.clip((ASTRAY_M - view.aside) / (ASTRAY_M - ALIGNED_M), 0.0, 1.0)
    down = np.where(view.pressed | (view.depth > IN_M), PUSH_M, FALLING_M * np.where(view.entered(), 1.0, share))
    ahead[:, 2] = -np.where(view.tips > CLEAR_M, down, 0.0)
    actions = np.zeros((len(ahead), EE_DELTA.size))
    actions[:, :3] = view.tcp + ahead - view.heads_for
    return actions


def _upright(view: _View) -> Floats:
    """Returns turns (N, 3) [rad] that set a held peg upright, its sides along the socket's."""
    turn = np.cross(view.axis, [0.0, 0.0, 1.0])
    turn[:, 2] -= view.turned
    return TURN_GAIN * turn


def _leave(view: _View) -> Plan:
    """Open, then straight up."""
    pos = view.tcp.copy()
    pos[:, 2] += np.where(view.opening > FREE, 0.08, 0.0)
    pos[:, 2] = np.minimum(pos[:, 2], np.maximum(view.tcp[:, 2], view.socket[:, 2] + 0.22))
    return Plan(pos=pos, yaw=np.zeros(len(pos)), grip=np.ones(len(pos)))


def _up(quat_xyzw: Floats) -> Floats:
    """Returns the z axes (N, 3) of things turned by quaternions (N, 4)."""
    x, y, z, w = quat_xyzw.T
    return np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)


def _quarter(angle: Floats) -> Floats:
    """Returns headings on (-pi/4, pi/4]: a square peg turned by a quarter is the same peg."""
    return np.asarray(np.pi / 4 - np.mod(np.pi / 4 - angle, np.pi / 2))
