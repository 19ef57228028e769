"""Keeps the tick's rate by absolute deadlines and says how late the ticks were. Called by `run_episode`."""

from dataclasses import dataclass

import numpy as np

from core.clock import Clock
from core.errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """How late ticks began against their deadlines."""

    ticks: int
    p50_s: float
    """Median [s]; 0 without ticks."""
    p99_s: float
    """99th percentile [s]."""
    worst_s: float
    """Largest [s]."""
    missed: int
    """Periods in which no tick began."""


class Pacer:
    """Waits for the next deadline: start + k * period. A loop that falls behind skips periods, it never catches up.

    Args:
        clock: Whose time it is.
        dt_s: Period [s].
    """

    def __init__(self, clock: Clock, dt_s: float) -> None:
        if dt_s <= 0:
            raise ContractError(f"pacing period {dt_s} s must be above 0")
        self._clock, self._dt_ns = clock, round(dt_s * 1e9)
        self._next_ns: int | None = None
        self._late_ns: list[int] = []
        self._missed = 0

    def wait(self) -> None:
        """Returns at the next deadline; at once when it has passed, or on the first call."""
        now = self._clock.now_ns()
        if self._next_ns is None:
            self._next_ns = now
        behind = max(0, now - self._next_ns) // self._dt_ns
        self._missed += behind
        self._next_ns += behind * self._dt_ns
        self._clock.sleep_until(self._next_ns)
        self._late_ns.append(max(0, self._clock.now_ns() - self._next_ns))
        self._next_ns += self._dt_ns

    def lateness(self) -> Lateness:
        """Returns the lateness of every tick so far."""
        late = np.array(self._late_ns or [0]) * 1e-9
        p50, p99 = np.percentile(late, [50, 99])
        return Lateness(
            ticks=len(self._late_ns), p50_s=float(p50), p99_s=float(p99), worst_s=float(late.max()), missed=self._missed
        )
