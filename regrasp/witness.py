"""What the steps of an episode show, and how the loop itself says that it ended. Used in simulated and in real time.

Nothing here needs a model: the process with the heartbeat imports it, and must be up soon.
"""

from dataclasses import dataclass, field

from core.episodes import Outcome
from core.failures import FailureMode
from core.flow import Phase, Step
from regrasp.evaluation import Alarm, PhaseStart
from runtime.episode import EpisodeEnd

EPISODES = "episodes"
"""Folder of recordings inside the output folder."""


@dataclass(slots=True, kw_only=True)
class Witness:
    """Notes what the steps of one episode show."""

    alarms: list[Alarm] = field(default_factory=list)
    named: list[tuple[float, FailureMode]] = field(default_factory=list)
    """When each diagnosis arrived [s], and its mode."""
    phases: list[PhaseStart] = field(default_factory=lambda: [PhaseStart(t_s=0.0, phase=Phase.RUNNING)])
    attempts: int = 0
    recovering: int = 0
    """Ticks spent in RECOVERING."""
    start_ns: int = 0
    """When the episode began, on the clock of its observations [ns]."""

    def see(self, step: Step) -> None:
        """Takes one step."""
        t_s = (step.observation.t_ns - self.start_ns) * 1e-9
        self.recovering += step.phase is Phase.RECOVERING
        if step.arrived.descriptor is not None:
            self.named.append((t_s, step.arrived.descriptor.mode))
        if step.next_phase is step.phase:
            return
        self.phases.append(PhaseStart(t_s=t_s, phase=step.next_phase))
        self.attempts += step.next_phase is Phase.RECOVERING
        if step.phase is Phase.RUNNING and step.report is not None:
            self.alarms.append(Alarm(t_s=t_s, mode=step.report.mode))

    def diagnosed(self, injected_at_s: float | None) -> FailureMode | None:
        """Returns the mode named for the first alarm, at or after the injection if there was one, else None."""
        start_s = 0.0 if injected_at_s is None else injected_at_s
        alarm = next((a.t_s for a in self.alarms if a.t_s >= start_s), None)
        return None if alarm is None else next((mode for t_s, mode in self.named if t_s >= alarm), None)


def claimed_outcome(end: EpisodeEnd) -> Outcome:
    """Returns how the loop itself says that it ended."""
    if end.claimed:
        return Outcome.SUCCESS
    return Outcome.ABORTED if end.phase in (Phase.STOPPED, Phase.OPERATOR) else Outcome.FAILURE
