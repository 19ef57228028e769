"""How actions lead the tool: from end-effector deltas to the pose the servos are asked for, N arms at a time.

Called by the simulated cell's controller and by the adapter of a real arm, so that both follow an action alike.
"""

import numpy as np

from core.arrays import Floats
from core.transforms import quat_conjugate, quat_from_rotvec, quat_multiply, rotvec_from_quat

REACH_M = 0.06
"""Farthest the commanded position may run ahead of the tool [m]: what bounds the push into an obstacle."""
TURN_RAD = 0.35
"""Farthest the commanded orientation may run ahead of the tool [rad]."""

LAG_S = 0.047
"""How far the arm that policies are trained on lags behind its joint targets at steady speed [s].

Source: damping over stiffness of the simulated cell's servos (`sim.cell.KV`, `KP`), kept equal by a test.
"""


def lead(
    goal_pos: Floats,
    goal_quat_xyzw: Floats,
    actions: Floats,
    tcp_pos: Floats,
    tcp_quat_xyzw: Floats,
    *,
    reach_m: float = REACH_M,
) -> tuple[Floats, Floats]:
    """Returns the commanded tool pose after one action: positions (N, 3) [m] and quaternions xyzw (N, 4), in base.

    Args:
        goal_pos: Commanded positions before it, shape (N, 3) [m].
        goal_quat_xyzw: Commanded orientations before it, shape (N, 4).
        actions: Actions (N, A), in `EE_DELTA` units, inside its bounds; leading axes are kept, for several a tool.
        tcp_pos: Where the tools are, shape (N, 3) [m].
        tcp_quat_xyzw: How they are turned, shape (N, 4).
        reach_m: Farthest the commanded position may run ahead of the tool [m].
    """
    ahead = goal_pos + actions[..., :3] - tcp_pos
    turned = quat_multiply(quat_from_rotvec(actions[..., 3:6]), goal_quat_xyzw)
    turn = rotvec_from_quat(quat_multiply(turned, quat_conjugate(tcp_quat_xyzw)))
    quat = quat_multiply(quat_from_rotvec(_shorten(turn, TURN_RAD)), tcp_quat_xyzw)
    return tcp_pos + _shorten(ahead, reach_m), quat / np.linalg.norm(quat, axis=-1, keepdims=True)


def follow(joint_pos: Floats, joint_target: Floats, dt_s: float) -> Floats:
    """Returns where the joints of the trained-on arm are after `dt_s` [s] on the way to their targets, as a model.

    Args:
        joint_pos: Where they are, shape (..., J) [rad].
        joint_target: Where they are led, shape (..., J) [rad].
        dt_s: Time [s].
    """
    return np.asarray(joint_target + (joint_pos - joint_target) * np.exp(-dt_s / LAG_S))


def _shorten(vector: Floats, longest: float) -> Floats:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.asarray(vector * np.minimum(1.0, longest / np.maximum(length, 1e-12)))
