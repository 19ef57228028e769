"""What a joint-controlled arm says of itself. Made by the adapters in `bridge`, read by robots and nodes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from core.arrays import Floats, floats, in_range
from core.transforms import unit_quat


class ArmMode(StrEnum):
    """What an arm is ready for."""

    OFFLINE = "offline"
    """No link, or no news from it."""
    IDLE = "idle"
    """Linked; servos may be off; it follows nothing until it is armed."""
    READY = "ready"
    """Follows the stream of joint targets."""
    STOPPED = "stopped"
    """An emergency stop is latched; only an explicit reset leads out, after its cool-down."""
    FAULT = "fault"
    """The controller reports an error; it does not move."""


class Clearing(StrEnum):
    """Who may clear a fault."""

    AUTOMATIC = "automatic"
    """A written rule, within a budget of attempts."""
    OPERATOR = "operator"
    """A person who has looked at the cell."""
    NEVER = "never"
    """Nobody from here: service is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStatus:
    """How an arm is."""

    mode: ArmMode
    fault_code: int = 0
    """The controller's error code, 0 when there is none."""
    fault: str = ""
    """What the code means and what to do, "" when there is none."""
    collision: bool = False
    """Whether the fault is that the controller felt a collision."""
    clearing: Clearing | None = None
    """Who may clear the fault, None when there is none."""
    attempts_left: int = 0
    """Automatic clearings that the budget still allows."""
    stalls: int = 0
    """Commands that blocked longer than allowed since connecting."""
    simulated: bool = False
    """Whether there is a twin behind it, not an arm."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Further facts for people, by name with unit, e.g. firmware."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmState:
    """All an arm measured at one instant."""

    t_ns: int
    """When it arrived, on the reader's monotonic clock [ns]."""
    joint_pos: Floats
    """Shape (J,) [rad]."""
    joint_vel: Floats
    """Shape (J,) [rad/s]."""
    joint_effort: Floats
    """Shape (J,) [N m]."""
    tcp_pos_in_base: Floats
    """Shape (3,) [m]."""
    tcp_quat_xyzw_in_base: Floats
    """Shape (4,)."""
    gripper_opening: float
    """Measured, 0 closed, 1 open."""
    status: ArmStatus
    wrench_in_tcp: Floats | None = None
    """External force [N] and torque [N m] at the tool, shape (6,); None when not measured."""

    def __post_init__(self) -> None:
        put = object.__setattr__
        joint_pos = floats("joint_pos [rad]", self.joint_pos, (None,))
        put(self, "joint_pos", joint_pos)
        put(self, "joint_vel", floats("joint_vel [rad/s]", self.joint_vel, joint_pos.shape))
        put(self, "joint_effort", floats("joint_effort [N m]", self.joint_effort, joint_pos.shape))
        put(self, "tcp_pos_in_base", floats("tcp_pos_in_base [m]", self.tcp_pos_in_base, (3,)))
        put(self, "tcp_quat_xyzw_in_base", unit_quat("tcp_quat_xyzw_in_base", self.tcp_quat_xyzw_in_base))
        in_range("gripper_opening", self.gripper_opening, -0.05, 1.05)
        if self.wrench_in_tcp is not None:
            put(self, "wrench_in_tcp", floats("wrench_in_tcp [N, N m]", self.wrench_in_tcp, (6,)))
