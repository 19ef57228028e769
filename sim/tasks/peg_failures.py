"""What goes wrong with a peg and its socket, in ways of their own. Called by `sim.tasks.peg_in_hole`.

A peg that lies on its side cannot be grasped by a hand that points down so that it fits the hole; none of these knocks
it over, and there is no failure of that kind in the task.

At the default strengths every one, those shared with other tasks included, strikes in 128 of 128 episodes; whoever goes
on blindly, and would search for the hole as the expert does, succeeds in none of them; the scripted expert, taking over
a random 0.2 to 4.5 s later, in all (seeds 700 to 827, on some of which strengths were chosen; the same on 64 others,
20000 to 20063; tests/unit/test_sim_peg_in_hole.py keeps 6 of each).
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.scene import ROLES
from sim.task import Blow, Cue, Disturbance, Facts
from sim.tasks.peg_parts import PEG, SOCKET, aside_m, depth_m


@dataclass(frozen=True, slots=True, kw_only=True)
class SlippedOut:
    """As the peg is lifted off the table the hand opens, and the peg falls back and stays behind, standing."""

    unit: str = "m/s"
    """Horizontal speed of the peg as it leaves the hand."""
    default: float = 0.05
    open_steps: int = 6
    """Control steps for which the hand stays open."""
    lift_m: float = 0.012
    """How far the peg's lower end is above the table by then [m]."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the peg has just been lifted, shape (N,)."""
        return _lifted(cue.facts, self.lift_m)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Opens the hand and gives the peg `strength` [m/s] in a random direction, and no other speed."""
        heading = blow.rng.uniform(0.0, 2 * np.pi)
        velocity = blow.strength * np.array([np.cos(heading), np.sin(heading), 0.0])
        return Disturbance(kick={_index(facts, blow.i, "target"): velocity}, open_steps=self.open_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketMoved:
    """While the peg is carried, the socket is taken to a part of the table where it never was before."""

    socket_low: Floats
    """Near, right corner of the zone where sockets start, x and y [m]."""
    unit: str = "m"
    """How far beyond the near (low y) edge of its zone it ends up."""
    default: float = 0.25
    clear_m: float = 0.10
    """Smallest distance from the hand to where it is put [m]."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the peg is carried, shape (N,)."""
        return _lifted(cue.facts, 0.03)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Moves the socket to y = the zone's lower edge minus `strength` [m], where the hand is not."""
        goal = _index(facts, blow.i, "goal")
        x = blow.rng.permutation(np.linspace(0.34, 0.54, 11))
        spots = np.stack([x, np.full_like(x, self.socket_low[1] - blow.strength)], axis=1)
        hand = facts.state.tcp_pos_in_base[blow.i, :2]
        free = np.linalg.norm(spots - hand, axis=1) > self.clear_m
        height = facts.state.object_pos_in_base[blow.i, goal, 2]
        return Disturbance(place={goal: np.append(spots[free][0], height)}) if free.any() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """As the peg is lifted it shifts between the pads: its axis is no longer where the hand's is.

    It shifts outwards, away from the arm's base: shifted inwards, it creeps back half of the way while it is swung
    to the socket.
    """

    unit: str = "m"
    """How far it shifts along the pads."""
    default: float = 0.0115

    def due(self, cue: Cue) -> Bools:
        """Returns where the peg has just been lifted, shape (N,)."""
        return _lifted(cue.facts, 0.01)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Moves the peg by `strength` [m] along the pads."""
        target = _index(facts, blow.i, "target")
        yaw = _heading(facts.state.object_quat_xyzw_in_base[blow.i, target])
        along = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        pos = facts.state.object_pos_in_base[blow.i, target] + blow.strength * along
        return Disturbance(place={target: pos}, yaw={target: yaw})


@dataclass(frozen=True, slots=True, kw_only=True)
class Jammed:
    """Just before the peg enters, the socket is knocked aside, so that the peg sits on its rim."""

    unit: str = "m"
    """How far the socket is knocked."""
    default: float = 0.015
    above_m: float = 0.030
    """How high above the rim the peg's lower end is at most [m]."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the held peg is about to enter, shape (N,)."""
        peg, socket = cue.facts.state.of("target"), cue.facts.state.of("goal")
        depth = depth_m(peg, socket)
        return np.asarray(cue.facts.held() & (aside_m(peg, socket) < 0.006) & (depth < 0.0) & (depth > -self.above_m))

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Moves the socket by `strength` [m] along one of its sides."""
        goal = _index(facts, blow.i, "goal")
        turn = blow.rng.integers(4) * np.pi / 2
        aside = blow.strength * np.array([np.cos(turn), np.sin(turn), 0.0])
        return Disturbance(place={goal: facts.state.object_pos_in_base[blow.i, goal] + aside})


def _lifted(facts: Facts, height_m: float) -> Bools:
    """Returns where the held peg's lower end is more than `height_m` above the table, and not in the socket, (N,)."""
    peg, socket = facts.state.of("target"), facts.state.of("goal")
    height = (peg[:, 2] - PEG.size_m[2]) - (socket[:, 2] - SOCKET.size_m[2])
    return np.asarray(facts.held() & (height > height_m) & (aside_m(peg, socket) > 0.05))


def _index(facts: Facts, i: int, role: str) -> int:
    return int(facts.state.roles[i, ROLES.index(role)])


def _heading(quat_xyzw: Floats) -> float:
    return float(2.0 * np.arctan2(quat_xyzw[2], quat_xyzw[3]))
