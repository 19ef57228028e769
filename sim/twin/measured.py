"""What the box measures in one cycle, worked out when it is asked for. Used by `sim.twin.box`."""

import numpy as np

from core.arrays import Floats
from sim.twin.plant import Plant
from sim.twin.pose import Frames, flange, matrix_pose

_SURE = 1e-3
"""Damping of the wrench's least squares: what a stretched arm cannot feel counts as zero."""


class Measured:
    """Joints of the present cycle, and the tool's pose, speed and wrench that follow from them.

    Args:
        plant: The physical cell.
    """

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self.renew()

    def renew(self) -> None:
        """Reads the joints again."""
        self.joint_pos = _kept(self._plant.joint_pos)
        """Shape (7,) [rad]."""
        self.joint_vel = _kept(self._plant.joint_vel)
        """Shape (7,) [rad/s]."""
        self.joint_effort = _kept(self._plant.joint_effort)
        """Shape (7,) [N m]."""

    def tool(self, frames: Frames) -> tuple[Floats, float, Floats]:
        """Returns the tool's pose (6,) [m, rad], its speed [m/s] and the wrench on it (6,) [N, N m] in its own axes.

        Args:
            frames: Tool and world offsets.
        """
        matrix, jac = flange(self.joint_pos)
        tool = frames.tool_of(matrix)
        arm = matrix[:3, :3] @ frames.tool[:3, 3]
        jac = jac.copy()
        jac[:3] += np.cross(jac[3:].T, arm).T
        speed = float(np.linalg.norm(jac[:3] @ self.joint_vel))
        force = np.linalg.solve(jac @ jac.T + _SURE * np.eye(6), jac @ self._plant.strain)
        axes = matrix[:3, :3] @ frames.tool[:3, :3]
        return _kept(matrix_pose(tool)), speed, _kept(np.concatenate([axes.T @ force[:3], axes.T @ force[3:]]))


def _kept(array: Floats) -> Floats:
    array.setflags(write=False)
    return array
