"""Penalties of time, correction and motion: what a step cost, each in [-1, 0], batched over N worlds, pure.

Called by `residual.library`, which gives each its parameters.
"""

import numpy as np

from core.arrays import Floats
from core.kinematics import XARM7
from core.robots import EE_DELTA
from residual.penalties import Transition
from residual.terms import norm, share, smooth, tilt_rad, tool_distance


def elapsed(step: Transition) -> Floats:
    """Charges -1 for every step, dimensionless in [-1, 0]: time is not free.

    Formula: -1

    Args:
        step: N transitions.

    Source: the constant step cost of shortest-path problems (Sutton and Barto 2018).
    """
    return np.full(len(step.action), -1.0)


def effort(step: Transition) -> Floats:
    """Charges the mean square of the correction, dimensionless in [-1, 0].

    Formula: -mean(a^2), a = correction clipped to [-1, 1]

    Args:
        step: N transitions.

    Source: quadratic control cost of the linear-quadratic regulator, divided by the number of dims.
    """
    return np.asarray(-np.mean(np.square(np.clip(step.action, -1.0, 1.0)), axis=1))


def jerkiness(step: Transition) -> Floats:
    """Charges the mean square of the change of the correction over a quarter, dimensionless in [-1, 0].

    Formula: -mean((a - a_before)^2) / 4, both clipped to [-1, 1]

    Args:
        step: N transitions.

    Source: action-rate cost, common in legged locomotion (Rudin et al. 2022); 4 is the largest square of a change.
    """
    change = np.clip(step.action, -1.0, 1.0) - np.clip(step.prev_action, -1.0, 1.0)
    return np.asarray(-np.mean(np.square(change), axis=1) / 4.0)


def speeding(step: Transition, *, limit_m_s: float) -> Floats:
    """Charges tool speed above a limit, as a share of the limit, dimensionless in [-1, 0].

    Formula: -clip((v - limit_m_s) / limit_m_s), v = mean tool speed over the step

    Args:
        step: N transitions.
        limit_m_s: Speed up to which nothing is charged; at twice this the charge is full [m/s].

    Source: Reflective Self-Adaptation, component control_velocity(v).
    """
    return -share(step.tool_speed_m_s - limit_m_s, limit_m_s)


def rushing(step: Transition, *, role: str, near_m: float, limit_m_s: float) -> Floats:
    """Charges tool speed from or to a near object above a limit, as a share of the limit, dimensionless in [-1, 0].

    It fades out between `near_m` and twice that. What is carried has no speed from the tool, and costs nothing.

    Formula: -clip((v - limit_m_s) / limit_m_s) * [1 - smooth((d - near_m) / near_m)], d = |tool - role| before the step

    Args:
        step: N transitions.
        role: Near whom to be slow.
        near_m: Distance inside which the charge is whole [m].
        limit_m_s: Speed v = |change of (tool - role)| up to which nothing is charged; full at twice this [m/s].

    Source: Reflective Self-Adaptation, component control_velocity(v), near an object.
    """
    close = 1.0 - smooth((tool_distance(step.prev, role) - near_m) / near_m)
    speed = norm(step.moved_from_tool(role)) / EE_DELTA.dt_s
    return -share(speed - limit_m_s, limit_m_s) * close


def limit_acceleration(step: Transition, *, limit_rad_s2: float) -> Floats:
    """Charges joint acceleration above a limit, as a share of the limit, dimensionless in [-1, 0].

    Formula: -clip((A - limit_rad_s2) / limit_rad_s2), A = max |change of joint speed| / control period

    Args:
        step: N transitions.
        limit_rad_s2: Acceleration up to which nothing is charged; at twice this the charge is full [rad/s^2].

    Source: Reflective Self-Adaptation, component limit_acceleration(a_max).
    """
    change = np.abs(step.state.joint_vel - step.prev.joint_vel).max(axis=1) / EE_DELTA.dt_s
    return -share(change - limit_rad_s2, limit_rad_s2)


def joint_margin(step: Transition, *, margin_rad: float) -> Floats:
    """Charges the joint that is nearest to a limit of its range, dimensionless in [-1, 0].

    Formula: clip(g / margin_rad) - 1, g = smallest distance of a joint from either end of its range

    Args:
        step: N transitions.
        margin_rad: Distance from the limit up to which a charge is due; at the limit it is full [rad].

    Source: joint-limit avoidance as a cost (Liegeois 1977), linear; ranges from the xArm 7 user manual.
    """
    joints = step.state.joint_pos
    gap = np.minimum(joints - XARM7.joint_low, XARM7.joint_high - joints).min(axis=1)
    return share(gap, margin_rad) - 1.0


def outside_workspace(
    step: Transition,
    *,
    near_x_m: float,
    far_x_m: float,
    side_y_m: float,
    floor_z_m: float,
    ceiling_z_m: float,
    scale_m: float,
) -> Floats:
    """Charges how far the tool is outside a box, dimensionless in [-1, 0]; 0 inside.

    Formula: -clip(e / scale_m), e = largest excess over a face of the box

    Args:
        step: N transitions.
        near_x_m: Smallest x of the tool in base [m].
        far_x_m: Largest x [m].
        side_y_m: Largest |y| [m].
        floor_z_m: Smallest z [m].
        ceiling_z_m: Largest z [m].
        scale_m: Excess at which the charge is full [m].

    Source: ours.
    """
    x, y, z = step.state.tcp_pos_in_base.T
    excess = np.max([near_x_m - x, x - far_x_m, np.abs(y) - side_y_m, floor_z_m - z, z - ceiling_z_m], axis=0)
    return -share(excess, scale_m)


def tilted(step: Transition, *, limit_rad: float) -> Floats:
    """Charges the square of the tool's tilt as a share of a limit, dimensionless in [-1, 0].

    Formula: -clip(angle / limit_rad)^2, angle between tool z and straight down, whatever the heading

    Args:
        step: N transitions.
        limit_rad: Tilt at which the charge is full [rad].

    Source: quadratic orientation cost.
    """
    return -np.square(share(tilt_rad(step.state), limit_rad))
