"""What a robot can do and how far a residual may move it."""

from dataclasses import dataclass

import numpy as np

from core.arrays import Floats, floats, in_range
from core.errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotSpec:
    """Names and limits of one arm."""

    name: str
    joint_names: tuple[str, ...]
    """J names, base to flange."""
    joint_low: Floats
    """Shape (J,) [rad]."""
    joint_high: Floats
    """Shape (J,) [rad]."""
    joint_vel_max: Floats
    """Shape (J,) [rad/s]."""
    joint_acc_max: Floats
    """Shape (J,) [rad/s^2]."""
    tcp_speed_max: float
    """Largest speed of the tool centre point [m/s]."""

    def __post_init__(self) -> None:
        j = (len(self.joint_names),)
        for name in ("joint_low", "joint_high", "joint_vel_max", "joint_acc_max"):
            object.__setattr__(self, name, floats(name, getattr(self, name), j))
        if not (self.joint_low < self.joint_high).all():
            raise ContractError(f"joint_low {self.joint_low} must lie below joint_high {self.joint_high} [rad]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionSpace:
    """The action: a change of the commanded tool pose in base during one control period, and the gripper.

    Dims: dx dy dz [m], drx dry drz [rad] (rotation vector in base axes), gripper opening [0 closed, 1 open].
    """

    names: tuple[str, ...]
    """A names."""
    units: tuple[str, ...]
    """A units."""
    low: Floats
    """Shape (A,), in `units`."""
    high: Floats
    """Shape (A,), in `units`."""
    dt_s: float
    """Control period that one action spans [s]."""

    def __post_init__(self) -> None:
        a = (len(self.names),)
        object.__setattr__(self, "low", floats("low", self.low, a))
        object.__setattr__(self, "high", floats("high", self.high, a))
        if len(self.units) != len(self.names) or not (self.low < self.high).all():
            raise ContractError(f"action space {self.names}: one unit per name and low < high are required")
        in_range("dt_s [s]", self.dt_s, 1e-4, 10.0)

    @property
    def size(self) -> int:
        """A, the number of action dims."""
        return len(self.names)

    def normalise(self, action: Floats) -> Floats:
        """Returns `action` (..., A) on [-1, 1], not clipped."""
        return (action - self.low) / (self.high - self.low) * 2.0 - 1.0

    def denormalise(self, unit: Floats) -> Floats:
        """Returns actions (..., A) in `units` from values on [-1, 1]."""
        return self.low + (unit + 1.0) * 0.5 * (self.high - self.low)

    def clip(self, action: Floats) -> Floats:
        """Returns `action` (..., A) inside the bounds."""
        return np.clip(action, self.low, self.high)

    def validate(self, name: str, action: Floats, slack: float = 1e-6) -> Floats:
        """Returns `action` (A,), or raises `ContractError` when not finite or out of bounds by more than `slack`."""
        value = floats(name, action, (self.size,))
        bad = (value < self.low - slack) | (value > self.high + slack)
        if bad.any():
            i = int(np.argmax(bad))
            raise ContractError(
                f"{name}: {self.names[i]} is {value[i]:.6g} {self.units[i]}; "
                f"allowed [{self.low[i]:.6g}, {self.high[i]:.6g}]"
            )
        return value

    def still(self, gripper_opening: float) -> Floats:
        """Returns the action that moves nothing and keeps the gripper where it is, shape (A,)."""
        action = np.zeros(self.size)
        action[-1] = np.clip(gripper_opening, self.low[-1], self.high[-1])
        return action


EE_DELTA = ActionSpace(
    names=("dx", "dy", "dz", "drx", "dry", "drz", "gripper"),
    units=("m", "m", "m", "rad", "rad", "rad", "1"),
    low=np.array([-0.025, -0.025, -0.025, -0.12, -0.12, -0.12, 0.0]),
    high=np.array([0.025, 0.025, 0.025, 0.12, 0.12, 0.12, 1.0]),
    dt_s=0.05,
)
"""The 20 Hz action of every policy and task of this project.

Source: 25 mm and 0.12 rad a step at 20 Hz are 0.5 m/s and 2.4 rad/s, inside the arm's 1 m/s and pi rad/s.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualSpace:
    """Which action dims a residual may move, and how the sum is formed.

    composed = clip(alpha * base + beta * residual, -1, 1), every dim normalised to [-1, 1] by the action space.
    """

    dims: tuple[int, ...]
    """D indices into the action."""
    alpha: Floats
    """Weight of the base action, shape (A,), in [0, 1]."""
    beta: Floats
    """Weight of the residual, shape (A,), >= 0; 0 outside `dims`."""

    def __post_init__(self) -> None:
        alpha = floats("alpha", self.alpha, (None,))
        beta = floats("beta", self.beta, alpha.shape)
        if (alpha < 0).any() or (alpha > 1).any() or (beta < 0).any() or (beta > 4).any():
            raise ContractError(f"alpha {alpha} must lie in [0, 1] and beta {beta} in [0, 4]")
        outside = np.setdiff1d(np.arange(alpha.size), np.array(self.dims, dtype=int))
        if len(set(self.dims)) != len(self.dims) or not set(self.dims) <= set(range(alpha.size)) or beta[outside].any():
            raise ContractError(f"dims {self.dims} must be distinct indices below {alpha.size}, beta 0 elsewhere")
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "beta", beta)

    def compose(self, space: ActionSpace, base: Floats, residual: Floats) -> Floats:
        """Returns the composed actions (..., A) in the units of `space`.

        Args:
            space: The action space of `base`.
            base: Base actions (..., A), in units.
            residual: Residual (..., A), dimensionless in [-1, 1], 0 outside `dims`.
        """
        total = self.alpha * space.normalise(base) + self.beta * residual
        return space.denormalise(np.clip(total, -1.0, 1.0))
