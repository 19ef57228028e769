"""Poses as the wire writes them: roll pitch yaw or one rotation vector, and poses given in other poses.

Called by the register handlers and the reports. Poses are (6,): x y z [m] and roll pitch yaw [rad], fixed axes.
"""

import numpy as np

from core.arrays import Floats
from sim.twin import pose as matrices


def rotvec_from_rpy(rpy: Floats) -> Floats:
    """Returns the rotation vector (3,) [rad] of roll pitch yaw (3,) [rad]."""
    return matrices.rotation_vector(matrices.pose_matrix(np.concatenate([np.zeros(3), rpy]))[:3, :3])


def rpy_from_rotvec(rotvec: Floats) -> Floats:
    """Returns roll pitch yaw (3,) [rad] of a rotation vector (3,) [rad]."""
    return matrices.matrix_pose(matrices.moved(np.eye(4), np.concatenate([np.zeros(3), rotvec])))[3:]


def on(base: Floats, pose: Floats) -> Floats:
    """Returns the pose (6,) that `pose` (6,), given in the frame `base` (6,), has where `base` is given."""
    return matrices.matrix_pose(matrices.pose_matrix(base) @ matrices.pose_matrix(pose))


def seen_from(base: Floats, pose: Floats) -> Floats:
    """Returns the pose (6,) that `pose` (6,) has in the frame `base` (6,)."""
    return matrices.matrix_pose(matrices.inverted(matrices.pose_matrix(base)) @ matrices.pose_matrix(pose))


def moved(pose: Floats, shift: Floats, rotvec: Floats) -> Floats:
    """Returns `pose` (6,) shifted (3,) [m] and turned by a rotation vector (3,) [rad], both in the base's axes."""
    return matrices.matrix_pose(matrices.moved(matrices.pose_matrix(pose), np.concatenate([shift, rotvec])))
