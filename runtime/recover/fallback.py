"""Two diagnosers as one: the first when it answers in time and knows, else the second. Wired by `regrasp`."""

from core.clock import Clock
from core.failures import FailureMode
from core.ports import Diagnoser, Evidence
from core.recovery import RecoveryDescriptor, RecoveryStage


class FallbackDiagnoser:
    """Asks both at once and prefers the first.

    Args:
        first: Preferred, e.g. a vision-language model.
        second: Used when the first is too slow or says unknown, e.g. the embedded probe.
        clock: For the patience.
        patience_s: How long the first is waited for [s].
    """

    def __init__(self, first: Diagnoser, second: Diagnoser, *, clock: Clock, patience_s: float) -> None:
        self._first, self._second = first, second
        self._clock, self._patience_s = clock, patience_s
        self._asked_ns: int | None = None
        self._report_id = ""
        self._spare: RecoveryDescriptor | None = None
        self._first_is_out = False

    def submit(self, evidence: Evidence) -> None:
        """Asks both; a newer question replaces an older one."""
        self._asked_ns, self._report_id = self._clock.now_ns(), evidence.report.id
        self._spare, self._first_is_out = None, False
        self._first.submit(evidence)
        self._second.submit(evidence)

    def poll(self) -> RecoveryDescriptor | None:
        """Returns one answer once, else None."""
        if self._asked_ns is None:
            return None
        self._spare = self._spare or self._fresh(self._second.poll())
        answer = None if self._first_is_out else self._fresh(self._first.poll())
        if answer is not None and _knows(answer):
            return self._settled(answer)
        waited_s = (self._clock.now_ns() - self._asked_ns) * 1e-9
        self._first_is_out = self._first_is_out or answer is not None or waited_s >= self._patience_s
        return self._settled(self._spare) if self._first_is_out and self._spare is not None else None

    def _fresh(self, answer: RecoveryDescriptor | None) -> RecoveryDescriptor | None:
        return answer if answer is not None and answer.report_id == self._report_id else None

    def _settled(self, answer: RecoveryDescriptor) -> RecoveryDescriptor:
        self._asked_ns = None
        return answer


def _knows(answer: RecoveryDescriptor) -> bool:
    return answer.mode is not FailureMode.UNKNOWN or answer.stage is RecoveryStage.RESUME
