"""Kinematic and contact terms: how fast joints move, what the hand and things press. Values in [0, 1], batched, pure.

They read ground truth, so they are for training only. Called by `residual.library`, which gives each its parameters.
"""

import numpy as np

from core.arrays import Floats
from core.worlds import WorldState
from residual.terms import share


def still(state: WorldState, *, speed_rad_s: float) -> Floats:
    """How still the joints are, dimensionless in [0, 1]: 1 at rest, 0 at the speed.

    Formula: 1 - clip(max |joint speed| / speed_rad_s)

    Args:
        state: N worlds.
        speed_rad_s: Largest joint speed at which nothing is left [rad/s].

    Source: Reflective Self-Adaptation, component control_velocity(v).
    """
    return 1.0 - share(np.abs(state.joint_vel).max(axis=1), speed_rad_s)


def pressing(state: WorldState, *, low_n: float, high_n: float) -> Floats:
    """Whether the task's two objects press each other inside a band of force, dimensionless in [0, 1]: 1 inside it.

    Formula: clip(F / low_n) * [1 - clip((F - high_n) / high_n)], F = pressing force

    Args:
        state: N worlds.
        low_n: Force from which it is enough; below, the share of it counts [N].
        high_n: Force up to which it is not too much; at twice this nothing is left [N].

    Source: ours; a force band as in hybrid force and position control (Raibert and Craig 1981).
    """
    return share(state.pressed_n, low_n) * (1.0 - share(state.pressed_n - high_n, high_n))


def gentle(state: WorldState, *, limit_n: float) -> Floats:
    """How gently arm and hand touch what they do not hold, dimensionless in [0, 1]: 1 without contact, 0 at the limit.

    Formula: 1 - clip(F / limit_n), F = largest contact force of the arm and hand but for the grasped object

    Args:
        state: N worlds.
        limit_n: Force at which nothing is left [N].

    Source: ours.
    """
    return 1.0 - share(state.contact_force_n, limit_n)
