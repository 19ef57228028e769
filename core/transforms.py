"""Poses and rotations. Quaternions are xyzw, unit; every function takes leading batch axes."""

from dataclasses import dataclass

import numpy as np

from core.arrays import Floats, floats
from core.errors import ContractError


def quat_multiply(a_xyzw: Floats, b_xyzw: Floats) -> Floats:
    """Returns the product a*b (apply b first), shape (..., 4)."""
    product = np.empty(np.broadcast_shapes(a_xyzw.shape, b_xyzw.shape))
    ax, ay, az, aw = a_xyzw[..., 0], a_xyzw[..., 1], a_xyzw[..., 2], a_xyzw[..., 3]
    bx, by, bz, bw = b_xyzw[..., 0], b_xyzw[..., 1], b_xyzw[..., 2], b_xyzw[..., 3]
    product[..., 0] = aw * bx + ax * bw + ay * bz - az * by
    product[..., 1] = aw * by - ax * bz + ay * bw + az * bx
    product[..., 2] = aw * bz + ax * by - ay * bx + az * bw
    product[..., 3] = aw * bw - ax * bx - ay * by - az * bz
    return product


def quat_conjugate(q_xyzw: Floats) -> Floats:
    """Returns the inverse rotation, shape (..., 4)."""
    return np.asarray(q_xyzw * np.array([-1.0, -1.0, -1.0, 1.0]), dtype=np.float64)


def quat_rotate(q_xyzw: Floats, v: Floats) -> Floats:
    """Returns `v` (..., 3) turned by `q_xyzw` (..., 4)."""
    u, w = q_xyzw[..., :3], q_xyzw[..., 3:]
    t = 2.0 * _cross(u, v)
    return np.asarray(v + w * t + _cross(u, t), dtype=np.float64)


def _cross(a: Floats, b: Floats) -> Floats:
    """The cross product (..., 3), to the bit what `np.cross` gives in a third of its time on the small arrays here."""
    product = np.empty(np.broadcast_shapes(a.shape, b.shape))
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    product[..., 0] = ay * bz - az * by
    product[..., 1] = az * bx - ax * bz
    product[..., 2] = ax * by - ay * bx
    return product


def quat_from_rotvec(rotvec: Floats) -> Floats:
    """Returns the quaternion of a rotation vector [rad], shape (..., 4)."""
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    half = 0.5 * angle
    scale = np.where(angle > 1e-9, np.sin(half) / np.maximum(angle, 1e-9), 0.5)
    return np.asarray(np.concatenate([rotvec * scale, np.cos(half)], axis=-1), dtype=np.float64)


def rotvec_from_quat(q_xyzw: Floats) -> Floats:
    """Returns the rotation vector [rad] of the shorter way round, shape (..., 3)."""
    q = np.where(q_xyzw[..., 3:] < 0, -q_xyzw, q_xyzw)
    sine = np.linalg.norm(q[..., :3], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., 3:])
    scale = np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 2.0)
    return np.asarray(q[..., :3] * scale, dtype=np.float64)


def matrix_from_quat(q_xyzw: Floats) -> Floats:
    """Returns rotation matrices, shape (..., 3, 3)."""
    eye = np.broadcast_to(np.eye(3), (*q_xyzw.shape[:-1], 3, 3))
    return np.swapaxes(quat_rotate(q_xyzw[..., None, :], eye), -1, -2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """A rigid transform of a child frame in a parent frame; name variables `<child>_in_<parent>`."""

    pos: Floats
    """Origin of the child in the parent, shape (3,) [m]."""
    quat_xyzw: Floats
    """Rotation from child axes to parent axes, unit, shape (4,)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pos", floats("pos [m]", self.pos, (3,)))
        object.__setattr__(self, "quat_xyzw", unit_quat("quat_xyzw", self.quat_xyzw))

    def compose(self, other: "Pose") -> "Pose":
        """Returns `other`, given in this pose's child frame, in this pose's parent frame."""
        return Pose(
            pos=self.pos + quat_rotate(self.quat_xyzw, other.pos),
            quat_xyzw=quat_multiply(self.quat_xyzw, other.quat_xyzw),
        )

    def inverse(self) -> "Pose":
        """Returns the parent in the child frame."""
        q = quat_conjugate(self.quat_xyzw)
        return Pose(pos=-quat_rotate(q, self.pos), quat_xyzw=q)

    def apply(self, points: Floats) -> Floats:
        """Returns points (..., 3) [m] of the child frame in the parent frame."""
        return self.pos + quat_rotate(self.quat_xyzw, points)


def unit_quat(name: str, value: Floats) -> Floats:
    """Returns a checked xyzw quaternion of norm 1 within 1e-3, renormalised.

    One that is unit to 1e-12 is returned as it is, so that a recorded quaternion comes back bit for bit.
    """
    q = floats(name, value, (4,))
    norm = float(np.linalg.norm(q))
    if abs(norm - 1.0) > 1e-3:
        raise ContractError(f"{name} has norm {norm:.4f}; expected a unit quaternion in xyzw order")
    return q if abs(norm - 1.0) < 1e-12 else floats(name, q / norm, (4,))
