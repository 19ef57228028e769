"""The values that flow round the heartbeat, one a stage: Observation -> ActionChunk -> Step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from core.arrays import Floats, Image, floats, image, in_range
from core.errors import ContractError
from core.failures import FailureReport
from core.recovery import RecoveryDescriptor
from core.scene import SceneState
from core.transforms import unit_quat


class Phase(StrEnum):
    """What the loop is doing."""

    RUNNING = "running"
    """The base policy drives."""
    DIAGNOSING = "diagnosing"
    """The arm holds; a diagnoser was asked."""
    RECOVERING = "recovering"
    """Base plus residual drive."""
    HOLDING = "holding"
    """The arm holds and waits for a person."""
    OPERATOR = "operator"
    """A person drives."""
    STOPPED = "stopped"
    """The arm holds; only a reset leads out."""


class Source(StrEnum):
    """Who asked for the action of a step."""

    POLICY = "policy"
    RESIDUAL = "residual"
    HOLD = "hold"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All the robot measured at one tick."""

    t_ns: int
    """When it was read [ns]."""
    joint_pos: Floats
    """Shape (J,) [rad]."""
    joint_vel: Floats
    """Shape (J,) [rad/s]."""
    tcp_pos_in_base: Floats
    """Shape (3,) [m]."""
    tcp_quat_xyzw_in_base: Floats
    """Shape (4,)."""
    gripper_opening: float
    """Measured, 0 closed, 1 open."""
    gripper_command: float
    """Last commanded opening, 0 closed, 1 open."""
    wrench_in_tcp: Floats | None = None
    """Force [N] and torque [N m], shape (6,); None when not measured."""
    images: Mapping[str, Image] = field(default_factory=dict)
    """By camera, shape (H, W, 3) uint8 RGB."""
    image_t_ns: Mapping[str, int] = field(default_factory=dict)
    """Capture time by camera [ns]; also for images that were stripped from a record."""
    instruction: str = ""
    """What the robot was told to do."""
    fault: str = ""
    """Why the arm cannot follow commands now, "" when it can."""
    collision: bool = False
    """Whether that is because its controller felt a collision."""

    def __post_init__(self) -> None:
        joint_pos = floats("joint_pos [rad]", self.joint_pos, (None,))
        put = object.__setattr__
        put(self, "joint_pos", joint_pos)
        put(self, "joint_vel", floats("joint_vel [rad/s]", self.joint_vel, joint_pos.shape))
        put(self, "tcp_pos_in_base", floats("tcp_pos_in_base [m]", self.tcp_pos_in_base, (3,)))
        put(self, "tcp_quat_xyzw_in_base", unit_quat("tcp_quat_xyzw_in_base", self.tcp_quat_xyzw_in_base))
        in_range("gripper_opening", self.gripper_opening, -0.05, 1.05)
        in_range("gripper_command", self.gripper_command, 0.0, 1.0)
        if self.wrench_in_tcp is not None:
            put(self, "wrench_in_tcp", floats("wrench_in_tcp [N, N m]", self.wrench_in_tcp, (6,)))
        put(self, "images", MappingProxyType({k: image(k, v) for k, v in self.images.items()}))
        put(self, "image_t_ns", MappingProxyType(dict(self.image_t_ns)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionChunk:
    """Actions a policy planned from one observation, placed in time."""

    obs_t_ns: int
    """Time of the observation it was computed from [ns]; row 0 is for this instant."""
    values: Floats
    """Shape (T, A), in the action space's units. Not checked for range: that is the guard's job."""
    dt_s: float
    """Time between rows [s]."""
    policy_id: str
    """Which checkpoint, name@hash."""
    features: Floats = field(default_factory=lambda: np.zeros(0))
    """Pooled image features of the policy at that observation, shape (F,); empty when it has none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", floats("chunk values", self.values, (None, None), finite=False))
        object.__setattr__(self, "features", floats("chunk features", self.features, (None,)))
        in_range("dt_s [s]", self.dt_s, 1e-4, 10.0)

    def at(self, t_ns: int) -> Floats | None:
        """Returns the row for instant `t_ns`, shape (A,); None before its start and after its end."""
        row = round((t_ns - self.obs_t_ns) / (self.dt_s * 1e9))
        return self.values[row] if 0 <= row < len(self.values) else None


class OperatorCommand(StrEnum):
    """What a person can ask for."""

    STOP = "stop"
    HOLD = "hold"
    RESUME = "resume"
    TAKE_OVER = "take_over"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorInput:
    """What the operator asked this tick."""

    command: OperatorCommand | None = None
    action: Floats | None = None
    """Teleoperated action (A,), in the action space's units."""

    def __post_init__(self) -> None:
        if self.action is not None:
            object.__setattr__(self, "action", floats("operator action", self.action, (None,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Every answer a port gave during one tick: with these alone the tick can be computed again."""

    now_ns: int = 0
    """What the clock said when the tick began [ns]; the only reading of the tick."""
    scene: SceneState | None = None
    chunk: ActionChunk | None = None
    correction: Floats | None = None
    """The residual's answer (A,), dimensionless in [-1, 1]."""
    descriptor: RecoveryDescriptor | None = None
    operator: OperatorInput | None = None
    sent: Floats | None = None
    """What the robot says it truly sent (A,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One tick: what was measured, what arrived, what was decided."""

    index: int
    """Ticks since the episode's start."""
    observation: Observation
    arrived: Arrived
    phase: Phase
    """Phase in which the action was chosen."""
    source: Source
    base: Floats | None
    """Base policy's blended action at this instant (A,)."""
    asked: Floats
    """What the source asked for (A,)."""
    commanded: Floats
    """What the guard let through (A,)."""
    clipped_by: tuple[str, ...]
    """Names of the limits that changed it."""
    report: FailureReport | None
    """The worst report the panel let through this tick."""
    next_phase: Phase
    """Phase of the next tick."""
    note: str = ""
    """Why the phase changed, or why an answer was refused."""
    chunk_t_ns: int | None = None
    """Observation time of the newest chunk taken so far [ns], None without one."""

    def __post_init__(self) -> None:
        asked = floats("asked", self.asked, (None,))
        object.__setattr__(self, "asked", asked)
        object.__setattr__(self, "commanded", floats("commanded", self.commanded, asked.shape))
        if self.index < 0:
            raise ContractError(f"step index {self.index} is negative")
