"""Poses of the box: six numbers and matrices, with tool and world offsets, and the inverse kinematics of the flange.

Called by `sim.twin.box`, `sim.twin.limits` and the planners. Poses are x y z [m] and roll pitch yaw [rad], fixed axes.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Floats
from core.kinematics import HOME_RAD, XARM7, chain, cross, quat_from_matrix
from core.transforms import matrix_from_quat, quat_from_rotvec, rotvec_from_quat

NEAR_M, NEAR_RAD = 2e-5, 2e-5
"""An inverse solution is this exact [m], [rad]."""
_ROUNDS = 60
_DAMPING = 1e-3


def pose_matrix(pose: Floats) -> Floats:
    """Returns the homogeneous matrix (4, 4) of a pose (6,) [m, rad]."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(pose[3:]), np.sin(pose[3:])
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr, pose[0]],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr, pose[1]],
            [-sp, cp * sr, cp * cr, pose[2]],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def matrix_pose(matrix: Floats) -> Floats:
    """Returns the pose (6,) [m, rad] of a homogeneous matrix (4, 4); yaw is 0 where pitch is straight up or down."""
    m = matrix
    pitch = np.arctan2(-m[2, 0], np.hypot(m[0, 0], m[1, 0]))
    if abs(m[2, 0]) > 1.0 - 1e-12:
        return np.array([*m[:3, 3], np.arctan2(-m[1, 2], m[1, 1]), pitch, 0.0])
    return np.array([*m[:3, 3], np.arctan2(m[2, 1], m[2, 2]), pitch, np.arctan2(m[1, 0], m[0, 0])])


def inverted(matrix: Floats) -> Floats:
    """Returns the inverse of a homogeneous matrix (4, 4)."""
    out = np.eye(4)
    out[:3, :3] = matrix[:3, :3].T
    out[:3, 3] = -out[:3, :3] @ matrix[:3, 3]
    return out


def rotation_vector(turn: Floats) -> Floats:
    """Returns the rotation vector (3,) [rad] of a rotation matrix (3, 3)."""
    return rotvec_from_quat(quat_from_matrix(turn))


def rotation_matrix(rotvec: Floats) -> Floats:
    """Returns the rotation matrix (3, 3) of a rotation vector (3,) [rad]."""
    return matrix_from_quat(quat_from_rotvec(rotvec))


def difference(goal: Floats, now: Floats) -> Floats:
    """Returns what leads from one homogeneous matrix to another in base axes: shape (6,) [m, rad]."""
    return np.concatenate([goal[:3, 3] - now[:3, 3], rotation_vector(goal[:3, :3] @ now[:3, :3].T)])


def moved(matrix: Floats, change: Floats) -> Floats:
    """Returns a homogeneous matrix moved and turned in base axes by `change` (6,) [m, rad]."""
    out = matrix.copy()
    out[:3, 3] += change[:3]
    out[:3, :3] = rotation_matrix(change[3:]) @ matrix[:3, :3]
    return out


def flange(joint_pos: Floats) -> tuple[Floats, Floats]:
    """Returns the flange in base (4, 4) and its Jacobian (6, 7), for joint positions (7,) [rad]."""
    turn, origin = chain(joint_pos[None])
    turn, origin = turn[:, 0], origin[:, 0]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn[-1], origin[-1]
    axis = turn[:, :, 2]
    return matrix, np.concatenate([cross(axis, origin[-1] - origin), axis], axis=1).T


def toward(joint_pos: Floats, goal: Floats, rounds: int) -> tuple[Floats, float]:
    """Returns joint positions (7,) nearer to a flange matrix, by damped least squares, and how far off they still are.

    Args:
        joint_pos: Where to begin, shape (7,) [rad].
        goal: Wanted flange in base, shape (4, 4).
        rounds: Steps at most.

    Source: Wampler (1986), damped least squares.
    """
    q, off = joint_pos, np.inf
    for left in range(rounds, -1, -1):
        matrix, jac = flange(q)
        error = difference(goal, matrix)
        off = float(max(np.abs(error[:3]).max() / NEAR_M, np.abs(error[3:]).max() / NEAR_RAD))
        if off < 1.0 or not left:
            break
        lift = _DAMPING**2 + 0.01 * float(error @ error)
        step = jac.T @ np.linalg.solve(jac @ jac.T + lift * np.eye(6), error)
        q = q + step * min(1.0, 0.3 / max(float(np.abs(step).max()), 1e-12))
    return q, off


def solve_flange(goal: Floats, seeds: tuple[Floats, ...], low: Floats, high: Floats) -> Floats | None:
    """Returns joint positions (7,) [rad] inside `low` and `high` that put the flange at `goal` (4, 4), None if none do.

    Args:
        goal: Wanted flange in base.
        seeds: Where to begin, the best guess first.
        low: Shape (7,) [rad].
        high: Shape (7,) [rad].
    """
    for seed in (*seeds, HOME_RAD):
        q, off = toward(seed, goal, _ROUNDS)
        whole = 2 * np.pi * np.round((q - seed) / (2 * np.pi))
        q = np.where(XARM7.joint_high > 6.0, q - whole, q)
        if off < 1.0 and ((q >= low) & (q <= high)).all():
            return q
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Tool and world offsets, as matrices."""

    tool: Floats
    """Flange to tool centre point, shape (4, 4)."""
    world: Floats
    """World to base, shape (4, 4)."""

    @staticmethod
    def of(tcp_offset: Floats, world_offset: Floats) -> "Frames":
        """Returns the frames of two offsets (6,) [m, rad]."""
        return Frames(tool=pose_matrix(tcp_offset), world=pose_matrix(world_offset))

    def tool_of(self, flange_matrix: Floats) -> Floats:
        """Returns the tool in the world (4, 4) of a flange in base (4, 4)."""
        return np.asarray(self.world @ flange_matrix @ self.tool)

    def flange_of(self, tool_matrix: Floats) -> Floats:
        """Returns the flange in base (4, 4) of a tool in the world (4, 4)."""
        return np.asarray(inverted(self.world) @ tool_matrix @ inverted(self.tool))

    def tool_position(self, flange_matrix: Floats) -> Floats:
        """Returns the tool centre point in base (3,) [m], world offset left out, of a flange in base (4, 4)."""
        return np.asarray(flange_matrix[:3, :3] @ self.tool[:3, 3] + flange_matrix[:3, 3])
