"""Everything an `XArm` can be told, with its unit. Composed by whoever builds the arm."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bridge.xarm.limits import WallLimits
from core.errors import ContractError

FIRST_FIRMWARE = (1, 10, 0)
"""Oldest firmware that is spoken to: it measures joint velocities and knows online planning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSafety:
    """The safety settings of the control box: as wanted, or as read back."""

    reduced: bool = True
    """Whether reduced mode is on; the speeds and the fence count only in it."""
    tcp_speed: float = 1.0
    """[m/s]."""
    joint_speed: float = 3.1
    """[rad/s]."""
    fence: bool = True
    """Whether the tool may not leave the box below."""
    fence_low: tuple[float, float, float] = (0.06, -0.55, -0.03)
    """Lower corner, whole millimetres, in base [m]; wider than the wall's own box, which should act first."""
    fence_high: tuple[float, float, float] = (0.86, 0.55, 0.82)
    """Upper corner [m]."""
    collision_sensitivity: int = 3
    """1 to 5; 0 would be off and is refused."""
    load_kg: float = 0.82
    """Mass of the tool and what it carries [kg]."""
    load_com: tuple[float, float, float] = (0.0, 0.0, 0.048)
    """Its centre of mass beyond the flange [m]."""
    tcp_offset: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.172, 0.0, 0.0, 0.0)
    """From flange to tool centre point: x y z [m], roll pitch yaw [rad]."""

    def differences(self, read: "BoxSafety") -> tuple[str, ...]:
        """Returns what was read otherwise than wanted here, one text each; empty when all is as wanted."""
        pairs = ((name, getattr(self, name), getattr(read, name)) for name in self.__slots__)
        return tuple(
            f"{name} is {got}, wanted {want}"
            for name, want, got in pairs
            if not np.allclose(np.asarray(got, dtype=float), np.asarray(want, dtype=float), atol=2e-3)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class XArmConfig:
    """How one arm is linked and moved."""

    ip: str = "192.168.1.213"
    """Address of the control box."""
    motion: Literal["servo", "online"] = "servo"
    """Mode 1, every point as it is; or mode 6, the box plans towards each."""
    readonly: bool = False
    """Whether it only measures: never sets, enables or moves anything. The emergency stop still works."""
    rate_hz: float = 100.0
    """Points a second [Hz]."""
    wall: WallLimits = field(default_factory=WallLimits)
    box: BoxSafety = field(default_factory=BoxSafety)
    force_sensor: bool = False
    """Whether there is a force-torque sensor at the flange."""
    gripper: bool = True
    """Whether there is an xArm Gripper."""
    gripper_rpm: float = 4000.0
    """Speed of the gripper's motor, up to 5000 [r/min]."""
    reply_timeout_s: float = 0.4
    """Longest wait for a reply on the wire [s]; more than the stalls of about 190 ms that users report."""
    stall_s: float = 0.05
    """A streamed point that took longer than this counts as a stall [s]."""
    offline_s: float = 0.35
    """Without news for longer than this the arm is offline [s]; it holds by itself long before."""
    connect_attempts: int = 3
    """How often linking is tried before it fails."""
    connect_pause_s: float = 0.25
    """Pause after the first failed attempt, doubled each time [s]."""
    stop_cooldown_s: float = 0.5
    """How long a stop stays latched at least [s]."""
    clearings: int = 3
    """Automatic clearings of faults before a person is needed."""
    refill_s: float = 120.0
    """Time after which one spent clearing is given back [s]."""

    def __post_init__(self) -> None:
        if not 30.0 <= self.rate_hz <= 250.0:
            raise ContractError(f"rate_hz is {self.rate_hz} [Hz]; the box takes 30 to 250")
        if not 1 <= self.box.collision_sensitivity <= 5:
            raise ContractError(f"collision_sensitivity is {self.box.collision_sensitivity}; 1 to 5, never off")
        if not 0.0 < self.stall_s < self.reply_timeout_s or self.connect_attempts < 1 or self.clearings < 0:
            raise ContractError("0 < stall_s < reply_timeout_s, connect_attempts >= 1, clearings >= 0 are required")
        if not 0.0 < self.gripper_rpm <= 5000.0:
            raise ContractError(f"gripper_rpm is {self.gripper_rpm}; above 0, up to 5000")

    @property
    def beat_s(self) -> float:
        """Time between two points [s]."""
        return 1.0 / self.rate_hz

    @property
    def mode(self) -> int:
        """The controller's mode for `motion`."""
        return 1 if self.motion == "servo" else 6

    @property
    def device(self) -> str:
        """What errors call the arm."""
        return f"xarm {self.ip}"

    @property
    def simulated(self) -> bool:
        """Whether a twin is behind it: no control box lives on the loopback network."""
        return self.ip == "localhost" or self.ip.startswith("127.")
