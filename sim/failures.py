"""Injectors: each makes one failure happen, at the moment and in the way that the failure is known for.

Called by `sim.world` when a failure is armed in a world. An injector looks only at ground truth and at the action about
to be taken; it answers with a `Disturbance`, which the world applies at once.

In the fruit task, at the default strengths, every one strikes in 256 of 256 episodes (252 when the plate is to move,
for which there is not always room); whoever goes on blindly succeeds in none of them, and the scripted expert, taking
over a random 0 to 4.5 s later, in all (seeds 9000 to 9255, a quarter of them with a swap of the fruits before;
tests/unit/test_sim_failures.py keeps 95 % on 100 other seeds).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.scene import ROLES
from core.tasks import TaskInfo
from sim.cell import PARKED_M
from sim.task import Blow, Cue, Disturbance, Facts, Injector
from sim.tasks.hand import long_side

CLOSING = 0.5
"""A commanded opening below this closes the hand."""
NEAR_M = 0.03
"""The hand is at an object when its tool centre point is this close [m]."""
LIFT_M = 0.07
"""Height of the target's centre above the goal's centre that counts as lifted [m]."""
TABLE_LOW_M, TABLE_HIGH_M = np.array([0.27, -0.34]), np.array([0.62, 0.34])
"""What the arm reaches comfortably, x and y [m]."""
HAND_HALF_M = 0.075
"""Room the hand and what it holds need on each side of its centre [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedGrasp:
    """As the fingers close on the target, it slips out sideways and comes to rest nearby."""

    unit: str = "m"
    """How far it slips."""
    default: float = 0.07
    keep_m: Mapping[str, float] = field(default_factory=dict)
    """Least distance from where it comes to rest to the centres of other objects, by name [m]."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the hand closes on the target, shape (N,)."""
        return _closing_on_target(cue)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Moves the target by `strength` [m] where there is room for it and for the hand."""
        target = _role(facts, blow.i, "target")
        pos = facts.state.object_pos_in_base[blow.i]
        heading = blow.rng.uniform(0.0, 2 * np.pi) + np.arange(16) * np.pi / 8
        spots = pos[target, :2] + blow.strength * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        free = _inside(spots) & _clear(
            spots, pos, _keep(facts, blow.i, {"distractor": 0.10, "goal": 0.15}, self.keep_m)
        )
        return Disturbance(place={target: np.append(spots[free][0], pos[target, 2])}) if free.any() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """On the way to the goal the hand opens by itself and the target flies off sideways."""

    unit: str = "m/s"
    """Horizontal speed of the target as it leaves the hand."""
    default: float = 0.3
    open_steps: int = 6
    """Control steps for which the hand stays open."""
    lift_m: float = LIFT_M
    """Height of the target's centre above the goal's that counts as lifted [m]."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the target is carried and not yet over the goal, shape (N,)."""
        gap = np.linalg.norm((cue.facts.state.of("target") - cue.facts.state.of("goal"))[:, :2], axis=1)
        return np.asarray(_carried(cue.facts, self.lift_m) & (gap > 0.12))

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Opens the hand and throws the target at `strength` [m/s], back towards the middle of the table or beside."""
        target = _role(facts, blow.i, "target")
        inward = TABLE_LOW_M + 0.5 * (TABLE_HIGH_M - TABLE_LOW_M) - facts.state.object_pos_in_base[blow.i, target, :2]
        heading = np.arctan2(inward[1], inward[0]) + blow.rng.uniform(-1.2, 1.2)
        velocity = blow.strength * np.array([np.cos(heading), np.sin(heading), 0.0])
        return Disturbance(kick={target: velocity}, open_steps=self.open_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMoved:
    """While the target is carried, the goal is taken to a part of the table where it never was before."""

    plate_low: Floats
    """Near, right corner of the zone where goals start, x and y [m]."""
    unit: str = "m"
    """How far beyond the near (low y) edge of the goals' zone it ends up."""
    default: float = 0.25
    x_low_m: float = 0.32
    x_high_m: float = 0.58
    keep_m: Mapping[str, float] = field(default_factory=dict)
    """Least distance from where it ends up to the centres of other objects, by name [m]."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the target is carried, shape (N,)."""
        return _carried(cue.facts)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Moves the goal to y = the zone's lower edge minus `strength` [m], clear of other things."""
        goal = _role(facts, blow.i, "goal")
        pos = facts.state.object_pos_in_base[blow.i]
        x = blow.rng.permutation(np.linspace(self.x_low_m, self.x_high_m, 14))
        spots = np.stack([x, np.full_like(x, self.plate_low[1] - blow.strength)], axis=1)
        free = _clear(spots, pos, _keep(facts, blow.i, {"distractor": 0.14}, self.keep_m))
        return Disturbance(place={goal: np.append(spots[free][0], pos[goal, 2])}) if free.any() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongObject:
    """As the fingers close on the target, somebody swaps it with the distractor: the hand closes on the wrong one."""

    unit: str = "share of the way"
    """How far the target is moved towards where the other one was; 1 swaps them exactly."""
    default: float = 1.0

    def due(self, cue: Cue) -> Bools:
        """Returns where the hand closes on the target, shape (N,)."""
        return _closing_on_target(cue)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Puts the other one into the hand and the target `strength` of the way to where that one was."""
        target, other = _role(facts, blow.i, "target"), _role(facts, blow.i, "distractor")
        pos = facts.state.object_pos_in_base[blow.i]
        to = pos[target] + blow.strength * (pos[other] - pos[target])
        rise = np.array([0.0, 0.0, pos[other, 2] - pos[target, 2]])
        yaw = long_side(facts.state.object_quat_xyzw_in_base[blow.i])
        return Disturbance(
            place={target: np.append(to[:2], pos[target, 2]), other: pos[target] + rise},
            yaw={target: float(yaw[other]), other: float(yaw[target])},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Collision:
    """While the target is carried, a block is set across the way from hand to goal."""

    unit: str = "share of the way"
    """Where the block stands between hand (0) and goal (1)."""
    default: float = 0.5
    half_height_m: float = 0.10
    """Of the block [m]."""
    goal_half_height_m: float = 0.006
    """Of the goal, which stands on the same table [m]."""
    keep_m: Mapping[str, float] = field(default_factory=dict)
    """Least distance from the block's centre to the centres of other objects, by name [m]."""
    distractor_m: float = 0.10
    """Least distance from the block's centre to the distractor's [m]."""
    goal_m: float = 0.11
    """Least distance from the block's centre to the goal's [m]."""
    lift_m: float = LIFT_M
    """Height of the target's centre above the goal's that counts as lifted [m]."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the target is carried, shape (N,)."""
        return _carried(cue.facts, self.lift_m)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Stands the block across the straight way, as near to `strength` of it as there is room."""
        block, goal = _role(facts, blow.i, "obstacle"), _role(facts, blow.i, "goal")
        pos, hand = facts.state.object_pos_in_base[blow.i], facts.state.tcp_pos_in_base[blow.i]
        way = pos[goal, :2] - hand[:2]
        length = float(np.linalg.norm(way))
        shares = np.linspace(0.0, 1.0, 41)
        spots = hand[:2] + shares[:, None] * way
        room = (shares * length > HAND_HALF_M + 0.02) & ((1 - shares) * length > self.goal_m)
        free = room & _clear(spots, pos, _keep(facts, blow.i, {"distractor": self.distractor_m}, self.keep_m))
        if not free.any():
            return None
        best = np.flatnonzero(free)[np.argmin(np.abs(shares[free] - blow.strength))]
        centre = np.append(spots[best], pos[goal, 2] - self.goal_half_height_m + self.half_height_m)
        return Disturbance(place={block: centre}, yaw={block: float(np.arctan2(way[1], way[0]))})


def fruit_injectors(info: TaskInfo, plate_low: Floats) -> dict[FailureMode, Injector]:
    """Returns the injectors of the fruit task.

    Args:
        info: The task.
        plate_low: Corner of the zone where plates start, x and y [m].
    """
    block = next(o for o in info.objects if o.name == info.obstacle)
    return {
        FailureMode.MISSED_GRASP: MissedGrasp(),
        FailureMode.DROP: Drop(),
        FailureMode.TARGET_MOVED: TargetMoved(plate_low=plate_low),
        FailureMode.WRONG_OBJECT: WrongObject(),
        FailureMode.COLLISION: Collision(half_height_m=float(block.size_m[2])),
    }


def _role(facts: Facts, i: int, role: str) -> int:
    return int(facts.state.roles[i, ROLES.index(role)])


def _closing_on_target(cue: Cue) -> Bools:
    state = cue.facts.state
    near = np.linalg.norm(state.tcp_pos_in_base - state.of("target"), axis=1) < NEAR_M
    return np.asarray(near & (cue.actions[:, 6] < CLOSING))


def _carried(facts: Facts, lift_m: float = LIFT_M) -> Bools:
    """Returns where the target is held above a goal that is there, shape (N,)."""
    target, goal = facts.state.of("target")[:, 2], facts.state.of("goal")[:, 2]
    return np.asarray(facts.held() & (target - goal > lift_m) & (goal > 0.5 * PARKED_M[2]))


def _inside(spots: Floats) -> Bools:
    return np.asarray(((spots > TABLE_LOW_M) & (spots < TABLE_HIGH_M)).all(axis=1))


def _clear(spots: Floats, pos: Floats, keep_m: dict[int, float]) -> Bools:
    """Returns which spots (M, 2) keep the given distances [m] from the objects at `pos` (O, 3)."""
    clear = [np.linalg.norm(spots - pos[o, :2], axis=1) > d for o, d in keep_m.items()]
    return np.asarray(np.logical_and.reduce([np.ones(len(spots), dtype=bool), *clear]))


def _keep(facts: Facts, i: int, by_role_m: dict[str, float], by_name_m: Mapping[str, float]) -> dict[int, float]:
    """Returns distances to keep [m] by object index: from named objects but the target, and from roles that are had."""
    indices = {facts.state.object_names.index(name): m for name, m in by_name_m.items()}
    named = {index: m for index, m in indices.items() if index != _role(facts, i, "target")}
    return named | {index: m for role, m in by_role_m.items() if (index := _role(facts, i, role)) >= 0}
