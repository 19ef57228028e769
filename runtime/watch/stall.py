"""No progress: the policy drives and nothing moves."""

from collections import deque

import numpy as np

from core.arrays import Floats
from core.failures import FailureMode, FailureReport
from core.flow import Source, Step
from core.robots import ActionSpace
from runtime.config import WatchLimits
from runtime.watch.reports import LIKELY, report_of

_GRIP_CHANGE = 0.05
"""A hand that opens or closes by more than this makes progress, dimensionless."""


class Stall:
    """Reports STALLED when neither tool nor fingers went anywhere for a while, though somebody asked them to.

    While nobody drives, as when the policy is silent, the arm holds and waits: that may end by itself, so it is
    reported only after a longer time.

    Args:
        space: The action space.
        limits: For how long, and how near.
    """

    def __init__(self, space: ActionSpace, limits: WatchLimits) -> None:
        self._limits = limits
        self._dt_s = space.dt_s
        self._past: deque[Floats] = deque(maxlen=max(2, round(limits.stall_s / space.dt_s)))
        self._silent = 0

    def update(self, step: Step) -> FailureReport | None:
        """Returns a report when the whole window ending in this step shows no progress."""
        if step.source is Source.HOLD:
            return self._wait(step)
        self._silent = 0
        obs = step.observation
        now = np.array([*obs.tcp_pos_in_base, obs.gripper_opening])
        self._past.append(now)
        if len(self._past) < (self._past.maxlen or 0):
            return None
        away = np.abs(np.array(self._past) - now).max(axis=0)
        spread = float(np.sqrt(away[:3] @ away[:3]))
        if spread > self._limits.stall_m or away[3] > _GRIP_CHANGE:
            return None
        evidence = {"moved_m": spread, "stalled_s": self._limits.stall_s}
        return report_of(step, "stall", FailureMode.STALLED, confidence=LIKELY, evidence=evidence)

    def reset(self) -> None:
        """Forgets the window."""
        self._past.clear()
        self._silent = 0

    def _wait(self, step: Step) -> FailureReport | None:
        self._past.clear()
        self._silent += 1
        silent_s = self._silent * self._dt_s
        if silent_s < self._limits.silent_s:
            return None
        evidence = {"silent_s": silent_s, "allowed_s": self._limits.silent_s}
        return report_of(step, "stall", FailureMode.STALLED, confidence=LIKELY, evidence=evidence)
