"""Injectors of `wipe_board`: those of `sim.failures` that fit, and those that strike while the eraser is pressed.

Made by the task, called by `sim.world`. At the default strengths, in 256 episodes each (seeds 9000 to 9255), with a
blind driver that takes things to be where they were, the eraser to be in its hand and its own wiping to work, and with
the scripted expert taking over a random 0.2 to 4.5 s later where the blind one has not yet succeeded:

    mode           struck   blind   expert
    missed_grasp   256      0       256 of 256
    drop           256      0       256 of 256
    slip           256      0       256 of 256
    misaligned     256      13      243 of 243
    target_moved   256      0       256 of 256
    collision      255      0       255 of 255

tests/unit/test_sim_wipe_board.py keeps this on other seeds.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools, Floats
from core.failures import FailureMode
from core.scene import ROLES
from sim.failures import Collision, Drop, MissedGrasp
from sim.task import Blow, Cue, Disturbance, Facts, Injector
from sim.tasks.hand import long_side

PRESSING_N = 3.0
"""The eraser is in use when it is pressed on the board with more than this [N]."""
LIFT_M = 0.028
"""Height of the eraser's centre above the stains that counts as lifted [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedOut:
    """While the board is wiped, the eraser slides out from between the fingers, where they do not hold it."""

    board_half_m: Floats
    """Half extents of the board, shape (3,) [m]."""
    eraser_half_m: Floats
    """Half extents of the eraser, shape (3,) [m]."""
    unit: str = "m"
    """How far it slides."""
    default: float = 0.06

    def due(self, cue: Cue) -> Bools:
        """Returns where the eraser is pressed on the board, shape (N,)."""
        return _pressing(cue.facts)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Puts the eraser down `strength` [m] farther out, or nearer where the board ends, after up to two stains."""
        if facts.state.subtask[blow.i] < blow.rng.integers(0, 3):
            return None
        eraser, board = (_at(facts, blow.i, name) for name in ("eraser", "board"))
        yaw = _eraser_yaw(facts, blow.i)
        side = blow.strength * np.array([np.cos(yaw), np.sin(yaw)])
        spots = eraser[:2] + np.sign(side[0]) * np.array([[1.0], [-1.0]]) * side
        free = (np.abs(spots - board[:2]) < self.board_half_m[:2] - 0.01).all(axis=1)
        if not free.any():
            return None
        height = board[2] + self.board_half_m[2] + self.eraser_half_m[2]
        index = _target(facts, blow.i)
        return Disturbance(place={index: np.append(spots[free][0], height)}, yaw={index: yaw})


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedUp:
    """While the board is wiped, the eraser is pushed up between the fingers: at the usual height it hangs free."""

    unit: str = "m"
    """How far up."""
    default: float = 0.009

    def due(self, cue: Cue) -> Bools:
        """Returns where the eraser is pressed on the board, shape (N,)."""
        return _pressing(cue.facts)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Raises the eraser in the hand by `strength` [m], after up to two stains."""
        if facts.state.subtask[blow.i] < blow.rng.integers(0, 3):
            return None
        index = _target(facts, blow.i)
        up = facts.state.object_pos_in_base[blow.i, index] + np.array([0.0, 0.0, blow.strength])
        return Disturbance(place={index: up}, yaw={index: _eraser_yaw(facts, blow.i)})


@dataclass(frozen=True, slots=True, kw_only=True)
class StainElsewhere:
    """The stain that is to be wiped next turns up on a strip of the board where there never was one."""

    stain_low: Floats
    """Near, right corner of the zone of stains, x and y from the board's centre [m]."""
    unit: str = "m"
    """How far from that zone, towards the arm."""
    default: float = 0.067

    def due(self, cue: Cue) -> Bools:
        """Returns where the eraser is carried or pressed on the board, shape (N,)."""
        lifted = (cue.facts.state.of("target") - cue.facts.state.of("goal"))[:, 2] > LIFT_M
        return np.asarray(cue.facts.held() & (lifted | _pressing(cue.facts)))

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Moves the next stain to x = the zone's lower edge minus `strength` [m], after up to three others."""
        if facts.state.subtask[blow.i] < blow.rng.integers(0, 4):
            return None
        index = int(facts.state.roles[blow.i, ROLES.index("goal")])
        stain, board = facts.state.object_pos_in_base[blow.i, index], _at(facts, blow.i, "board")
        along = blow.rng.uniform(self.stain_low[1], -self.stain_low[1])
        spot = board[:2] + np.array([self.stain_low[0] - blow.strength, along])
        return Disturbance(place={index: np.append(spot, stain[2])})


def wipe_injectors(
    board_half_m: Floats, eraser_half_m: Floats, block_half_m: Floats, stain_low: Floats
) -> dict[FailureMode, Injector]:
    """Returns the injectors of the wiping task.

    Args:
        board_half_m: Half extents of the board, shape (3,) [m].
        eraser_half_m: Half extents of the eraser, shape (3,) [m].
        block_half_m: Half extents of the block, shape (3,) [m].
        stain_low: Near, right corner of the zone of stains, x and y from the board's centre [m].
    """
    return {
        FailureMode.MISSED_GRASP: MissedGrasp(keep_m={"board": 0.21}),
        FailureMode.DROP: Drop(lift_m=LIFT_M),
        FailureMode.SLIP: PushedOut(board_half_m=board_half_m, eraser_half_m=eraser_half_m),
        FailureMode.MISALIGNED: PushedUp(),
        FailureMode.TARGET_MOVED: StainElsewhere(stain_low=stain_low),
        FailureMode.COLLISION: Collision(
            half_height_m=float(block_half_m[2]),
            goal_half_height_m=float(2 * board_half_m[2]),
            keep_m={"board": 0.18},
            goal_m=0.05,
            lift_m=LIFT_M,
        ),
    }


def _pressing(facts: Facts) -> Bools:
    return np.asarray(facts.held() & (facts.state.pressed_n > PRESSING_N))


def _target(facts: Facts, i: int) -> int:
    return int(facts.state.roles[i, ROLES.index("target")])


def _at(facts: Facts, i: int, name: str) -> Floats:
    return np.asarray(facts.state.object_pos_in_base[i, facts.state.object_names.index(name)])


def _eraser_yaw(facts: Facts, i: int) -> float:
    return float(long_side(facts.state.object_quat_xyzw_in_base[i, _target(facts, i)]))
