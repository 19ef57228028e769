"""An arm that cannot follow and does not come back by itself. Put into the panel by `standard_watches`."""

from core.failures import FailureMode, FailureReport
from core.flow import Step
from runtime.config import WatchLimits
from runtime.watch.reports import SURE, report_of


class ControllerFault:
    """Reports CONTROLLER_FAULT when the arm has been in fault, idle or offline for longer than its own rule may need.

    The loop holds from the first tick of a fault; this is about fetching a person, without asking a model.

    Args:
        limits: How long a fault may last.
    """

    def __init__(self, limits: WatchLimits) -> None:
        self._limits = limits
        self._since_ns: int | None = None

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report for as long as a fault lasts too long."""
        now = step.arrived.now_ns
        if not step.observation.fault:
            self._since_ns = None
            return None
        self._since_ns = now if self._since_ns is None else self._since_ns
        lasted_s = (now - self._since_ns) * 1e-9
        if lasted_s <= self._limits.fault_s:
            return None
        evidence = {"fault_s": lasted_s, "allowed_s": self._limits.fault_s}
        return report_of(step, "fault", FailureMode.CONTROLLER_FAULT, confidence=SURE, evidence=evidence)

    def reset(self) -> None:
        """Forgets since when."""
        self._since_ns = None
