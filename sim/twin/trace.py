"""The last seconds of the box, cycle by cycle: what measures jumps and reaction times. Used by `sim.twin.box`."""

import json
from collections.abc import Iterator

import numpy as np

from core.arrays import Floats

CYCLES = 6000
"""Cycles kept: 30 s of 5 ms."""
_CHUNK = 50


class Trace:
    """A ring of cycles."""

    def __init__(self) -> None:
        self._t_ns = np.zeros(CYCLES, dtype=np.int64)
        self._joints = np.zeros((CYCLES, 14))
        self._codes = np.zeros((CYCLES, 3), dtype=np.int64)
        self._count = 0

    def put(self, t_ns: int, joint_pos: Floats, joint_target: Floats, codes: tuple[int, int, int]) -> None:
        """Notes one cycle: time [ns], measured and commanded joints (7,) [rad]; state, mode and error."""
        at = self._count % CYCLES
        self._t_ns[at] = t_ns
        self._joints[at, :7], self._joints[at, 7:] = joint_pos, joint_target
        self._codes[at] = codes
        self._count += 1

    def lines(self, since_ns: int) -> Iterator[bytes]:
        """Yields the cycles after a time [ns] as JSON lines, some at once, oldest first.

        Every line is an object with t_ns, joint_pos, joint_target, state, mode and error.
        """
        first = max(0, self._count - CYCLES)
        order = np.arange(first, self._count) % CYCLES
        order = order[self._t_ns[order] > since_ns]
        for at in range(0, len(order), _CHUNK):
            yield b"".join(self._line(i) for i in order[at : at + _CHUNK])

    def _line(self, i: int) -> bytes:
        joints = np.round(self._joints[i], 9).tolist()
        state, mode, error = self._codes[i].tolist()
        row = {"t_ns": int(self._t_ns[i]), "joint_pos": joints[:7], "joint_target": joints[7:]}
        return json.dumps({**row, "state": state, "mode": mode, "error": error}).encode() + b"\n"
