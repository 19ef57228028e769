"""Where tool and body of many arm poses are, without whole frames: what the wall asks for along each way to rest.

The same chain as `core.kinematics.chain`, several times faster on thousands of poses; a test holds the two together.
"""

import numpy as np

from core.arrays import Floats
from core.kinematics import LINK_POS_M, LINK_ROLL_RAD, TCP_OFFSET_M

BODY = (3, 4, 5, 6)
"""Links whose origins are kept above the table: elbow, forearm, wrist, flange."""
_SIN = [round(float(np.sin(roll)), 12) for roll in LINK_ROLL_RAD]
_STEPS = [[(axis, float(length)) for axis, length in enumerate(row) if length] for row in LINK_POS_M]
"""Lengths along the axes of the link before, without the zeros [m]."""


def tool_and_body(joint_pos: Floats) -> tuple[Floats, Floats]:
    """Returns tool positions (3, N) [m] and the lowest height (N,) [m] of the body's joints, in base.

    Args:
        joint_pos: Shape (N, J) [rad].
    """
    n = len(joint_pos)
    cosine, sine = np.cos(joint_pos.T), np.sin(joint_pos.T)
    x, y, z = (np.repeat(axis, n, axis=1) for axis in np.eye(3)[:, :, None])
    origin, lowest = np.zeros((3, n)), np.full(n, np.inf)
    for i, steps in enumerate(_STEPS):
        for axis, length in steps:
            origin = origin + length * (x, y, z)[axis]
        if _SIN[i]:
            y, z = _SIN[i] * z, -_SIN[i] * y
        x, y = cosine[i] * x + sine[i] * y, cosine[i] * y - sine[i] * x
        if i in BODY:
            lowest = np.minimum(lowest, origin[2])
    return np.asarray(origin + TCP_OFFSET_M * z), np.asarray(lowest)
