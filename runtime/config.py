"""Every number the runtime can be told, with its unit. Composed by `regrasp`, saved and hashed into every episode."""

from dataclasses import dataclass, field

from core.arrays import in_range
from core.errors import ContractError


def _all_above_zero(owner: object, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(owner, name)
        if not value > 0:
            raise ContractError(f"{type(owner).__name__}.{name} is {value}; it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerShape:
    """The box that both fingertips fill, for their clearance over the table.

    Source: UFACTORY xArm Gripper manual (84 mm stroke); pads measured from the tool centre point.
    """

    stroke_m: float = 0.084
    """Distance of the pads at opening 1 [m]."""
    beyond_tcp_m: float = 0.012
    """How far the pads reach beyond the tool centre point, along tool z [m]."""
    half_depth_m: float = 0.012
    """Half the depth of a pad, along tool x [m]."""
    half_width_m: float = 0.012
    """Width of one pad, along tool y, the direction of opening [m]."""

    def __post_init__(self) -> None:
        _all_above_zero(self, ("stroke_m", "half_depth_m", "half_width_m"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """What no command may exceed, whoever asks."""

    workspace_low: tuple[float, float, float] = (0.15, -0.45, -0.02)
    """Lower corner of the box the tool centre point may be in, in base, x y z [m]."""
    workspace_high: tuple[float, float, float] = (0.75, 0.45, 0.60)
    """Upper corner, x y z [m]."""
    table_height_m: float = 0.0
    """Table top in base [m]."""
    min_height_m: float = 0.005
    """Lowest the tool centre point may go above the table [m]."""
    tcp_speed_m_s: float = 0.9
    """Speed of the tool centre point [m/s]; the robot's own limit counts too."""
    tool_speed_rad_s: float = 4.2
    """Turning speed of the tool [rad/s]."""
    tcp_acceleration_m_s2: float = 25.0
    """Change of the commanded tool velocity [m/s^2]; coming to rest is always allowed.

    Source: half of what the UFACTORY xArm 7 user manual lets a user set (50 m/s^2).
    """
    tool_acceleration_rad_s2: float = 125.0
    """Change of the commanded turning velocity [rad/s^2]."""
    gripper_rate_s: float = 20.0
    """Change of the commanded opening [1/s]; 20 lets it go from open to closed in one command of 50 ms."""
    joint_margin_rad: float = 0.02
    """Closest a joint may come to its limit [rad]."""
    joint_brake_s: float = 0.15
    """A joint that would reach its margin sooner than this is slowed down [s]."""
    joint_speed_share: float = 0.95
    """Share of the arm's joint speed that may be commanded, (0, 1]; at all of it its controller stops with an error."""
    joint_acceleration_rad_s2: float = 40.0
    """Gain of the commanded joint speed, over one control period [rad/s^2]; coming to rest is always allowed.

    Twice what the arm's own controller allows: a command is a corner every 50 ms, which the 100 Hz wall of the arm's
    node rounds to 18 rad/s^2. Shipped policies stay below 40, shipped skills reach 44.
    """
    joint_jerk_rad_s3: float = 1000.0
    """Change of that acceleration, over one control period [rad/s^3]; for the same reason twice the arm's own."""
    condition_slow: float = 17.0
    """Condition number of the Jacobian (metres over radians) from which on motion into a singularity is slowed down.

    It is 9 to 14 wherever the shipped tasks go, 17 about 8 cm and 30 about 5 cm before the arm is stretched. At 17 the
    fastest action, 0.5 m/s, asks pi rad/s of a joint in its worst direction, at 30 half as much again.
    Source: the defaults of MoveIt Servo, which were checked against this arm's workspace.
    """
    condition_stop: float = 30.0
    """Condition number from which on motion into a singularity is stopped; motion out of it is always allowed."""
    force_n: float = 50.0
    """External force at the tool above which only motion that yields to it is allowed [N]."""
    torque_nm: float = 10.0
    """External torque at the tool above which only turning that yields to it is allowed [N m]."""
    fingers: FingerShape = field(default_factory=FingerShape)
    """Shape of the fingertips."""
    tip_press_m: float = 0.015
    """How far a fingertip may be led into the table [m]: what presses pads onto it, and no tilted hand into it."""
    kinematics_error_m: float = 0.03
    """The tool measured farther than this from where the joints put it means a wrong tool or frame: nothing moves [m].
    """
    lead_m: float = 0.06
    """Farthest the commanded position is taken to run ahead of the tool [m]; the arm's controller cuts it there."""

    @property
    def box_low(self) -> tuple[float, float, float]:
        """Lower corner of the box, the table's clearance included, x y z [m]."""
        x, y, z = self.workspace_low
        return x, y, max(z, self.table_height_m + self.min_height_m)

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.workspace_low, self.workspace_high, strict=True)):
            raise ContractError(f"workspace {self.workspace_low}..{self.workspace_high} [m] is empty")
        _all_above_zero(self, ("tcp_speed_m_s", "tool_speed_rad_s", "tcp_acceleration_m_s2", "joint_brake_s"))
        _all_above_zero(self, ("tool_acceleration_rad_s2", "gripper_rate_s", "lead_m", "joint_acceleration_rad_s2"))
        _all_above_zero(self, ("joint_jerk_rad_s3", "force_n", "torque_nm", "kinematics_error_m", "joint_speed_share"))
        if not 1.0 < self.condition_slow < self.condition_stop:
            raise ContractError(f"conditions {self.condition_slow}, {self.condition_stop} must ascend, above 1")
        if self.joint_speed_share > 1.0 or self.tip_press_m < 0.0:
            raise ContractError(f"joint_speed_share {self.joint_speed_share} exceeds 1, or tip_press_m is below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandRules:
    """What counts as held and as let go of, from the fingers and the tracked scene."""

    closed_command: float = 0.5
    """The hand is told to close below this opening, [0, 1]."""
    grip_gap: float = 0.06
    """Fingers this much wider than commanded have something between them, dimensionless."""
    near_m: float = 0.06
    """A held object is tracked at most this far from the tool centre point [m]."""
    lifted_m: float = 0.07
    """A held object is lifted when the tool centre point is this high over the table [m]."""
    retreat_m: float = 0.06
    """The hand has retreated when the tool is this far from what it let go of [m]."""
    withdrawn_m: float = 0.09
    """A hand that keeps its tool has withdrawn when the tool centre point is this high over the table [m]."""
    fresh_s: float = 1.0
    """An estimate older than this proves nothing [s]."""
    confidence: float = 0.3
    """An estimate below this confidence proves nothing, [0, 1]."""

    def __post_init__(self) -> None:
        _all_above_zero(self, ("grip_gap", "near_m", "retreat_m", "fresh_s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """When a detector speaks, and how the panel listens."""

    robot_age_s: float = 0.25
    """A robot reading older than this is lost [s]."""
    image_age_s: float = 0.5
    """A camera image older than this is lost [s]."""
    fault_s: float = 3.0
    """An arm that cannot follow for longer than this needs a person [s]; its own rule may clear the fault before."""
    tracking_window_s: float = 0.5
    """Over which commanded and achieved motion are compared [s]."""
    tracking_lag_s: float = 0.15
    """Servo lag that explains a difference [s]."""
    tracking_error_m: float = 0.04
    """Commanded motion not achieved, beyond what the lag explains [m]."""
    stall_s: float = 1.5
    """No progress for this long is a stall [s]."""
    silent_s: float = 5.0
    """An arm that holds for so long because nobody drives needs a person [s]; a policy server may be back before."""
    stall_m: float = 0.008
    """A tool that stayed within this distance made no progress [m]."""
    reversal_window_s: float = 1.5
    """Over which reversals of the commanded motion are counted [s]."""
    reversals: int = 8
    """So many reversals in the window are dithering."""
    reversal_step_m: float = 0.003
    """Commanded steps shorter than this are not counted as motion [m]."""
    lost_m: float = 0.12
    """A target tracked farther than this from a hand that was believed to hold it is lost [m]."""
    probe_need: int = 5
    """Bad ticks of the probe needed to report..."""
    probe_window: int = 6
    """...among so many last ticks."""
    cooldown_s: float = 1.0
    """After a report was let through its detector is not heard for this long [s]."""
    grace_s: float = 0.5
    """After the policy got the arm (back) nothing but a stop or lost sensing is heard for this long [s]."""

    def __post_init__(self) -> None:
        _all_above_zero(self, ("robot_age_s", "image_age_s", "tracking_window_s", "tracking_error_m", "stall_s"))
        _all_above_zero(self, ("silent_s", "stall_m", "reversal_window_s", "reversals", "lost_m"))
        _all_above_zero(self, ("probe_need", "fault_s"))
        if self.probe_need > self.probe_window:
            raise ContractError(f"probe_need {self.probe_need} exceeds probe_window {self.probe_window} ticks")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverLimits:
    """How long and how often the loop tries before it holds for a person."""

    enabled: bool = True
    """False: failures are reported and recorded but the policy keeps driving, for comparison. Stops, lost sensing and
    the guard stay."""
    diagnose_s: float = 20.0
    """A diagnosis that takes longer ends in HOLDING [s]."""
    confidence: float = 0.3
    """A diagnosis below this confidence counts as unknown, [0, 1]."""
    attempt_s: float = 8.0
    """One attempt may last this long [s]."""
    attempts: int = 3
    """Attempts per episode, or since a person last resumed."""
    diagnoses: int = 6
    """Diagnoses per episode, or since a person last resumed."""
    verify_ticks: int = 4
    """The resume condition must hold for so many ticks in a row."""
    operator_silence_s: float = 2.0
    """An operator who drives and says nothing for this long is taken to be gone [s]."""

    def __post_init__(self) -> None:
        _all_above_zero(self, ("diagnose_s", "attempt_s", "attempts", "diagnoses", "verify_ticks"))
        _all_above_zero(self, ("operator_silence_s",))


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """The whole runtime."""

    replan_ticks: int = 4
    """A new chunk is asked for every so many ticks."""
    blend_steps: int = 2
    """Ticks over which a new chunk is blended with the one before."""
    ahead_s: float = 0.0
    """How much later the arm follows than the one that policy and skills were trained on, images included [s]: actions
    are played so much before their time, residuals are shown the arm so much later."""
    pace: float = 1.0
    """Share of the trained speed at which policy and skills move the arm, (0, 1]; the way stays the same."""
    chunk_age_s: float = 1.0
    """A chunk is not played beyond this age [s]."""
    stale_s: float = 0.10
    """On a robot state older than this nothing moves: the arm holds for that tick [s]."""
    stale_image_s: float = 0.25
    """On a camera image older than this nothing moves either [s]."""
    chunk_slack: float = 0.25
    """A chunk may leave the action bounds by this share of their range and is clipped; beyond it is refused.

    Source: pi0-nano's openings reach -0.11 where the hand closes off the trained way; nonsense is far beyond."""
    patience_s: float = 2.0
    """A chunk not answered after this long is asked for again [s]."""
    slow_scale: float = 0.5
    """Share of the speed limits while a SLOW report is fresh, (0, 1]."""
    slow_s: float = 1.5
    """How long a SLOW report is fresh [s]."""
    window_s: float = 3.25
    """Past shown to a diagnoser at the trained speed, longer at a share of it [s]; the probe reads 3.25 s."""
    evidence_images: int = 4
    """Images per camera shown to a diagnoser, spread over the window."""
    guard: GuardLimits = field(default_factory=GuardLimits)
    hand: HandRules = field(default_factory=HandRules)
    watch: WatchLimits = field(default_factory=WatchLimits)
    recover: RecoverLimits = field(default_factory=RecoverLimits)

    def __post_init__(self) -> None:
        _all_above_zero(self, ("replan_ticks", "chunk_age_s", "patience_s", "slow_s", "window_s", "evidence_images"))
        _all_above_zero(self, ("stale_s", "stale_image_s"))
        in_range("ahead_s [s]", self.ahead_s, 0.0, 0.5)
        in_range("pace", self.pace, 0.05, 1.0)
        if self.blend_steps < 0 or self.chunk_slack < 0 or not 0 < self.slow_scale <= 1:
            raise ContractError(
                f"blend_steps {self.blend_steps} and chunk_slack {self.chunk_slack} must be >= 0, "
                f"slow_scale {self.slow_scale} in (0, 1]"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatConfig:
    """The beat of a real arm. Not part of `RuntimeConfig`: nothing that is decided depends on it, so no replay does."""

    period_s: float = 0.01
    """Between two points sent to the arm [s]."""
    ticks_every: int = 5
    """The loop ticks at every so many-th beat: at 20 Hz."""
    late_s: float = 0.01
    """A beat that begins later than this is marked late, and the arm stays where it is [s]."""
    serve_margin_s: float = 0.001
    """Others are served until so long before the next beat [s]."""

    def __post_init__(self) -> None:
        _all_above_zero(self, ("period_s", "ticks_every", "late_s"))
        if not 0 <= self.serve_margin_s < self.period_s:
            raise ContractError(f"serve_margin_s {self.serve_margin_s} must be in [0, period_s {self.period_s}) [s]")
