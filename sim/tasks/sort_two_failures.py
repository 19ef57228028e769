"""What goes wrong while two blocks are sorted, in the first or in the second sub-task. Made by `sim.tasks.sort_two`.

In which sub-task a failure strikes is the first thing drawn from the injection's seed (`InTurn`): the same in every
step of an episode, and for every layout of the table.

At the default strengths each strikes in 128 of 128 episodes, about half of them in the second sub-task. Whoever goes on
as if nothing had happened (things are where they were, what the hand closed on is in it) succeeds in none of them; the
scripted expert, taking over a random 0.2 to 4.5 s later, in all but one, with the barrier (seeds 12000 to 12127).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.scene import ROLES
from core.tasks import ObjectInfo
from sim.failures import Collision, Drop, MissedGrasp, TargetMoved, WrongObject
from sim.task import Blow, Cue, Disturbance, Facts, Injector

ROOM_M = 0.12
"""Least distance between the centres of two things when the open hand has to fit between [m]."""
TRAY_ROOM_M = 0.16
"""Least distance from a block on the table to a tray's centre [m]."""
TIP_M = 0.012
"""How far the fingers reach below the tool centre point [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InTurn:
    """A failure that waits for its sub-task: the first or a later one, with even odds."""

    failure: Injector
    turns: int
    """In how many sub-tasks it may strike."""

    @property
    def unit(self) -> str:
        """What the strength measures."""
        return self.failure.unit

    @property
    def default(self) -> float:
        """Strength when none is asked for, in `unit`."""
        return self.failure.default

    def due(self, cue: Cue) -> Bools:
        """Returns where the moment of the failure has come, whichever the sub-task, shape (N,)."""
        return self.failure.due(cue)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Returns what the failure does; None before its sub-task."""
        turn = int(blow.rng.integers(self.turns))
        return self.failure.strike(facts, blow) if facts.state.subtask[blow.i] >= turn else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slip:
    """On its way, somewhere, the target slides out of the closed fingers and falls."""

    unit: str = "m/s"
    """Horizontal speed with which it comes off the finger tips."""
    default: float = 0.15
    near_m: float = 0.14
    """It slips at least so far from the goal's centre, unless its whole way is shorter [m]."""
    far_m: float = 0.34
    """And at most so far [m]."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the target is carried, shape (N,)."""
        return _carried(cue.facts)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Puts the target under the finger tips, moving at `strength` [m/s] in a random direction."""
        pos, tcp = facts.state.object_pos_in_base[blow.i], facts.state.tcp_pos_in_base[blow.i]
        target, goal = _index(facts, blow.i, "target"), _index(facts, blow.i, "goal")
        if np.linalg.norm((pos[target] - pos[goal])[:2]) > blow.rng.uniform(self.near_m, self.far_m):
            return None
        heading = blow.rng.uniform(0.0, 2 * np.pi)
        below = np.append(pos[target, :2], tcp[2] - TIP_M - 0.025)
        velocity = blow.strength * np.array([np.cos(heading), np.sin(heading), 0.0])
        return Disturbance(place={target: below}, kick={target: velocity})


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongBlock:
    """As the fingers close on the target, somebody puts the other block between them.

    Two blocks that lie on the table are swapped. One that was already sorted is taken from its tray, and the target is
    put down where blocks start.
    """

    start: tuple[Floats, Floats]
    """Corners of the zone where blocks start, x and y [m]."""
    trays: tuple[str, ...]
    swap: WrongObject
    unit: str = "share of the way"
    """How far the target is moved towards where the other block was when both lie on the table; 1 swaps them."""
    default: float = 1.0

    def due(self, cue: Cue) -> Bools:
        """Returns where the hand closes on the target, shape (N,)."""
        return self.swap.due(cue)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Puts the other block into the hand, and the target where that was or on a free spot."""
        if facts.state.subtask[blow.i] == 0:
            return self.swap.strike(facts, blow)
        pos = facts.state.object_pos_in_base[blow.i]
        target, other = _index(facts, blow.i, "target"), _index(facts, blow.i, "distractor")
        spots = blow.rng.uniform(*self.start, (200, 2))
        keep = {target: ROOM_M, **{facts.state.object_names.index(tray): TRAY_ROOM_M for tray in self.trays}}
        gaps = [np.linalg.norm(spots - pos[o, :2], axis=1) > room for o, room in keep.items()]
        free = np.logical_and.reduce(gaps)
        if not free.any():
            return None
        return Disturbance(place={target: np.append(spots[free][0], pos[target, 2]), other: pos[target]})


def sorting_injectors(
    *,
    blocks: tuple[ObjectInfo, ...],
    trays: tuple[ObjectInfo, ...],
    barrier: ObjectInfo,
    start: tuple[Floats, Floats],
    tray_low: Floats,
) -> dict[FailureMode, Injector]:
    """Returns the injectors of the sorting task.

    Args:
        blocks: What is sorted, one a sub-task, all of the same height.
        trays: Where it belongs.
        barrier: What may be set in the way.
        start: Corners of the zone where blocks start, x and y [m].
        tray_low: Corner of the zone where trays start, x and y [m].
    """
    names = tuple(tray.name for tray in trays)
    failures: Mapping[FailureMode, Injector] = {
        FailureMode.MISSED_GRASP: MissedGrasp(keep_m=dict.fromkeys(names, TRAY_ROOM_M)),
        FailureMode.SLIP: Slip(),
        FailureMode.DROP: Drop(),
        FailureMode.TARGET_MOVED: TargetMoved(plate_low=tray_low),
        FailureMode.WRONG_OBJECT: WrongBlock(start=start, trays=names, swap=WrongObject()),
        FailureMode.COLLISION: Collision(
            half_height_m=float(barrier.size_m[2]),
            goal_half_height_m=float(trays[0].size_m[2]),
            keep_m=dict.fromkeys(names, 0.115),
            distractor_m=0.13,
        ),
    }
    return {mode: InTurn(failure=failure, turns=len(blocks)) for mode, failure in failures.items()}


def _index(facts: Facts, i: int, role: str) -> int:
    return int(facts.state.roles[i, ROLES.index(role)])


def _carried(facts: Facts) -> Bools:
    height = (facts.state.of("target") - facts.state.of("goal"))[:, 2]
    return np.asarray(facts.held() & (height > 0.07))
