"""Positional terms about the tool: where it is from an object. Values in [0, 1], batched over N worlds, pure.

They read ground truth, so they are for training only. Called by `residual.library`, which gives each its parameters.
"""

import numpy as np

from core.arrays import Floats
from core.worlds import WorldState
from residual.terms import kernel, norm, position, share, smooth, tool_distance


def approach(state: WorldState, *, role: str, height_m: float, scale_m: float) -> Floats:
    """Closeness of the tool to a point above an object, dimensionless in [0, 1]; 0 when the object is absent.

    Formula: 1 - tanh(d / scale_m), d = |tool - role - (0, 0, height_m)|

    Args:
        state: N worlds.
        role: Who is approached.
        height_m: How far above its centre the point lies [m].
        scale_m: Distance at which 0.24 is left [m].

    Source: the tanh distance kernel is common in manipulation benchmarks (robosuite, Zhu et al. 2020).
    """
    point = position(state, role) + np.array([0.0, 0.0, height_m])
    return kernel(norm(point - state.tcp_pos_in_base), scale_m)


def align(state: WorldState, *, role: str, scale_m: float) -> Floats:
    """Closeness of the tool to the vertical line through an object, dimensionless in [0, 1]; 0 when it is absent.

    Formula: 1 - tanh(d / scale_m), d = |tool_xy - role_xy|

    Args:
        state: N worlds.
        role: Above whom the tool should be.
        scale_m: Horizontal distance at which 0.24 is left [m].

    Source: Reflective Self-Adaptation, component align(a, b); same kernel as `approach`.
    """
    return kernel(norm((position(state, role) - state.tcp_pos_in_base)[:, :2]), scale_m)


def near(state: WorldState, *, role: str, radius_m: float) -> Floats:
    """Whether the tool is at an object, dimensionless in [0, 1]: 1 inside the radius, 0 from twice the radius on.

    Formula: 1 - smooth((d - radius_m) / radius_m), d = |tool - role|

    Args:
        state: N worlds.
        role: At whom; one that is absent is not reached (0).
        radius_m: Largest distance from its centre that counts as there [m].

    Source: ours; the smooth step 3x^2 - 2x^3 (Hermite).
    """
    return 1.0 - smooth((tool_distance(state, role) - radius_m) / radius_m)


def behind(
    state: WorldState, *, role: str, heading_rad: float, distance_m: float, height_m: float, scale_m: float
) -> Floats:
    """Closeness of the tool to where an object is pushed from, dimensionless in [0, 1]; 0 when it is absent.

    Formula: 1 - tanh(d / scale_m), d = |tool - role - p|, p = (-distance_m * heading, height_m)

    Args:
        state: N worlds.
        role: Who is to be pushed.
        heading_rad: Direction of the push about z of the base, 0 is away from the robot [rad].
        distance_m: How far behind its centre the tool should be [m].
        height_m: How far above its centre [m].
        scale_m: Distance at which 0.24 is left [m].

    Source: ours; same kernel as `approach`.
    """
    back = distance_m * np.array([np.cos(heading_rad), np.sin(heading_rad), 0.0])
    point = position(state, role) - back + np.array([0.0, 0.0, height_m])
    return kernel(norm(point - state.tcp_pos_in_base), scale_m)


def retreat(state: WorldState, *, role: str, distance_m: float) -> Floats:
    """Distance of the tool from an object as a share of a wanted one, dimensionless in [0, 1]; 1 when it is absent.

    Formula: clip(d / distance_m), d = |tool - role|

    Args:
        state: N worlds.
        role: From whom.
        distance_m: Wanted distance [m].

    Source: ours.
    """
    return share(tool_distance(state, role), distance_m)


def avoid(state: WorldState, *, role: str, margin_m: float) -> Floats:
    """Distance of the tool from what must not be touched, dimensionless in [0, 1]: 1 outside the margin, or if absent.

    Formula: smooth(d / margin_m), d = |tool - role|

    Args:
        state: N worlds.
        role: Whom to keep clear of.
        margin_m: Distance from its centre that is enough [m].

    Source: Reflective Self-Adaptation, component avoid(obstacle, margin).
    """
    return smooth(tool_distance(state, role) / margin_m)


def clearance(state: WorldState, *, role: str, radius_m: float, height_m: float) -> Floats:
    """Height of the tool over an obstacle it is above, dimensionless in [0, 1]: 1 aside of it, high enough, or absent.

    Formula: max(smooth(d / radius_m), clip(h / height_m)), d = |tool_xy - role_xy|, h = tool_z - role_z

    Args:
        state: N worlds.
        role: The obstacle.
        radius_m: Horizontal distance inside which height matters [m].
        height_m: Height of the tool above the obstacle's centre that is enough [m].

    Source: ours.
    """
    away = state.tcp_pos_in_base - position(state, role)
    return np.maximum(smooth(norm(away[:, :2]) / radius_m), share(away[:, 2], height_m))
