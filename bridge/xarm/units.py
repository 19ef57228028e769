"""Millimetres, Euler angles and gripper counts end here. Called by the other modules of this package only."""

from collections.abc import Sequence

import numpy as np

from core.arrays import Floats
from core.kinematics import quat_from_matrix

MM_PER_M = 1000.0
COUNTS_OPEN = 850
"""Gripper register when open; 0 is closed. Source: UFACTORY xArm Gripper manual."""


def millimetres(metres: Sequence[float] | Floats) -> list[float]:
    """Returns lengths [mm] of lengths [m]."""
    return [float(value) * MM_PER_M for value in metres]


def metres(millimetre: Sequence[float]) -> Floats:
    """Returns lengths [m] of lengths [mm]."""
    return np.asarray(millimetre, dtype=np.float64) / MM_PER_M


def counts(opening: float) -> int:
    """Returns the gripper register of an opening [0, 1], clipped to it."""
    return round(min(1.0, max(0.0, opening)) * COUNTS_OPEN)


def opening(count: float) -> float:
    """Returns the opening [0, 1] of a gripper register, clipped to it: the register runs a little past its ends."""
    return min(1.0, max(0.0, count / COUNTS_OPEN))


def quat_from_rpy(rpy: Sequence[float] | Floats) -> Floats:
    """Returns the quaternion xyzw (4,) of roll, pitch, yaw [rad] about fixed axes: Rz(yaw) Ry(pitch) Rx(roll)."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    matrix = np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )
    return quat_from_matrix(matrix)
