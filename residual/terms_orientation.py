"""Orientational terms: how tool and objects are turned. Values in [0, 1], batched over N worlds, pure.

They read ground truth, so they are for training only. Where an object is absent the value is 0. Called by
`residual.library`, which gives each its parameters.
"""

import numpy as np

from core.arrays import Floats
from core.worlds import WorldState
from residual.terms import heading_of, if_there, norm, share, tilt_rad, turn_of, upward


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
    c, s = np.cos(yaw_rad / 2), np.sin(yaw_rad / 2)
    same = np.array([[c, s, 0.0, 0.0], [-c, -s, 0.0, 0.0], [-s, c, 0.0, 0.0], [s, -c, 0.0, 0.0]])
    chord = np.min([norm(state.tcp_quat_xyzw_in_base - wanted) for wanted in same], axis=0)
    return 1.0 - share(4.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)), limit_rad)


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
    apart = heading_of(state.tcp_quat_xyzw_in_base) - heading_of(turn_of(state, role)) - turn_rad
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
    return 1.0 - share(if_there(state, role, _angle(upward(state.tcp_quat_xyzw_in_base), there)), limit_rad)


def standing(state: WorldState, *, role: str, limit_rad: float) -> Floats:
    """How upright an object is, dimensionless in [0, 1]: 1 when its z axis is vertical, 0 at the limit or if absent.

    Formula: 1 - clip(angle / limit_rad), angle between role z and base z

    Args:
        state: N worlds.
        role: Who should stand.
        limit_rad: Tilt at which nothing is left [rad].

    Source: Reflective Self-Adaptation, component align(a, b), of an object's axis and the vertical.
    """
    x, y, z, w = turn_of(state, role).T
    tilt = 2.0 * np.arctan2(np.hypot(x, y), np.hypot(z, w))
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
    apart = _angle(upward(turn_of(state, role)), upward(turn_of(state, goal)))
    apart = np.minimum(apart, np.pi - apart)
    return 1.0 - share(if_there(state, goal, if_there(state, role, apart)), limit_rad)


def _angle(a: Floats, b: Floats) -> Floats:
    """Returns the angle between rows of (N, 3), shape (N,) [rad]; 0 where a row is zero.

    Source: W. Kahan, "How futile are mindless assessments of roundoff" (2006); accurate near 0, unlike the arc cosine.
    """
    first, second = a * norm(b)[:, None], b * norm(a)[:, None]
    return np.asarray(2.0 * np.arctan2(norm(first - second), norm(first + second)))
