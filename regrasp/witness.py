"""What the steps of an episode show, and how the loop itself says that it ended. Used in simulated and in real time.

Nothing here needs a model: the process with the heartbeat imports it, and must be up soon.
"""

from dataclasses import dataclass, field

from core.episodes import Outcome
from core.failures import FailureMode
from core.flow import Phase, Step
from core.recovery import RecoveryStage
from regrasp.evaluation import Alarm, PhaseStart
from runtime.episode import EpisodeEnd

EPISODES = "episodes"
"""Folder of recordings inside the output folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """One diagnosis."""

    t_s: float
    """When it arrived [s]."""
    step: int
    """In which step."""
    mode: FailureMode
    stage: RecoveryStage


@dataclass(slots=True, kw_only=True)
class Witness:
    """Notes what the steps of one episode show."""

    alarms: list[Alarm] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    """In order of time."""
    phases: list[PhaseStart] = field(default_factory=lambda: [PhaseStart(t_s=0.0, phase=Phase.RUNNING)])
    attempts_at_s: list[float] = field(default_factory=list)
    """When each attempt began [s]."""
    recovering: int = 0
    """Ticks spent in RECOVERING."""
    last_note: str = ""
    """Why the phase changed last."""
    start_ns: int = 0
    """When the episode began, on the clock of its ticks [ns]."""

    def see(self, step: Step) -> None:
        """Takes one step."""
        t_s = (step.arrived.now_ns - self.start_ns) * 1e-9
        self.recovering += step.phase is Phase.RECOVERING
        if step.arrived.descriptor is not None:
            answer = step.arrived.descriptor
            self.named.append(Named(t_s=t_s, step=step.index, mode=answer.mode, stage=answer.stage))
        if step.next_phase is step.phase:
            return
        self.phases.append(PhaseStart(t_s=t_s, phase=step.next_phase))
        self.last_note = step.note
        if step.next_phase is Phase.RECOVERING:
            self.attempts_at_s.append(t_s)
        if step.phase is Phase.RUNNING and step.report is not None:
            self.alarms.append(Alarm(t_s=t_s, mode=step.report.mode))

    @property
    def attempts(self) -> int:
        """How many attempts were begun."""
        return len(self.attempts_at_s)

    def first_named(self, injected_at_s: float | None) -> Named | None:
        """Returns what was named for the first alarm, at or after the injection if there was one, else None."""
        start_s = 0.0 if injected_at_s is None else injected_at_s
        alarm = next((a.t_s for a in self.alarms if a.t_s >= start_s), None)
        return None if alarm is None else next((named for named in self.named if named.t_s >= alarm), None)

    def diagnosed(self, injected_at_s: float | None) -> FailureMode | None:
        """Returns the mode that `first_named` has, None without one."""
        named = self.first_named(injected_at_s)
        return None if named is None else named.mode


def claimed_outcome(end: EpisodeEnd) -> Outcome:
    """Returns how the loop itself says that it ended."""
    if end.claimed:
        return Outcome.SUCCESS
    return Outcome.ABORTED if end.phase in (Phase.STOPPED, Phase.OPERATOR) else Outcome.FAILURE
