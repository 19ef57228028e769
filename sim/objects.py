"""Where the objects of N worlds are, and how they are put somewhere: free, placed, or sliding in something placed.

Used by `sim.world`.
"""

from collections.abc import Mapping

import numpy as np

from core.arrays import Bools, Floats
from sim.cell import Cell


class Objects:
    """The objects of N worlds.

    Args:
        cell: Their cell.
        fields: Live arrays of the batch by name: qpos, qvel, mocap_pos, mocap_quat; one row a world.
    """

    def __init__(self, cell: Cell, fields: Mapping[str, Floats]) -> None:
        self._cell, self._qpos, self._qvel = cell, fields["qpos"], fields["qvel"]
        n = len(self._qpos)
        self._placed_pos = fields["mocap_pos"].reshape(n, -1, 3)
        self._placed_quat = fields["mocap_quat"].reshape(n, -1, 4)

    def place(self, i: int, o: int, pos: Floats, yaw: float) -> None:
        """Puts object `o` of world `i` at `pos` (3,) [m] with heading `yaw` [rad], at rest.

        What slides is put as near to `pos` as its guide allows, and keeps its heading.
        """
        quat = np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])
        at, k, slide = self._cell.free_qpos[o], self._cell.mocap[o], self._cell.slides[o]
        if k >= 0:
            self._placed_pos[i, k], self._placed_quat[i, k] = pos, quat
        elif slide is not None:
            self._qpos[i, slide.qpos] = (pos - self._placed_pos[i, slide.parent] - slide.offset) @ slide.axis
            self._qvel[i, slide.qvel] = 0.0
        else:
            self._qpos[i, at : at + 7] = [*pos, *quat]
            self._qvel[i, self._cell.free_qvel[o] : self._cell.free_qvel[o] + 6] = 0.0

    def kick(self, i: int, o: int, velocity: Floats) -> None:
        """Gives object `o` of world `i` a linear velocity (3,) [m/s]; what slides takes the part along its guide."""
        slide, at = self._cell.slides[o], self._cell.free_qvel[o]
        if slide is not None:
            self._qvel[i, slide.qvel] = velocity @ slide.axis
        else:
            self._qvel[i, at : at + 3] = velocity

    def raise_all(self, i: int, rise_m: float, held: Bools) -> None:
        """Lifts everything on the table of world `i` by `rise_m` [m] but what is `held` (O,)."""
        for o, (at, k) in enumerate(zip(self._cell.free_qpos, self._cell.mocap, strict=True)):
            if k >= 0:
                self._placed_pos[i, k, 2] += rise_m
            elif at >= 0 and not held[o]:
                self._qpos[i, at + 2] += rise_m

    def read(self) -> tuple[Floats, Floats, Floats]:
        """Returns centres (N, O, 3) [m], orientations xyzw (N, O, 4) and speeds (N, O) [m/s] of all objects."""
        n, count = len(self._qpos), len(self._cell.mocap)
        pos, wxyz, speed = np.empty((n, count, 3)), np.empty((n, count, 4)), np.zeros((n, count))
        for o, (at, k) in enumerate(zip(self._cell.free_qpos, self._cell.mocap, strict=True)):
            slide = self._cell.slides[o]
            if k >= 0:
                pos[:, o], wxyz[:, o] = self._placed_pos[:, k], self._placed_quat[:, k]
            elif slide is not None:
                along = self._qpos[:, slide.qpos, None] * slide.axis
                pos[:, o], wxyz[:, o] = self._placed_pos[:, slide.parent] + slide.offset + along, [1.0, 0.0, 0.0, 0.0]
                speed[:, o] = np.abs(self._qvel[:, slide.qvel])
            else:
                pos[:, o], wxyz[:, o] = self._qpos[:, at : at + 3], self._qpos[:, at + 3 : at + 7]
                velocity = self._qvel[:, self._cell.free_qvel[o] :][:, :3]
                speed[:, o] = np.sqrt((velocity**2).sum(axis=1))
        return pos, wxyz[..., [1, 2, 3, 0]], speed

    def placed(self, i: int) -> tuple[Floats, Floats]:
        """Returns centres (P, 3) [m] and orientations wxyz (P, 4) of what is placed in world `i`, copied."""
        return self._placed_pos[i].copy(), self._placed_quat[i].copy()
