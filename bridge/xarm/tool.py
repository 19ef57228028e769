"""Where our tool is when the box was told of another one: a run that only watches may not tell it ours. Used by `XArm`.

The box reports the pose of the tool that it was told of, which before anybody told it anything is the bare flange.
"""

from collections.abc import Sequence

import numpy as np

from bridge.xarm import units
from core.arrays import Floats
from core.transforms import quat_conjugate, quat_multiply, quat_rotate


def at_tool(pos: Floats, quat_xyzw: Floats, told: Sequence[float], ours: Sequence[float]) -> tuple[Floats, Floats]:
    """Returns where our tool centre point is and how it is turned: (3,) [m] and (4,), in base.

    Args:
        pos: Where the box says that its tool is, shape (3,) [m].
        quat_xyzw: How it says that it is turned, shape (4,).
        told: From flange to the tool that the box knows: x y z [m], roll pitch yaw [rad].
        ours: From flange to our tool, likewise.
    """
    flange = quat_multiply(quat_xyzw, quat_conjugate(units.quat_from_rpy(told[3:])))
    along = quat_rotate(flange, np.asarray(ours[:3]) - np.asarray(told[:3]))
    return pos + along, quat_multiply(flange, units.quat_from_rpy(ours[3:]))
