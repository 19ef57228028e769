"""What is evaluated and what an episode showed: the values that the log holds. `figures` makes rates of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from core.arrays import in_range
from core.episodes import Outcome
from core.errors import ContractError
from core.failures import FailureMode
from core.flow import Phase
from core.recovery import RecoveryStage
from runtime.recover.diagnose import ChatUsage

WAITING = frozenset({Phase.HOLDING, Phase.STOPPED})
"""Phases that only a person leads out of."""


class ArmName(StrEnum):
    """The arms of an evaluation: the same seeds and injections in each. `regrasp.arms` says how each is made."""

    BASE = "base"
    """The frozen policy alone."""
    RETRY = "retry"
    """On an alarm back to the start, then the policy tries again: the cheap alternative."""
    FINETUNED = "finetuned"
    """The policy alone, after more behaviour cloning on the same failures for as long as the skills trained."""
    RECOVERY = "recovery"
    """The frozen policy, watched, diagnosed and recovered."""
    NO_GATES = "no_gates"
    """Recovery with skills trained without stage gates."""
    ALL_TERMS = "all_terms"
    """Recovery with skills trained on all reward terms in place of the diagnosis's mask."""
    ORACLE = "oracle"
    """Recovery with a diagnosis that knows what was injected."""

    @property
    def watched(self) -> bool:
        """Whether detectors may take the arm away from the policy."""
        return self not in (ArmName.BASE, ArmName.FINETUNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmPlan:
    """One arm that was asked for."""

    name: ArmName
    hash: str = ""
    """Of the skills or the checkpoint that shape this arm."""
    not_run: str = ""
    """Why it was not run, "" when it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What was evaluated; results of different campaigns never mix."""

    task: str
    policy: str
    """name@hash of the frozen base policy."""
    tracker: str
    """"image" or "truth"; truth reads the simulator and is an ablation."""
    gap: str
    """Name of the gap profile."""
    episodes: int
    """Seeds evaluated, each in every arm."""
    seed: int
    """First seed."""
    modes: tuple[FailureMode, ...]
    """Failure modes injected, in the order of the report."""
    config_hash: str
    """Hash of all else that shapes a result in every arm: runtime configuration, probe, gap, sampling noise."""
    arms: tuple[ArmPlan, ...] = (ArmPlan(name=ArmName.BASE), ArmPlan(name=ArmName.RECOVERY))
    """In the order of the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One time the loop left the policy because of a report."""

    t_s: float
    """Since the episode's start [s]."""
    mode: FailureMode
    """Mode the detector suspected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseStart:
    """When a phase began."""

    t_s: float
    """Since the episode's start [s]."""
    phase: Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceTimes:
    """How long the base policy took for a chunk, from submit to poll."""

    chunks: int
    p50_s: float | None
    """Median [s]; None when there was no chunk."""
    p95_s: float | None
    """95th percentile [s]; None when there was no chunk."""

    @staticmethod
    def of(seconds: Sequence[float]) -> "InferenceTimes":
        """Returns the summary of one episode's wall times [s]."""
        if not seconds:
            return InferenceTimes(chunks=0, p50_s=None, p95_s=None)
        ordered = sorted(seconds)
        p50, p95 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.95))
        return InferenceTimes(chunks=len(ordered), p50_s=p50, p95_s=p95)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """One episode as the evaluator saw it. Truth is used here to score, never to drive."""

    arm: ArmName
    seed: int
    injected: FailureMode | None
    """Mode injected, None in a nominal episode."""
    instruction: str
    success: bool
    """The task's success predicate on the simulator's truth, at the end."""
    q_score: float
    """Share of the task's sub-goals reached, [0, 1]."""
    steps: int
    """Control steps lived."""
    duration_s: float
    """Simulated time lived [s]."""
    claimed: Outcome
    """How the loop itself said it ended."""
    injected_at_s: float | None
    """When the failure was injected [s]; None when the episode never reached the injector's condition."""
    alarms: tuple[Alarm, ...]
    """In order of time."""
    diagnosed: FailureMode | None
    """Mode the diagnoser gave for the first alarm, after the injection if there was one; None without answer."""
    phases: tuple[PhaseStart, ...]
    """In order of time, the first at 0 s."""
    attempts: int
    """Recovery attempts made."""
    recovery_s: float | None
    """Time spent in RECOVERING [s]; None when no attempt was made."""
    episode_file: str
    """Recording, relative to the output folder; "" when not recorded."""
    inference: InferenceTimes
    chat: ChatUsage = field(default_factory=ChatUsage)
    """What the vision-language model was asked and what that cost; all zero without one."""
    attempts_at_s: tuple[float, ...] = ()
    """When each recovery attempt began [s]."""
    mended_at_s: float | None = None
    """When the sub-task that the failure struck was done in truth [s]; None when it never was, or is not known."""
    named_stage: RecoveryStage | None = None
    """Stage of the diagnosis that `diagnosed` is from."""
    true_stage: RecoveryStage | None = None
    """Stage that the same rule finds on the truth at that instant, for the injected mode."""
    last_stage: RecoveryStage | None = None
    """Stage on the truth at the end."""
    last_note: str = ""
    """Why the phase changed last, in the loop's words."""

    def __post_init__(self) -> None:
        in_range("q_score", self.q_score, 0.0, 1.0)
        in_range("duration_s [s]", self.duration_s, 0.0, 1e6)
        if self.injected is None and self.injected_at_s is not None:
            raise ContractError(f"seed {self.seed}: injected_at_s is {self.injected_at_s} s but no mode was injected")

    @property
    def key(self) -> tuple[str, int, str]:
        """Arm, seed and injected mode: unique within a campaign."""
        return self.arm, self.seed, self.injected or ""

    @property
    def detection_delay_s(self) -> float | None:
        """Seconds from the injection to the first alarm at or after it; None when either is missing."""
        if self.injected_at_s is None:
            return None
        return next((a.t_s - self.injected_at_s for a in self.alarms if a.t_s >= self.injected_at_s), None)

    @property
    def mending_s(self) -> float | None:
        """Seconds from the injection to the moment its sub-task was done; None when either is missing."""
        if self.injected_at_s is None or self.mended_at_s is None:
            return None
        return self.mended_at_s - self.injected_at_s

    @property
    def intervention(self) -> bool:
        """Whether it ended with the arm waiting for a person."""
        return self.phases[-1].phase in WAITING

    @property
    def struck_while_driven(self) -> bool:
        """Whether the failure struck while the policy drove, so that the monitor was listening."""
        if self.injected_at_s is None:
            return False
        started = [start.phase for start in self.phases if start.t_s <= self.injected_at_s]
        return (started or [Phase.RUNNING])[-1] is Phase.RUNNING

    def wrong_at(self, t_s: float) -> bool:
        """Whether the injected failure had struck and was not yet mended at `t_s` [s]."""
        struck = self.injected_at_s is not None and t_s >= self.injected_at_s
        return struck and (self.mended_at_s is None or t_s <= self.mended_at_s)
