"""Injectors of `tidy_drawer`: the drawer slides back, jams or is shut; the thing is missed, dropped or swapped.

Called by `sim.tasks.tidy_drawer`. At the default strengths every one strikes in 128 of 128 episodes. Whoever goes on
blindly, acting on where things would be had nothing happened, succeeds in none of 128 of any mode; the expert, taking
over a random 0.2 to 4.5 s later, in all 128 of each within the episode's 360 steps (seeds 21000 to 21127;
tests/unit/test_sim_tidy_drawer.py keeps 95 % on 24 other seeds).
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Bools
from core.failures import FailureMode
from sim.failures import Drop, MissedGrasp, WrongObject
from sim.task import Blow, Cue, Disturbance, Facts, Injector
from sim.tasks.drawer_parts import CATCH_IN_CABINET_M, CAUGHT_M, FREED_M, HANDLE_IN_CABINET_M, open_m

_CABINET, _HANDLE, _CATCH = 2, 4, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class During:
    """An injector that strikes only while one sub-task is due."""

    injector: Injector
    subtask: int
    """Sub-tasks that are done by then."""

    @property
    def unit(self) -> str:
        """What the strength measures."""
        return self.injector.unit

    @property
    def default(self) -> float:
        """Strength when none is asked for."""
        return self.injector.default

    def due(self, cue: Cue) -> Bools:
        """Returns whether the moment has come, shape (N,)."""
        return np.asarray(self.injector.due(cue) & (cue.facts.state.subtask == self.subtask))

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Returns what the injector does."""
        return self.injector.strike(facts, blow)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleSlip:
    """While the drawer is pulled, the hand opens by itself and the drawer slides back."""

    unit: str = "m/s"
    """Speed at which the drawer starts to slide back."""
    default: float = 1.5
    open_steps: int = 8
    """Control steps for which the hand stays open."""

    def due(self, cue: Cue) -> Bools:
        """Returns where the handle is held and the drawer is half open, shape (N,)."""
        pos = cue.facts.state.object_pos_in_base
        out = open_m(pos[:, _HANDLE], pos[:, _CABINET])
        return np.asarray(cue.facts.pinched[:, _HANDLE] & (out > 0.05) & (cue.facts.state.subtask == 0))

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:  # noqa: ARG002  # wherever it is
        """Opens the hand and sends the drawer back at `strength` [m/s]."""
        return Disturbance(kick={_HANDLE: np.array([blow.strength, 0.0, 0.0])}, open_steps=self.open_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchDown:
    """As the drawer is pulled, the catch comes down and stops it half way; pushing the drawer home lifts the catch."""

    unit: str = "m"
    """How far open the drawer then gets."""
    default: float = CAUGHT_M

    def due(self, cue: Cue) -> Bools:
        """Returns where the handle is held and the drawer begins to move, shape (N,)."""
        pos = cue.facts.state.object_pos_in_base
        out = open_m(pos[:, _HANDLE], pos[:, _CABINET])
        pulled = cue.facts.pinched[:, _HANDLE] & (cue.actions[:, 0] < 0.0) & (cue.facts.state.subtask == 0)
        return np.asarray(pulled & (out > FREED_M + 0.002) & (out < CAUGHT_M))

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Puts the catch where it stops the drawer at `strength` [m]."""
        cabinet = facts.state.object_pos_in_base[blow.i, _CABINET]
        return Disturbance(place={_CATCH: cabinet + CATCH_IN_CABINET_M - np.array([blow.strength - CAUGHT_M, 0, 0])})


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawerShut:
    """While the thing is carried to the drawer, somebody shuts the drawer."""

    unit: str = "m"
    """How far open the drawer is left."""
    default: float = 0.0

    def due(self, cue: Cue) -> Bools:
        """Returns where the thing is carried and not yet at the drawer, shape (N,)."""
        state = cue.facts.state
        gap = state.of("target") - state.of("goal")
        near = np.linalg.norm(gap[:, :2], axis=1) < 0.13
        return np.asarray((state.subtask == 1) & cue.facts.held() & (gap[:, 2] > 0.05) & ~near)

    def strike(self, facts: Facts, blow: Blow) -> Disturbance | None:
        """Leaves the drawer `strength` [m] open."""
        cabinet = facts.state.object_pos_in_base[blow.i, _CABINET]
        return Disturbance(place={_HANDLE: cabinet + HANDLE_IN_CABINET_M - np.array([blow.strength, 0.0, 0.0])})


def drawer_injectors() -> dict[FailureMode, Injector]:
    """Returns how each failure of the task is made to happen."""
    keep = {"cabinet": 0.20, "handle": 0.10}
    return {
        FailureMode.SLIP: HandleSlip(),
        FailureMode.JAM: CatchDown(),
        FailureMode.MISSED_GRASP: During(injector=MissedGrasp(keep_m=keep), subtask=1),
        FailureMode.DROP: During(injector=Drop(), subtask=1),
        FailureMode.TARGET_MOVED: DrawerShut(),
        FailureMode.WRONG_OBJECT: During(injector=WrongObject(), subtask=1),
    }
