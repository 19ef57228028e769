"""What N worlds remember besides physics and controller: sub-goals, touches, injections. Used by `sim.world`."""

from dataclasses import dataclass, fields

import numpy as np

from core.arrays import Bools, Floats, Ints
from sim.rows import put_row, take_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What N worlds remember besides physics and controller; the arrays are written in place."""

    force: Floats
    """Largest contact force of the last period (N,) [N]."""
    pressed: Floats
    """Mean force between the two objects that the task presses together, last period (N,) [N]."""
    event: Floats
    """When the scene's own event is due, NaN when there is none or it is past (N,) [s]."""
    pads: Floats
    """Contacts of left and right pad with each object (N, 2 * O)."""
    reached: Floats
    """Sub-goals reached so far (N, G)."""
    armed: Floats
    """Index of the armed injector, -1 when none (N,)."""
    strength: Floats
    """Strength of the injection (N,)."""
    seed: Floats
    """Seed of the injection (N,)."""
    injected_at: Floats
    """When it struck, NaN before (N,) [s]."""
    open_steps: Floats
    """Control steps for which the gripper is still forced open (N,)."""
    before: Floats
    """Object centres just before it struck (N, O, 3) [m]."""
    void: Floats
    """1 once physics was reset silently (N,)."""
    table: Floats
    """Table height the world was started at (N,) [m]."""

    @staticmethod
    def blank(n: int, objects: int, goals: int) -> "Memory":
        """Returns the memory of `n` worlds with `objects` objects and `goals` sub-goals."""
        sizes = {"pads": (2 * objects,), "reached": (goals,), "before": (objects, 3)}
        memory = Memory(**{f.name: np.zeros((n, *sizes.get(f.name, ()))) for f in fields(Memory)})
        memory.forget(np.arange(n))
        return memory

    def forget(self, ids: Ints) -> None:
        """Starts worlds `ids` anew, no injection armed."""
        for f in fields(self):
            getattr(self, f.name)[ids] = 0.0
        self.armed[ids], self.injected_at[ids], self.event[ids] = -1.0, np.nan, np.nan

    def pinched(self) -> Bools:
        """Returns which objects both pads touch, shape (N, O)."""
        return np.asarray((self.pads.reshape(len(self.pads), 2, -1) > 0).all(axis=1))

    def row(self, i: int) -> Floats:
        """Returns world `i` as one finite vector; what has not struck, or is not to come, has time -1."""
        return np.nan_to_num(take_row(self._arrays(), i), nan=-1.0)

    def put(self, i: int, row: Floats) -> None:
        """Puts a vector from `row` back into world `i`."""
        put_row(self._arrays(), i, row)
        for times in (self.injected_at, self.event):
            times[i] = np.nan if times[i] < 0 else times[i]

    def _arrays(self) -> list[Floats]:
        return [getattr(self, f.name) for f in fields(self)]
