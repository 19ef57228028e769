"""What the terms of the reward library read off a state: where a role is, how it is turned, how far the tool is.

A role that no object has, or whose object is parked below the table, is infinitely far away: these functions give
infinity, never NaN, and the terms turn infinity into the end of their range that their docstring names. Called by
`residual.terms_*`, `residual.penalties` and `residual.features`.
"""

import numpy as np

from core.arrays import Bools, Floats
from core.scene import ROLES
from core.worlds import WorldState

PARKED_BELOW_M = -0.1
"""An object whose centre is lower than this is not on the table [m]; absent objects are parked there."""
GRIP_GAP = 0.06
"""A gripper this much wider than commanded has something between its fingers, dimensionless."""


def position(state: WorldState, role: str) -> Floats:
    """Returns positions (N, 3) [m] of `role`, infinite where it is not on the table."""
    pos = state.of(role)
    absent = ~(pos[:, 2] > PARKED_BELOW_M)
    return np.where(absent[:, None], np.inf, pos)


def offset(state: WorldState, role: str, goal: str) -> Floats:
    """Returns `role` minus `goal` in base axes (N, 3) [m], infinite where either is not on the table."""
    here, there = state.of(role), state.of(goal)
    known = (here[:, 2] > PARKED_BELOW_M) & (there[:, 2] > PARKED_BELOW_M)
    return np.where(known[:, None], here - there, np.inf)


def tool_distance(state: WorldState, role: str) -> Floats:
    """Returns the distance of the tool centre point from the centre of `role`, shape (N,) [m]."""
    return norm(position(state, role) - state.tcp_pos_in_base)


def grips(state: WorldState, centre: Floats, near_m: float, gap_share: float = GRIP_GAP) -> Bools:
    """Returns whether fingers told to close are kept apart by something at `centre` (N, 3) [m], shape (N,)."""
    blocked = (state.gripper_command < 0.5) & (state.gripper_opening - state.gripper_command > gap_share)
    return np.asarray(blocked & (norm(centre - state.tcp_pos_in_base) < near_m))


def tilt_rad(state: WorldState) -> Floats:
    """Returns the angle of the tool's z axis from straight down, whatever its heading, shape (N,) [rad]."""
    x, y, z, w = state.tcp_quat_xyzw_in_base.T
    return np.asarray(2.0 * np.arctan2(np.hypot(z, w), np.hypot(x, y)))


def turn_of(state: WorldState, role: str) -> Floats:
    """Returns the rotation of the object in `role` in base, xyzw, shape (N, 4); none where nobody is."""
    index = state.roles[:, ROLES.index(role)]
    quat = state.object_quat_xyzw_in_base[np.arange(len(index)), index]
    return np.where(index[:, None] >= 0, quat, np.array([0.0, 0.0, 0.0, 1.0]))


def upward(quat_xyzw: Floats) -> Floats:
    """Returns the z axes of things turned by `quat_xyzw` (N, 4), in base, shape (N, 3)."""
    x, y, z, w = quat_xyzw.T
    return np.stack([2.0 * (x * z + y * w), 2.0 * (y * z - x * w), 1.0 - 2.0 * (x * x + y * y)], axis=1)


def heading_of(quat_xyzw: Floats) -> Floats:
    """Returns the headings about z of the x axes of things turned by `quat_xyzw` (N, 4), shape (N,) [rad]."""
    x, y, z, w = quat_xyzw.T
    return np.asarray(np.arctan2(2.0 * (x * y + z * w), 1.0 - 2.0 * (y * y + z * z)))


def if_there(state: WorldState, role: str, angle: Floats) -> Floats:
    """Returns `angle` (N,) [rad], infinite where `role` is not on the table."""
    return np.where(np.isfinite(position(state, role)[:, 2]), angle, np.inf)


def norm(vector: Floats) -> Floats:
    """Returns Euclidean lengths of rows (N, K), shape (N,)."""
    return np.asarray(np.sqrt(np.einsum("ni,ni->n", vector, vector)))


def kernel(distance: Floats, scale: float) -> Floats:
    """Returns 1 at distance 0, 0.24 at `scale`, 0 far away."""
    return np.asarray(1.0 - np.tanh(distance / scale), dtype=np.float64)


def smooth(x: Floats) -> Floats:
    """Returns the smooth step 3x^2 - 2x^3 of x clipped to [0, 1]."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x), dtype=np.float64)


def share(x: Floats, full: float) -> Floats:
    """Returns x / full, clipped to [0, 1]."""
    return np.asarray(np.clip(x / full, 0.0, 1.0), dtype=np.float64)
