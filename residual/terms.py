"""Value terms of the reward library: what is good about a state, each in [0, 1], batched over N worlds.

Every function is pure and reads ground truth, so it is for training only. A role that no object has (or an object
parked below the table) is infinitely far away. Called by `residual.library`, which gives each its parameter schema.
"""

import numpy as np

from core.arrays import Floats
from core.demonstrations import DOWN_XYZW
from core.transforms import quat_conjugate, quat_multiply, rotvec_from_quat
from core.worlds import WorldState

PARKED_BELOW_M = -0.1
"""An object whose centre is lower than this is not on the table [m]; absent objects are parked there."""
GRIP_GAP = 0.06
"""A gripper this much wider than commanded has something between its fingers, dimensionless."""


def always(state: WorldState) -> Floats:
    """Returns 1 for every world, dimensionless; the gate of a stage without entry condition.

    Args:
        state: N worlds.
    """
    return np.ones(len(state.time_s))


def approach(state: WorldState, *, role: str, height_m: float, scale_m: float) -> Floats:
    """Closeness of the tool to a point above an object, in [0, 1]; falls as the distance grows.

    Args:
        state: N worlds.
        role: Who is approached.
        height_m: How far above its centre the point lies [m].
        scale_m: Distance at which 0.24 is left [m].

    Source: the tanh distance kernel is common in manipulation benchmarks (robosuite, Zhu et al. 2020).
    """
    point = position(state, role) + np.array([0.0, 0.0, height_m])
    return _kernel(_norm(point - state.tcp_pos_in_base), scale_m)


def align(state: WorldState, *, role: str, scale_m: float) -> Floats:
    """Closeness of the tool to the vertical line through an object, in [0, 1]; falls with horizontal distance.

    Args:
        state: N worlds.
        role: Above whom the tool should be.
        scale_m: Horizontal distance at which 0.24 is left [m].

    Source: Reflective Self-Adaptation, component align(a, b); same kernel as `approach`.
    """
    return _kernel(_norm((position(state, role) - state.tcp_pos_in_base)[:, :2]), scale_m)


def near(state: WorldState, *, role: str, radius_m: float) -> Floats:
    """Whether the tool is at an object: 1 inside the radius, falling smoothly to 0 at twice the radius.

    Args:
        state: N worlds.
        role: At whom.
        radius_m: Largest distance from its centre that counts as there [m].

    Source: ours; the smooth step 3x^2 - 2x^3 (Hermite).
    """
    return 1.0 - _smooth((_tool_distance(state, role) - radius_m) / radius_m)


def grasp_open(state: WorldState, *, role: str, near_m: float) -> Floats:
    """Openness of the gripper while the tool is away from an object, in [0, 1]; 1 once it is there.

    Args:
        state: N worlds.
        role: Who is to be grasped.
        near_m: Distance inside which the gripper need not be open [m].

    Source: ours; rises with the opening outside `near_m`.
    """
    return np.where(_tool_distance(state, role) < near_m, 1.0, np.clip(state.gripper_opening, 0.0, 1.0))


def grasp_close(state: WorldState, *, role: str, near_m: float) -> Floats:
    """How far the gripper is told to close around an object, in [0, 1]; 0 while the tool is away from it.

    Args:
        state: N worlds.
        role: Who is to be grasped.
        near_m: Distance inside which closing counts [m].

    Source: ours; falls as the commanded opening rises.
    """
    return np.where(_tool_distance(state, role) < near_m, 1.0 - np.clip(state.gripper_command, 0.0, 1.0), 0.0)


def held(state: WorldState, *, role: str, near_m: float) -> Floats:
    """Whether an object sits between fingers told to close, 0 or 1.

    Args:
        state: N worlds.
        role: Who should be held.
        near_m: Largest distance from the tool centre point to its centre [m].

    Source: ours; a gripper that stays wider than commanded has something between its fingers.
    """
    blocked = (state.gripper_command < 0.5) & (state.gripper_opening - state.gripper_command > GRIP_GAP)
    return (blocked & (_tool_distance(state, role) < near_m)).astype(np.float64)


def lift(state: WorldState, *, role: str, rest_m: float, height_m: float) -> Floats:
    """Height of an object above where it rests on the table, as a share of a wanted height, in [0, 1]; rises.

    Args:
        state: N worlds.
        role: Who should be lifted.
        rest_m: Height of its centre when it lies on the table [m].
        height_m: Wanted height above that [m].

    Source: ours.
    """
    height = np.nan_to_num(position(state, role)[:, 2], nan=rest_m, posinf=rest_m)
    return np.clip((height - rest_m) / height_m, 0.0, 1.0)


def transport(state: WorldState, *, role: str, goal: str, scale_m: float) -> Floats:
    """Horizontal closeness of an object to where it belongs, in [0, 1]; falls with the distance.

    Args:
        state: N worlds.
        role: Who is carried.
        goal: Where to.
        scale_m: Horizontal distance at which 0.24 is left [m].

    Source: same kernel as `approach`.
    """
    return _kernel(_between(state, role, goal), scale_m)


def over_goal(state: WorldState, *, role: str, goal: str, radius_m: float) -> Floats:
    """Whether an object is above its goal: 1 inside the radius, falling smoothly to 0 at twice the radius.

    Args:
        state: N worlds.
        role: Who is carried.
        goal: Where to.
        radius_m: Largest horizontal distance that counts [m].

    Source: ours; smooth step as in `near`.
    """
    return 1.0 - _smooth((_between(state, role, goal) - radius_m) / radius_m)


def lower(state: WorldState, *, role: str, goal: str, height_m: float) -> Floats:
    """How low an object is above its goal, in [0, 1]: 1 at its goal's height, 0 at `height_m` above; falls.

    Args:
        state: N worlds.
        role: Who is put down.
        goal: On what.
        height_m: Height of its centre above the goal's centre at which nothing is left [m].

    Source: ours.
    """
    return 1.0 - np.clip(_above(state, role, goal) / height_m, 0.0, 1.0)


def on_goal(state: WorldState, *, role: str, goal: str, radius_m: float, height_m: float) -> Floats:
    """Whether an object lies on its goal, in [0, 1]: horizontally inside the radius and not above the height.

    Falls smoothly to 0 at five quarters of the radius, and at one and a half times the height.

    Args:
        state: N worlds.
        role: Who should lie there.
        goal: On what.
        radius_m: Largest horizontal distance between the centres [m].
        height_m: Largest height of its centre above the goal's centre [m].

    Source: ours; product of two smooth steps.
    """
    low = 1.0 - _smooth((_above(state, role, goal) - height_m) / (0.5 * height_m))
    return low * (1.0 - _smooth((_between(state, role, goal) - radius_m) / (0.25 * radius_m)))


def released(state: WorldState, *, role: str, near_m: float) -> Floats:
    """How free an object is of the gripper, in [0, 1]: rises with the opening, 1 when the tool is away.

    Args:
        state: N worlds.
        role: Who should be let go.
        near_m: Distance from which the opening stops to matter; beyond twice this it is free [m].

    Source: ours.
    """
    away = np.clip((_tool_distance(state, role) - near_m) / near_m, 0.0, 1.0)
    return np.maximum(np.clip(state.gripper_opening, 0.0, 1.0), away)


def retreat(state: WorldState, *, role: str, distance_m: float) -> Floats:
    """Distance of the tool from an object as a share of a wanted distance, in [0, 1]; rises.

    Args:
        state: N worlds.
        role: From whom.
        distance_m: Wanted distance [m].

    Source: ours.
    """
    return np.clip(_tool_distance(state, role) / distance_m, 0.0, 1.0)


def avoid(state: WorldState, *, role: str, margin_m: float) -> Floats:
    """Distance of the tool from what must not be touched, in [0, 1]: 1 outside the margin; rises with distance.

    Args:
        state: N worlds.
        role: Whom to keep clear of.
        margin_m: Distance from its centre that is enough [m].

    Source: Reflective Self-Adaptation, component avoid(obstacle, margin).
    """
    return _smooth(_tool_distance(state, role) / margin_m)


def clearance(state: WorldState, *, role: str, radius_m: float, height_m: float) -> Floats:
    """Height of the tool over an obstacle it is above, in [0, 1]: 1 outside its radius or high enough; rises.

    Args:
        state: N worlds.
        role: The obstacle.
        radius_m: Horizontal distance inside which height matters [m].
        height_m: Height of the tool above the obstacle's centre that is enough [m].

    Source: ours.
    """
    offset = state.tcp_pos_in_base - position(state, role)
    aside = _smooth(_norm(offset[:, :2]) / radius_m)
    return np.maximum(aside, np.clip(offset[:, 2] / height_m, 0.0, 1.0))


def upright(state: WorldState, *, limit_rad: float) -> Floats:
    """How straight down the tool points, in [0, 1]: 1 at no tilt, 0 at the limit; falls with tilt.

    Args:
        state: N worlds.
        limit_rad: Turn away from straight down at which nothing is left [rad].

    Source: Reflective Self-Adaptation, component maintain_orientation(quat), with the rotation angle as the error.
    """
    return np.asarray(1.0 - np.clip(tilt_rad(state) / limit_rad, 0.0, 1.0))


def still(state: WorldState, *, speed_rad_s: float) -> Floats:
    """How still the joints are, in [0, 1]: 1 at rest, 0 at the speed; falls.

    Args:
        state: N worlds.
        speed_rad_s: Largest joint speed at which nothing is left [rad/s].

    Source: Reflective Self-Adaptation, component control_velocity(v).
    """
    return np.asarray(1.0 - np.clip(np.abs(state.joint_vel).max(axis=1) / speed_rad_s, 0.0, 1.0))


def position(state: WorldState, role: str) -> Floats:
    """Returns positions (N, 3) [m] of `role`, infinite where it is not on the table."""
    pos = state.of(role)
    absent = ~(pos[:, 2] > PARKED_BELOW_M)
    return np.where(absent[:, None], np.inf, pos)


def tilt_rad(state: WorldState) -> Floats:
    """Returns the tool's turn away from straight down, shape (N,) [rad]."""
    return _norm(rotvec_from_quat(quat_multiply(state.tcp_quat_xyzw_in_base, quat_conjugate(DOWN_XYZW))))


def _tool_distance(state: WorldState, role: str) -> Floats:
    return _norm(position(state, role) - state.tcp_pos_in_base)


def _between(state: WorldState, role: str, goal: str) -> Floats:
    offset = state.of(role)[:, :2] - position(state, goal)[:, :2]
    return _far_if_absent(_norm(offset))


def _above(state: WorldState, role: str, goal: str) -> Floats:
    return _far_if_absent(state.of(role)[:, 2] - state.of(goal)[:, 2])


def _far_if_absent(distance: Floats) -> Floats:
    return np.where(np.isnan(distance), np.inf, distance)


def _norm(offset: Floats) -> Floats:
    return np.asarray(np.sqrt(np.einsum("ni,ni->n", offset, offset)))


def _kernel(distance: Floats, scale_m: float) -> Floats:
    return np.asarray(1.0 - np.tanh(distance / scale_m), dtype=np.float64)


def _smooth(x: Floats) -> Floats:
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x), dtype=np.float64)
