"""Where the tool was a moment ago: a wrist image is a little older than the pose that comes with it."""

import numpy as np

from core.transforms import Pose

_REMEMBERED = 32
"""Poses kept: 1.6 s at 20 Hz, more than any camera is late."""


class ToolPath:
    """The tool's last poses in base."""

    def __init__(self) -> None:
        self._poses: list[tuple[int, Pose]] = []

    def add(self, t_ns: int, tool: Pose) -> None:
        """Notes where the tool is at `t_ns` [ns]; time must not run backwards."""
        self._poses = [*self._poses[1 - _REMEMBERED :], (t_ns, tool)]

    def at(self, t_ns: int) -> Pose:
        """Returns the tool in base at `t_ns` [ns], interpolated; the nearest pose outside what is remembered."""
        later = next((i for i, (t, _) in enumerate(self._poses) if t >= t_ns), len(self._poses) - 1)
        (t0, before), (t1, after) = self._poses[max(later - 1, 0)], self._poses[later]
        if t_ns >= t1 or t_ns <= t0:
            return after if t_ns >= t1 else before
        share = (t_ns - t0) / (t1 - t0)
        turned = after.quat_xyzw * (1.0 if before.quat_xyzw @ after.quat_xyzw >= 0 else -1.0)
        quat = (1 - share) * before.quat_xyzw + share * turned
        return Pose(pos=(1 - share) * before.pos + share * after.pos, quat_xyzw=quat / np.linalg.norm(quat))
