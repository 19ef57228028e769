"""Demonstrations in memory, one row a control step: made in `sim`, learned from in `residual`."""

from dataclasses import dataclass, field

import numpy as np

from core.arrays import Floats, Image, Ints
from core.errors import ContractError
from core.transforms import quat_conjugate, quat_multiply, rotvec_from_quat


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstrations:
    """M rows from whole successful episodes, in order; P of them have pictures."""

    images: Image
    """Shape (P, C, H, W, 3) uint8 RGB at the policy's resolution, C cameras in `cameras` order; (0, 0) when none."""
    pictured: Ints
    """Which rows the pictures belong to, rising, shape (P,)."""
    cameras: tuple[str, ...]
    proprio: Floats
    """Shape (M, 8): tcp position in base [m] (3), rotation vector of tool_quat * conj(straight down) [rad] (3),
    measured gripper opening (1), commanded gripper opening (1)."""
    actions: Floats
    """Clean expert actions (M, A), in `EE_DELTA` units."""
    episode: Ints
    """Episode number of each row, shape (M,)."""
    instructions: tuple[str, ...]
    """One per episode."""
    object_names: tuple[str, ...]
    objects_in_base: Floats
    """Object centres, shape (M, O, 3) [m]; privileged, for auxiliary heads and the state surrogate only."""
    starts: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Control step at which each episode begins, shape (E,); empty when all begin at 0."""

    def __post_init__(self) -> None:
        rows = {len(self.proprio), len(self.actions), len(self.episode), len(self.objects_in_base)}
        if len(rows) != 1:
            raise ContractError(f"demonstration arrays have {sorted(rows)} rows; all must have the same number")
        if len(self.images) != len(self.pictured):
            raise ContractError(f"{len(self.images)} pictures for {len(self.pictured)} rows; there is one a row")
        if len(self.starts) not in (0, len(self.instructions)):
            raise ContractError(
                f"{len(self.starts)} starts for {len(self.instructions)} episodes; give one each, or none"
            )


def proprio_names() -> tuple[str, ...]:
    """Returns the names of the 8 proprioceptive inputs of a policy, in order."""
    return ("x_m", "y_m", "z_m", "rx_rad", "ry_rad", "rz_rad", "gripper_opening", "gripper_command")


DOWN_XYZW = np.array([1.0, 0.0, 0.0, 0.0])
"""Tool pointing straight down, x of the tool along x of the base, xyzw."""


def proprio(tcp_pos_in_base: Floats, tcp_quat_xyzw: Floats, opening: Floats, command: Floats) -> Floats:
    """Returns the policy's proprioception (..., 8), the same for training and run time.

    Args:
        tcp_pos_in_base: Shape (..., 3) [m].
        tcp_quat_xyzw: Tool in base, shape (..., 4).
        opening: Measured gripper opening, shape (...).
        command: Commanded gripper opening, shape (...).
    """
    tilt = rotvec_from_quat(quat_multiply(tcp_quat_xyzw, quat_conjugate(DOWN_XYZW)))
    grip = np.stack([np.asarray(opening, float), np.asarray(command, float)], axis=-1)
    return np.concatenate([tcp_pos_in_base, tilt, grip], axis=-1)
