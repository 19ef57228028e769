"""Reduced speed while a SLOW report is fresh. Called by the loop."""

from core.failures import FailureReport, Severity


class Slowdown:
    """Remembers until when the speed limits are reduced.

    Args:
        scale: Share of the limits while slowed, (0, 1].
        fresh_s: How long a SLOW report counts [s].
    """

    def __init__(self, scale: float, fresh_s: float) -> None:
        self._scale, self._fresh_ns = scale, round(fresh_s * 1e9)
        self.reset()

    def reset(self) -> None:
        """Back to full speed."""
        self._until_ns = -(1 << 62)

    def hear(self, report: FailureReport) -> None:
        """Takes a report that the panel let through."""
        if report.severity is Severity.SLOW:
            self._until_ns = report.t_ns + self._fresh_ns

    def scale(self, t_ns: int) -> float:
        """Returns the share of the speed limits that may be used at `t_ns` [ns]."""
        return self._scale if t_ns < self._until_ns else 1.0
