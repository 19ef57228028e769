"""Penalties of the reward library: what a step cost, each in [-1, 0], batched over N worlds.

Every function is pure. Called by `residual.library`, which gives each its parameter schema.
"""

from dataclasses import dataclass

import numpy as np

from core.arrays import Floats
from core.robots import EE_DELTA
from core.worlds import WorldState
from residual.terms import PARKED_BELOW_M, position, tilt_rad


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One control step of N worlds, as a penalty sees it."""

    prev: WorldState
    state: WorldState
    action: Floats
    """Residual taken between them, dimensionless in [-1, 1], shape (N, A)."""
    prev_action: Floats
    """Residual of the step before, shape (N, A); zeros at the start."""


def elapsed(step: Transition) -> Floats:
    """Returns -1 for every step, dimensionless: time is not free.

    Args:
        step: N transitions.
    """
    return np.full(len(step.action), -1.0)


def effort(step: Transition) -> Floats:
    """Mean square of the correction, in [-1, 0]; falls as the correction grows.

    Args:
        step: N transitions.

    Source: quadratic control cost of the linear-quadratic regulator, divided by the number of dims.
    """
    return np.asarray(-np.mean(np.square(np.clip(step.action, -1.0, 1.0)), axis=1))


def jerkiness(step: Transition) -> Floats:
    """Mean square of the change of the correction over a quarter, in [-1, 0]; falls as it changes faster.

    Args:
        step: N transitions.

    Source: action-rate cost, common in legged locomotion (Rudin et al. 2022); 4 is the largest square of a change.
    """
    change = np.clip(step.action, -1.0, 1.0) - np.clip(step.prev_action, -1.0, 1.0)
    return np.asarray(-np.mean(np.square(change), axis=1) / 4.0)


def speeding(step: Transition, *, limit_m_s: float) -> Floats:
    """Tool speed above a limit, as a share of the limit, in [-1, 0]; falls with speed.

    Args:
        step: N transitions.
        limit_m_s: Speed up to which nothing is charged [m/s]; at twice this the charge is full.

    Source: Reflective Self-Adaptation, component control_velocity(v).
    """
    moved = np.linalg.norm(step.state.tcp_pos_in_base - step.prev.tcp_pos_in_base, axis=1)
    return np.asarray(-np.clip(moved / EE_DELTA.dt_s / limit_m_s - 1.0, 0.0, 1.0))


def collision_force(step: Transition, *, limit_n: float) -> Floats:
    """Largest unwanted contact force as a share of a limit, in [-1, 0]; falls with force.

    Args:
        step: N transitions.
        limit_n: Force at which the charge is full [N].

    Source: ours.
    """
    return -np.clip(step.state.contact_force_n / limit_n, 0.0, 1.0)


def off_table(step: Transition, *, role: str) -> Floats:
    """-1 in the step in which an object falls from the table, else 0.

    Args:
        step: N transitions.
        role: Who must stay on the table.

    Source: ours; an object has fallen when its centre drops below the table top by its own size.
    """
    return -(fallen(step.state, role) & ~fallen(step.prev, role)).astype(np.float64)


def disturbed(step: Transition, *, role: str, scale_m: float) -> Floats:
    """How far an object that should stay was moved in this step, in [-1, 0]; falls with the distance.

    Args:
        step: N transitions.
        role: Who should stay where it is.
        scale_m: Displacement in one step at which the charge is full [m].

    Source: ours.
    """
    moved = np.linalg.norm(step.state.of(role) - step.prev.of(role), axis=1)
    return np.asarray(-np.clip(np.nan_to_num(moved) / scale_m, 0.0, 1.0))


def intrusion(step: Transition, *, role: str, margin_m: float) -> Floats:
    """How deep the tool is inside the margin of what must not be touched, in [-1, 0]; falls with depth.

    Args:
        step: N transitions.
        role: Whom to keep clear of.
        margin_m: Distance from its centre up to which a charge is due [m].

    Source: Reflective Self-Adaptation, component avoid(obstacle, margin), as a cost.
    """
    distance = np.linalg.norm(position(step.state, role) - step.state.tcp_pos_in_base, axis=1)
    return np.asarray(np.clip(distance / margin_m, 0.0, 1.0) - 1.0)


def tilted(step: Transition, *, limit_rad: float) -> Floats:
    """Square of the tool's tilt as a share of a limit, in [-1, 0]; falls with tilt.

    Args:
        step: N transitions.
        limit_rad: Turn away from straight down at which the charge is full [rad].

    Source: quadratic orientation cost.
    """
    return -np.square(np.clip(tilt_rad(step.state) / limit_rad, 0.0, 1.0))


def fallen(state: WorldState, role: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Returns whether the object in `role` fell from the table, shape (N,); a parked one counts as fallen."""
    return np.asarray(state.of(role)[:, 2] < PARKED_BELOW_M * 0.3, dtype=bool)
