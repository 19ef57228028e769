"""The numbers of the second wall. Composed into `bridge.xarm.config`, used by `bridge.xarm.wall` and its brake."""

from dataclasses import dataclass

import numpy as np

from core.arrays import Floats
from core.errors import ContractError

NAMES = (
    "not_finite", "wrench", "lead", "joint_position", "joint_velocity", "joint_acceleration", "joint_jerk",
    "tcp_speed", "singularity", "workspace", "table",
)  # fmt: skip
"""Every limit of the wall by the name it reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WallLimits:
    """What no stream of joint targets may exceed, whoever asks.

    Source: UFACTORY xArm 7 user manual: pi rad/s, 20 rad/s^2, 500 rad/s^3 and 1 m/s are the arm's own, here less some.
    """

    joint_low: tuple[float, ...] = (-6.2, -2.02, -6.2, -0.09, -6.2, -1.67, -6.2)
    """Lowest joint positions [rad]; narrower than any xArm 7's own, also those from serial number 1305 on."""
    joint_high: tuple[float, ...] = (6.2, 2.0, 6.2, 3.9, 6.2, 3.12, 6.2)
    """Highest joint positions [rad]."""
    joint_speed: float = 2.5
    """[rad/s]."""
    joint_acceleration: float = 18.0
    """[rad/s^2]."""
    joint_jerk: float = 450.0
    """[rad/s^3]."""
    tcp_speed: float = 0.95
    """Of the tool centre point [m/s]."""
    workspace_low: tuple[float, float, float] = (0.10, -0.50, -0.10)
    """Lower corner of the box the tool centre point may be in, in base [m]."""
    workspace_high: tuple[float, float, float] = (0.80, 0.50, 0.75)
    """Upper corner [m]."""
    table_height_m: float = 0.0
    """Table top in base [m]."""
    tcp_clearance_m: float = 0.003
    """Lowest the tool centre point may go above the table [m]."""
    body_clearance_m: float = 0.06
    """Lowest the axes of elbow, wrist and flange may go above the table [m]; about a link's radius."""
    condition_slow: float = 25.0
    """Condition number of the Jacobian from which on joints are slowed down."""
    condition_floor: float = 60.0
    """Condition number from which on they go no slower."""
    floor_share: float = 0.15
    """Share of the speed that is left beyond it, so that the arm can be led out again."""
    force_n: float = 60.0
    """External force at the tool above which the arm holds [N]."""
    torque_nm: float = 12.0
    """External torque at the tool above which the arm holds [N m]."""
    lead_rad: float = 0.35
    """Farthest a joint target may run ahead of the measured joint [rad]; beyond it the arm holds."""

    def __post_init__(self) -> None:
        if len(self.joint_low) != len(self.joint_high) or not (np.less(self.joint_low, self.joint_high)).all():
            raise ContractError(f"joint_low {self.joint_low} must lie below joint_high {self.joint_high} [rad]")
        if not np.less(self.workspace_low, self.workspace_high).all():
            raise ContractError(f"workspace {self.workspace_low}..{self.workspace_high} [m] is empty")
        for name in (
            "joint_speed",
            "joint_acceleration",
            "joint_jerk",
            "tcp_speed",
            "force_n",
            "torque_nm",
            "lead_rad",
        ):
            if not 0.0 < getattr(self, name) < np.inf:
                raise ContractError(f"WallLimits.{name} is {getattr(self, name)}; it must be above 0 and finite")
        if not 1.0 < self.condition_slow < self.condition_floor or not 0.0 < self.floor_share <= 1.0:
            raise ContractError("1 < condition_slow < condition_floor and 0 < floor_share <= 1 are required")

    @property
    def box_low(self) -> Floats:
        """Lower corner for the tool centre point, the table's clearance included, shape (3,) [m]."""
        low = np.array(self.workspace_low)
        low[2] = max(low[2], self.table_height_m + self.tcp_clearance_m)
        return low
