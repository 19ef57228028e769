"""Penalties of the reward library: what a step cost, each in [-1, 0], batched over N worlds, pure.

A penalty about an object follows the one that had the role *before* the step, so that a role that passes to another
object in the step charges nothing. Nobody in the role, or an object that is not on the table, costs nothing. Penalties
of motion are in `residual.penalties_motion`. Called by `residual.library`, which gives each its parameters.
"""

from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Bools, Floats
from core.robots import EE_DELTA
from core.worlds import WorldState
from residual.terms import PARKED_BELOW_M, grips, norm, position, share


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One control step of N worlds, as a penalty sees it."""

    prev: WorldState
    state: WorldState
    action: Floats
    """Residual taken between them, dimensionless in [-1, 1], shape (N, A)."""
    prev_action: Floats
    """Residual of the step before, shape (N, A); zeros at the start."""

    @property
    def tool_speed_m_s(self) -> Floats:
        """Mean speed of the tool centre point over the step, shape (N,) [m/s]."""
        return norm(self.state.tcp_pos_in_base - self.prev.tcp_pos_in_base) / EE_DELTA.dt_s

    @property
    def after(self) -> WorldState:
        """The state after the step with who was who before it; as it is where the two share their roles array."""
        if self.state.roles is self.prev.roles:
            return self.state
        return replace(self.state, roles=self.prev.roles)

    def later(self, role: str) -> Floats:
        """Returns where the object that had `role` before the step is after it, (N, 3) [m], infinite if absent."""
        return position(self.after, role)

    def moved(self, role: str) -> Floats:
        """Returns how the object that had `role` before the step moved in it, (N, 3) [m], 0 where it is absent."""
        here, there = position(self.prev, role), self.later(role)
        known = np.isfinite(here) & np.isfinite(there)
        return np.where(known, there, 0.0) - np.where(known, here, 0.0)

    def moved_from_tool(self, role: str) -> Floats:
        """Returns how it moved from the tool, (N, 3) [m]; where it is absent, how the tool moved from its place."""
        return self.moved(role) - (self.state.tcp_pos_in_base - self.prev.tcp_pos_in_base)


def collision_force(step: Transition, *, limit_n: float) -> Floats:
    """Charges the largest unwanted contact force as a share of a limit, dimensionless in [-1, 0].

    Formula: -clip(F / limit_n), F = largest contact force of the arm and hand but for the grasped object

    Args:
        step: N transitions.
        limit_n: Force at which the charge is full [N].

    Source: ours.
    """
    return -share(step.state.contact_force_n, limit_n)


def overpressed(step: Transition, *, limit_n: float) -> Floats:
    """Charges the force of the task's two pressed objects above a limit as a share of it, dimensionless in [-1, 0].

    Formula: -clip((F - limit_n) / limit_n), F = pressing force

    Args:
        step: N transitions.
        limit_n: Force up to which nothing is charged; at twice this the charge is full [N].

    Source: ours; the upper side of the band of `pressing`.
    """
    return -share(step.state.pressed_n - limit_n, limit_n)


def slipped(step: Transition, *, role: str, near_m: float, scale_m: float) -> Floats:
    """Charges how far a held object moved in the hand in this step, dimensionless in [-1, 0].

    Nothing is charged once the hand is told to open.

    Formula: -clip(m / scale_m) while held, m = |change of (role - tool)|

    Args:
        step: N transitions.
        role: Who is held.
        near_m: Largest distance from the tool centre point to its centre at which it is held [m].
        scale_m: Movement in one step at which the charge is full [m].

    Source: ours.
    """
    counted = grips(step.prev, position(step.prev, role), near_m) & (step.state.gripper_command < 0.5)
    counted &= np.isfinite(step.later(role)[:, 2])
    return np.where(counted, -share(norm(step.moved_from_tool(role)), scale_m), 0.0)


def off_table(step: Transition, *, role: str) -> Floats:
    """Charges -1 in the step in which an object falls from the table, else 0, dimensionless in [-1, 0].

    Formula: -1 if role_z fell below -0.03 m in this step else 0

    Args:
        step: N transitions.
        role: Who must stay on the table.

    Source: ours; an object has fallen when its centre drops below the table top by its own size.
    """
    return -(fallen(step.after, role) & ~fallen(step.prev, role)).astype(np.float64)


def disturbed(step: Transition, *, role: str, scale_m: float) -> Floats:
    """Charges how far an object that should stay was moved in this step, dimensionless in [-1, 0].

    Formula: -clip(m / scale_m), m = |role after - role before|

    Args:
        step: N transitions.
        role: Who should stay where it is.
        scale_m: Displacement in one step at which the charge is full [m].

    Source: ours.
    """
    return -share(norm(step.moved(role)), scale_m)


def intrusion(step: Transition, *, role: str, margin_m: float) -> Floats:
    """Charges how deep the tool is inside the margin of what must not be touched, dimensionless in [-1, 0].

    Formula: clip(d / margin_m) - 1, d = |tool - role|

    Args:
        step: N transitions.
        role: Whom to keep clear of.
        margin_m: Distance from its centre up to which a charge is due [m].

    Source: Reflective Self-Adaptation, component avoid(obstacle, margin), as a cost.
    """
    return share(norm(position(step.state, role) - step.state.tcp_pos_in_base), margin_m) - 1.0


def fallen(state: WorldState, role: str) -> Bools:
    """Returns whether the object in `role` fell from the table, shape (N,); a parked one counts as fallen."""
    return np.asarray(state.of(role)[:, 2] < PARKED_BELOW_M * 0.3, dtype=bool)
