"""The xArm 7 as numbers: limits, forward kinematics, Jacobian and one damped-least-squares step, all batched.

Called by `sim` (which builds the same chain in MuJoCo), by the arm's adapters and their wall of limits, and by
`core.servo`. Letters: N worlds, J = 7 joints.

Source: UFACTORY xArm 7 user manual (modified Denavit-Hartenberg parameters; limits of joints and speeds).
"""

import numpy as np

from core.arrays import Floats
from core.robots import RobotSpec
from core.transforms import quat_conjugate, quat_multiply, rotvec_from_quat

XARM7 = RobotSpec(
    name="xarm7",
    joint_names=tuple(f"joint{i}" for i in range(1, 8)),
    joint_low=np.array([-6.28319, -2.059488, -6.28319, -0.191986, -6.28319, -1.692969, -6.28319]),
    joint_high=np.array([6.28319, 2.094395, 6.28319, 3.92699, 6.28319, 3.14159, 6.28319]),
    joint_vel_max=np.full(7, np.pi),
    joint_acc_max=np.full(7, 20.0),
    tcp_speed_max=1.0,
)
"""Names and limits of the arm."""

LINK_POS_M = np.array(
    [
        [0.0, 0.0, 0.267],
        [0.0, 0.0, 0.0],
        [0.0, -0.293, 0.0],
        [0.0525, 0.0, 0.0],
        [0.0775, -0.3425, 0.0],
        [0.0, 0.0, 0.0],
        [0.076, 0.097, 0.0],
    ]
)
"""Origin of each link in the link before it [m]."""
LINK_ROLL_RAD = np.array([0.0, -1.0, 1.0, 1.0, 1.0, 1.0, -1.0]) * np.pi / 2
"""Turn of each link about x of the link before it [rad]."""
TCP_OFFSET_M = 0.172
"""Tool centre point beyond the flange, along tool z [m]."""
HOME_RAD = np.array([0.0, -0.2687, 0.0, 1.0952, 0.0, 1.3639, 0.0])
"""Where an episode starts and where the null space pulls: tool straight down at about (0.40, 0, 0.30) m."""

DAMPING = 0.03
"""Damping lambda of the least-squares step."""
POSTURE_GAIN = 0.1
"""Share of the way home that the null space takes in one step."""
MAX_STEP_RAD = float(np.pi * 0.05)
"""Largest change of one joint in one control period: pi rad/s for 50 ms [rad]."""


def _fixed_turns() -> Floats:
    c, s = np.cos(LINK_ROLL_RAD), np.sin(LINK_ROLL_RAD)
    turns = np.zeros((7, 3, 3))
    turns[:, 0, 0], turns[:, 1, 1], turns[:, 2, 2] = 1.0, c, c
    turns[:, 1, 2], turns[:, 2, 1] = -s, s
    return turns


_TURNS = _fixed_turns()


def chain(joint_pos: Floats) -> tuple[Floats, Floats]:
    """Returns every link's frame in base: rotations (J, N, 3, 3) and origins (J, N, 3) [m].

    Args:
        joint_pos: Shape (N, J) [rad].
    """
    c, s = np.cos(joint_pos.T), np.sin(joint_pos.T)
    local = np.empty((*c.shape, 3, 3))
    local[..., 0] = c[..., None] * _TURNS[:, None, :, 0] + s[..., None] * _TURNS[:, None, :, 1]
    local[..., 1] = c[..., None] * _TURNS[:, None, :, 1] - s[..., None] * _TURNS[:, None, :, 0]
    local[..., 2] = _TURNS[:, None, :, 2]
    turn, origin = np.empty_like(local), np.empty((*c.shape, 3))
    turn[0], origin[0] = local[0], LINK_POS_M[0]
    for i in range(1, len(local)):
        turn[i] = turn[i - 1] @ local[i]
        origin[i] = origin[i - 1] + turn[i - 1] @ LINK_POS_M[i]
    return turn, origin


def tcp_position(turn: Floats, origin: Floats) -> Floats:
    """Returns the tool centre point in base (N, 3) [m] of the frames that `chain` gave."""
    return np.asarray(origin[-1] + TCP_OFFSET_M * turn[-1][..., 2], dtype=np.float64)


def forward(joint_pos: Floats) -> tuple[Floats, Floats]:
    """Returns the tool in base: positions (N, 3) [m] and quaternions xyzw (N, 4), for joints (N, J) [rad]."""
    turn, origin = chain(joint_pos)
    return tcp_position(turn, origin), quat_from_matrix(turn[-1])


def jacobian(turn: Floats, origin: Floats) -> Floats:
    """Returns the geometric Jacobian of the tool centre point in base axes, shape (N, 6, J), linear rows first.

    Args:
        turn: Link rotations (J, N, 3, 3), from `chain`.
        origin: Link origins (J, N, 3) [m], from `chain`.
    """
    axis = turn[..., 2]
    arm = tcp_position(turn, origin) - origin
    jac = np.empty((axis.shape[1], 6, len(axis)))
    jac[:, :3], jac[:, 3:] = cross(axis, arm).transpose(1, 2, 0), axis.transpose(1, 2, 0)
    return jac


def ik_step(joint_pos: Floats, goal_pos: Floats, goal_quat_xyzw: Floats) -> Floats:
    """Returns joint positions (N, J) [rad] one damped-least-squares step nearer to a tool pose, inside the limits.

    Args:
        joint_pos: Where to step from, shape (N, J) [rad].
        goal_pos: Wanted tool position in base, shape (N, 3) [m]; leading axes are kept, for several goals an arm.
        goal_quat_xyzw: Wanted tool orientation in base, shape (N, 4).

    Source: Wampler (1986), damped least squares; Liegeois (1977), posture in the null space.
    """
    turn, origin = chain(joint_pos)
    jac = jacobian(turn, origin)
    error = np.concatenate(
        [
            goal_pos - tcp_position(turn, origin),
            rotvec_from_quat(quat_multiply(goal_quat_xyzw, quat_conjugate(quat_from_matrix(turn[-1])))),
        ],
        axis=-1,
    )
    posture = POSTURE_GAIN * (HOME_RAD - joint_pos)
    wanted = error - np.einsum("nij,nj->ni", jac, posture)
    square = jac @ np.swapaxes(jac, -1, -2) + DAMPING**2 * np.eye(6)
    step = posture + np.einsum("nij,...ni->...nj", jac, np.linalg.solve(square, wanted[..., None])[..., 0])
    largest = np.abs(step).max(axis=-1, keepdims=True)
    step *= np.minimum(1.0, MAX_STEP_RAD / np.maximum(largest, 1e-12))
    return np.asarray(np.clip(joint_pos + step, XARM7.joint_low, XARM7.joint_high), dtype=np.float64)


def cross(a: Floats, b: Floats) -> Floats:
    """Returns the cross product over the last axis; faster than numpy's for small batches."""
    product = np.empty(np.broadcast_shapes(a.shape, b.shape))
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    product[..., 0] = ay * bz - az * by
    product[..., 1] = az * bx - ax * bz
    product[..., 2] = ax * by - ay * bx
    return product


def quat_from_matrix(matrix: Floats) -> Floats:
    """Returns unit quaternions xyzw (..., 4) of rotation matrices (..., 3, 3), the largest component positive.

    Source: Shepperd (1978), the pivot on the largest component.
    """
    m = matrix
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    rows = np.empty((*m.shape[:-2], 4, 4))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        rows[..., i, i] = 1.0 + 2.0 * m[..., i, i] - trace
        rows[..., i, j] = rows[..., j, i] = m[..., i, j] + m[..., j, i]
        rows[..., i, 3] = rows[..., 3, i] = m[..., k, j] - m[..., j, k]
    rows[..., 3, 3] = 1.0 + trace
    pivot = np.argmax(np.einsum("...ii->...i", rows), axis=-1)
    q = np.take_along_axis(rows, pivot[..., None, None], axis=-2)[..., 0, :]
    return np.asarray(q / np.linalg.norm(q, axis=-1, keepdims=True), dtype=np.float64)
