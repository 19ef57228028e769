"""Keeps a rate by absolute deadlines: what is missed is skipped, never made up for. Called by `Beat`, `run_episode`."""

from dataclasses import dataclass

from core.clock import Clock
from core.errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """One period that begins."""

    index: int
    """Which one since the start, missed ones counted."""
    deadline_ns: int
    """When it should have begun [ns]."""
    started_ns: int
    """When it did [ns]."""
    missed: int
    """Whole periods skipped right before it."""

    @property
    def late_ns(self) -> int:
        """How late it began [ns]."""
        return self.started_ns - self.deadline_ns


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
        self._start_ns: int | None = None
        self._next = 0

    def reset(self) -> None:
        """Forgets the deadlines: the next call of `wait` is the start."""
        self._start_ns, self._next = None, 0

    def wait(self) -> Due:
        """Returns at the next deadline; at once when it has passed, or on the first call."""
        now = self._clock.now_ns()
        if self._start_ns is None:
            self._start_ns = now
        missed = max(0, (now - self._start_ns) // self._dt_ns - self._next)
        index = self._next + missed
        self._next = index + 1
        deadline = self._start_ns + index * self._dt_ns
        self._clock.sleep_until(deadline)
        return Due(index=index, deadline_ns=deadline, started_ns=max(deadline, self._clock.now_ns()), missed=missed)
