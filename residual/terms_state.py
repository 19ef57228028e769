"""State-based terms: what holds of hand, things and sub-tasks. Values in [0, 1], batched over N worlds, pure.

They read ground truth, so they are for training only. Called by `residual.library`, which gives each its parameters.
"""

import numpy as np

from core.arrays import Bools, Floats
from core.scene import ROLES
from core.worlds import WorldState
from residual.terms import PARKED_BELOW_M, grips, offset, position, share, tool_distance


def always(state: WorldState) -> Floats:
    """1 for every world, dimensionless in [0, 1]; the gate of a stage without entry condition.

    Formula: 1

    Args:
        state: N worlds.

    Source: ours.
    """
    return np.ones(len(state.time_s))


def grasp_open(state: WorldState, *, role: str, near_m: float) -> Floats:
    """Openness of the gripper while the tool is away from an object, dimensionless in [0, 1]; 1 once it is there.

    Formula: 1 if d < near_m else opening, d = |tool - role|

    Args:
        state: N worlds.
        role: Who is to be grasped; one that is absent is never reached.
        near_m: Distance inside which the gripper need not be open [m].

    Source: ours.
    """
    return np.where(tool_distance(state, role) < near_m, 1.0, np.clip(state.gripper_opening, 0.0, 1.0))


def grasp_close(state: WorldState, *, role: str, near_m: float) -> Floats:
    """How far the gripper is told to close around an object, dimensionless in [0, 1]; 0 away from it, or if absent.

    Formula: 1 - command if d < near_m else 0, d = |tool - role|

    Args:
        state: N worlds.
        role: Who is to be grasped.
        near_m: Distance inside which closing counts [m].

    Source: ours.
    """
    return np.where(tool_distance(state, role) < near_m, 1.0 - np.clip(state.gripper_command, 0.0, 1.0), 0.0)


def hand_closed(state: WorldState) -> Floats:
    """How far the hand is closed, dimensionless in [0, 1]: 1 with the fingers together, as for a push.

    Formula: 1 - opening

    Args:
        state: N worlds.

    Source: ours.
    """
    return np.asarray(1.0 - np.clip(state.gripper_opening, 0.0, 1.0))


def held(state: WorldState, *, role: str, near_m: float, gap_share: float) -> Floats:
    """Whether an object sits between fingers told to close, 0 or 1, dimensionless in [0, 1]; 0 if absent.

    Formula: 1 if d < near_m and command < 0.5 and opening - command > gap_share else 0, d = |tool - role|

    Args:
        state: N worlds.
        role: Who should be held.
        near_m: Largest distance from the tool centre point to its centre [m].
        gap_share: How much wider than commanded the hand must stay, as a share of its stroke; thin things need less.

    Source: ours; a gripper that stays wider than commanded has something between its fingers.
    """
    return grips(state, position(state, role), near_m, gap_share).astype(np.float64)


def released(state: WorldState, *, role: str, near_m: float) -> Floats:
    """How free an object is of the gripper, dimensionless in [0, 1]; 1 when the tool is away, or the object absent.

    Formula: max(opening, clip((d - near_m) / near_m)), d = |tool - role|

    Args:
        state: N worlds.
        role: Who should be let go.
        near_m: Distance from which the opening stops to matter; beyond twice this it is free [m].

    Source: ours.
    """
    return np.maximum(np.clip(state.gripper_opening, 0.0, 1.0), share(tool_distance(state, role) - near_m, near_m))


def is_open(state: WorldState, *, role: str, goal: str, heading_rad: float, closed_m: float, travel_m: float) -> Floats:
    """How far something that slides is open, as a share of a wanted travel, dimensionless in [0, 1]; 0 if absent.

    Formula: clip((s - closed_m) / travel_m), s = (role_xy - goal_xy) . (cos heading_rad, sin heading_rad)

    Args:
        state: N worlds.
        role: What slides, or its handle.
        goal: What it slides in.
        heading_rad: Direction of opening about z of the base; pi is towards the robot [rad].
        closed_m: Displacement s when closed [m].
        travel_m: Further displacement that counts as open [m].

    Source: Reflective Self-Adaptation, component is_open(obj), graded.
    """
    along, known = _along(state, role, goal, heading_rad)
    return np.where(known, share(along - closed_m, travel_m), 0.0)


def is_closed(
    state: WorldState, *, role: str, goal: str, heading_rad: float, closed_m: float, travel_m: float
) -> Floats:
    """How far something that slides is closed: 1 closed, 0 at its travel or more, dimensionless in [0, 1]; 0 if absent.

    Formula: 1 - clip((s - closed_m) / travel_m), s = (role_xy - goal_xy) . (cos heading_rad, sin heading_rad)

    Args:
        state: N worlds.
        role: What slides, or its handle.
        goal: What it slides in.
        heading_rad: Direction of opening about z of the base; pi is towards the robot [rad].
        closed_m: Displacement s up to which it is closed [m].
        travel_m: Further displacement at which nothing is left [m].

    Source: Reflective Self-Adaptation, component is_open(obj), its opposite, graded.
    """
    along, known = _along(state, role, goal, heading_rad)
    return np.where(known, 1.0 - share(along - closed_m, travel_m), 0.0)


def gone(state: WorldState, *, role: str) -> Floats:
    """Whether an object has left the table, as a wiped stain has: 0 or 1, dimensionless in [0, 1]; 0 for nobody.

    Formula: 1 if role_z < -0.1 m else 0

    Args:
        state: N worlds.
        role: Who should vanish.

    Source: ours.
    """
    given = state.roles[:, ROLES.index(role)] >= 0
    return (given & (state.of(role)[:, 2] < PARKED_BELOW_M)).astype(np.float64)


def subtasks_done(state: WorldState, *, wanted_count: float) -> Floats:
    """Sub-tasks done in order as a share of a wanted number, dimensionless in [0, 1].

    Formula: clip(subtask / wanted_count)

    Args:
        state: N worlds.
        wanted_count: How many should be done, counted from the first.

    Source: ours.
    """
    return share(state.subtask.astype(np.float64), wanted_count)


def _along(state: WorldState, role: str, goal: str, heading_rad: float) -> tuple[Floats, Bools]:
    """Returns how far `role` is from `goal` along a heading (N,) [m], and where both are there."""
    away = offset(state, role, goal)[:, :2]
    known = np.isfinite(away[:, 0])
    return np.where(known[:, None], away, 0.0) @ np.array([np.cos(heading_rad), np.sin(heading_rad)]), known
