"""Commanded against achieved motion: an arm that does not get where it is led is pushing into something."""

from collections import deque

import numpy as np

from core.arrays import Floats
from core.failures import FailureMode, FailureReport
from core.flow import Step
from core.robots import ActionSpace
from runtime.config import WatchLimits
from runtime.watch.reports import LIKELY, report_of


class TrackingError:
    """Reports COLLISION when motion that was sent is not achieved, beyond what servo lag explains.

    Args:
        space: The action space; dims 0-2 translate [m].
        limits: Window, lag and the largest unexplained error.
    """

    def __init__(self, space: ActionSpace, limits: WatchLimits) -> None:
        self._dt_s, self._limits = space.dt_s, limits
        ticks = max(2, round(limits.tracking_window_s / space.dt_s))
        self._past: deque[tuple[Floats, Floats]] = deque(maxlen=ticks)

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report when the window ending in this step holds too much motion that did not happen."""
        here = step.observation.tcp_pos_in_base
        error, unexplained = self._errors(here)
        sent = step.commanded if step.arrived.sent is None else step.arrived.sent
        self._past.append((here, sent[:3]))
        if unexplained <= self._limits.tracking_error_m:
            return None
        evidence = {"tracking_error_m": error, "unexplained_m": unexplained}
        return report_of(step, "tracking", FailureMode.COLLISION, confidence=LIKELY, evidence=evidence)

    def reset(self) -> None:
        """Forgets the window."""
        self._past.clear()

    def _errors(self, here: Floats) -> tuple[float, float]:
        if not self._past:
            return 0.0, 0.0
        moves = np.array([move for _, move in self._past])
        missed = moves.sum(axis=0) - (here - self._past[0][0])
        error = float(np.sqrt(missed @ missed))
        fastest = float(np.sqrt((moves * moves).sum(axis=1).max())) / self._dt_s
        return error, error - fastest * self._limits.tracking_lag_s
