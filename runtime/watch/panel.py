"""Runs every detector on every step and lets at most one report through. Called by the loop.

Debounced: a detector is heard when it spoke in `need` of its last `window` ticks. After that it is not heard during
the cooldown, and after the policy got the arm back nothing mild is heard during the grace. The worst severity wins,
then the surest, then the first in the panel. While the arm cannot follow nothing mild is heard, and when it can again
every detector starts anew: an arm in fault does not move, and no skill could change that. Only a collision that the
arm's own controller felt while a policy or skill drove is reported then: whatever it met still stands there.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import ContractError
from core.failures import FailureMode, FailureReport, Severity
from core.flow import Phase, Step
from core.ports import Detector
from runtime.watch.reports import SURE, report_of

_DRIVEN = frozenset({Phase.RUNNING, Phase.RECOVERING})
BUMP = "bump"
"""What reports a collision that the arm's controller felt."""
BLINDING = frozenset({FailureMode.SENSING_LOST, FailureMode.CONTROLLER_FAULT})
"""Modes no diagnoser can look at and no skill can act on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A detector and how it is listened to."""

    name: str
    detector: Detector
    need: int = 1
    """Ticks with a report..."""
    window: int = 1
    """...among so many last ticks."""
    phases: frozenset[Phase] = frozenset({Phase.RUNNING})
    """Phases in which it is heard; a report of severity STOP is heard in every phase."""

    def __post_init__(self) -> None:
        if not 1 <= self.need <= self.window:
            raise ContractError(f"watch {self.name!r} needs {self.need} of {self.window} ticks; 1 <= need <= window")


class Panel:
    """All watches of one loop.

    Args:
        watches: In order of precedence; names are distinct.
        cooldown_s: After a report was let through its watch is not heard for this long [s].
        grace_s: After `settle` only stops and lost sensing are heard for this long [s].
    """

    def __init__(self, watches: Sequence[Watch], *, cooldown_s: float, grace_s: float) -> None:
        names = [w.name for w in watches]
        if len(set(names)) != len(names):
            raise ContractError(f"watches {names} must have distinct names")
        self._watches = tuple(watches)
        self._cooldown_ns, self._grace_ns = round(cooldown_s * 1e9), round(grace_s * 1e9)
        self.reset()

    def reset(self) -> None:
        """Forgets everything: a new episode starts."""
        self._mild_after_ns = -(1 << 62)
        self._faulty = self._bumped = False
        self._heard_after_ns = dict.fromkeys((w.name for w in self._watches), -(1 << 62))
        self._forget()

    def settle(self, t_ns: int) -> None:
        """Starts every detector anew and the grace, at `t_ns` [ns]: someone else drives from now on."""
        self._mild_after_ns = t_ns + self._grace_ns
        self._forget()

    def update(self, step: Step) -> FailureReport | None:
        """Returns the worst report heard in this step, whose `report` is still None."""
        ended = self._faulty and not step.observation.fault
        if ended:
            self.settle(step.arrived.now_ns)
        self._faulty = bool(step.observation.fault)
        self._bumped = self._bumped or step.observation.collision
        if ended and self._bumped:
            self._bumped = False
            if step.phase in _DRIVEN:
                return report_of(step, BUMP, FailureMode.COLLISION, confidence=SURE, evidence={})
        heard = [(r, w.name) for w in self._watches if (r := self._hear(w, step)) is not None]
        if not heard:
            return None
        worst, name = max(heard, key=lambda found: (found[0].severity.rank, found[0].confidence))
        self._heard_after_ns[name] = step.arrived.now_ns + self._cooldown_ns
        return worst

    def _forget(self) -> None:
        self._hits = {w.name: deque[bool](maxlen=w.window) for w in self._watches}
        for watch in self._watches:
            watch.detector.reset()

    def _hear(self, watch: Watch, step: Step) -> FailureReport | None:
        report = watch.detector.update(step)
        hits = self._hits[watch.name]
        hits.append(report is not None)
        if report is None or sum(hits) < watch.need or self._muted(watch, report, step):
            return None
        return report

    def _muted(self, watch: Watch, report: FailureReport, step: Step) -> bool:
        if report.severity is Severity.STOP:
            return False
        now = step.arrived.now_ns
        if step.phase not in watch.phases or now < self._heard_after_ns[watch.name]:
            return True
        early = now < self._mild_after_ns or bool(step.observation.fault)
        return early and report.mode not in BLINDING
