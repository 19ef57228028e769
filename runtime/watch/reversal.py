"""Dithering: the commanded motion turns round again and again."""

from collections import deque

import numpy as np

from core.arrays import Floats
from core.failures import FailureMode, FailureReport, Severity
from core.flow import Step
from core.robots import ActionSpace
from runtime.config import WatchLimits
from runtime.watch.reports import LIKELY, report_of

_BACK = -0.5
"""Two steps whose directions have a cosine below this are a reversal (more than 120 degrees)."""


class Reversal:
    """Reports STALLED, asking for lower speed, when the command reverses too often.

    Args:
        space: The action space; dims 0-2 translate [m].
        limits: Window, count, and the shortest step that counts as motion.
    """

    def __init__(self, space: ActionSpace, limits: WatchLimits) -> None:
        self._limits = limits
        self._turns: deque[bool] = deque(maxlen=max(2, round(limits.reversal_window_s / space.dt_s)))
        self._heading: Floats | None = None

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report when the window ending in this step holds too many reversals."""
        self._turns.append(self._turned(step.commanded[:3]))
        count = sum(self._turns)
        if count < self._limits.reversals:
            return None
        evidence = {"reversals_count": float(count), "window_s": self._limits.reversal_window_s}
        return report_of(
            step, "reversal", FailureMode.STALLED, confidence=LIKELY, evidence=evidence, severity=Severity.SLOW
        )

    def reset(self) -> None:
        """Forgets window and heading."""
        self._turns.clear()
        self._heading = None

    def _turned(self, move: Floats) -> bool:
        length = float(np.sqrt(move @ move))
        if length < self._limits.reversal_step_m:
            return False
        before, self._heading = self._heading, move / length
        return before is not None and bool(before @ self._heading < _BACK)
