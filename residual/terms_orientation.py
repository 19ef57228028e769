"""Orientational terms: how tool and objects are turned. Values in [0, 1], batched over N worlds, pure.

They read ground truth, so they are for training only. Where an object is absent the value is 0. Called by
`residual.library`, which gives each its parameters.
"""

import numpy as np

from core.arrays import Floats
from core.demonstrations import DOWN_XYZW
from core.transforms import quat_conjugate, quat_from_rotvec, quat_multiply, quat_rotate, rotvec_from_quat
from core.worlds import WorldState
from residual.terms import axis, heading_of, if_there, norm, share, tilt_rad


def upright(state: WorldState, *, limit_rad: float) -> Floats:
    """How straight down the tool points, dimensionless in [0, 1]: 1 at no tilt, 0 at the limit.

    Formula: 1 - clip(angle / limit_rad), angle between tool z and straight down, whatever the heading

    Args:
        state: N worlds.
        limit_rad: Tilt at which nothing is left [rad].

    Source: Reflective Self-Adaptation, component maintain_orientation(quat), with the rotation angle as the error.
    """
    return 1.0 - share(tilt_rad(state), limit_rad)


def maintain_orientation(state: WorldState, *, yaw_rad: float, limit_rad: float) -> Floats:
    """How well the tool points down at a heading, dimensionless in [0, 1]: 1 exactly so, 0 at the limit.

    Half a turn about the vertical does not matter: two parallel fingers are the same then.

    Formula: 1 - clip(angle / limit_rad), angle = the smaller turn to straight down at yaw_rad or yaw_rad + pi

    Args:
        state: N worlds.
        yaw_rad: Wanted heading of the tool about z of the base; the fingers move along y at 0 [rad].
        limit_rad: Turn away from it at which nothing is left [rad].

    Source: Reflective Self-Adaptation, component maintain_orientation(quat), with the rotation angle as the error.
    """
    errors = []
    for yaw in (yaw_rad, yaw_rad + np.pi):
        wanted = quat_multiply(quat_from_rotvec(np.array([0.0, 0.0, yaw])), DOWN_XYZW)
        errors.append(norm(rotvec_from_quat(quat_multiply(state.tcp_quat_xyzw_in_base, quat_conjugate(wanted)))))
    return 1.0 - share(np.minimum(*errors), limit_rad)


def align_heading(state: WorldState, *, role: str, turn_rad: float, limit_rad: float) -> Floats:
    """How well the fingers' heading fits an object's, dimensionless in [0, 1]: 1 exactly so, 0 at the limit or absent.

    Formula: 1 - clip(angle / limit_rad), angle = |heading(tool x) - heading(role x) - turn_rad| modulo half a turn

    Args:
        state: N worlds.
        role: Whose heading; the fingers close along its y axis at turn 0.
        turn_rad: Wanted heading of the tool from the object's [rad].
        limit_rad: Difference at which nothing is left [rad].

    Source: Reflective Self-Adaptation, component align(a, b), for headings.
    """
    forward = quat_rotate(state.tcp_quat_xyzw_in_base, np.broadcast_to([1.0, 0.0, 0.0], (len(state.time_s), 3)))
    apart = heading_of(forward) - heading_of(axis(state, role, 0)) - turn_rad
    apart = np.abs(np.mod(apart + np.pi / 2, np.pi) - np.pi / 2)
    return 1.0 - share(if_there(state, role, apart), limit_rad)


def look_at(state: WorldState, *, role: str, limit_rad: float) -> Floats:
    """How straight the tool points at an object, dimensionless in [0, 1]: 1 exactly so, 0 at the limit or if absent.

    Formula: 1 - clip(angle / limit_rad), angle between tool z and role - tool; 0 at the object itself

    Args:
        state: N worlds.
        role: At whom the tool, and so the wrist camera, should point.
        limit_rad: Angle at which nothing is left [rad].

    Source: Reflective Self-Adaptation, component look_at(target).
    """
    there = state.of(role) - state.tcp_pos_in_base
    there = np.where(np.isfinite(there), there, 0.0)
    pointing = quat_rotate(state.tcp_quat_xyzw_in_base, np.broadcast_to([0.0, 0.0, 1.0], there.shape))
    return 1.0 - share(if_there(state, role, _angle(pointing, there)), limit_rad)


def standing(state: WorldState, *, role: str, limit_rad: float) -> Floats:
    """How upright an object is, dimensionless in [0, 1]: 1 when its z axis is vertical, 0 at the limit or if absent.

    Formula: 1 - clip(angle / limit_rad), angle between role z and base z

    Args:
        state: N worlds.
        role: Who should stand.
        limit_rad: Tilt at which nothing is left [rad].

    Source: Reflective Self-Adaptation, component align(a, b), of an object's axis and the vertical.
    """
    tilt = _angle(axis(state, role, 2), np.array([[0.0, 0.0, 1.0]]))
    return 1.0 - share(if_there(state, role, tilt), limit_rad)


def parallel(state: WorldState, *, role: str, goal: str, limit_rad: float) -> Floats:
    """How parallel the z axes of two objects are, dimensionless in [0, 1]: 1 parallel, 0 at the limit or if absent.

    Formula: 1 - clip(angle / limit_rad), angle between the lines along role z and goal z

    Args:
        state: N worlds.
        role: One of them, a peg.
        goal: The other one, its hole.
        limit_rad: Angle at which nothing is left [rad].

    Source: Reflective Self-Adaptation, component align(a, b).
    """
    apart = _angle(axis(state, role, 2), axis(state, goal, 2))
    apart = np.minimum(apart, np.pi - apart)
    return 1.0 - share(if_there(state, goal, if_there(state, role, apart)), limit_rad)


def _angle(a: Floats, b: Floats) -> Floats:
    """Returns the angle between rows, shape (N,) [rad], accurate near 0; 0 where a row is zero."""
    return np.asarray(np.arctan2(norm(np.cross(a, b)), np.sum(a * b, axis=1)))
