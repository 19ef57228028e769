"""Time: one monotonic clock, read once a tick. Called by whoever paces a loop."""

import time
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """Where time comes from. All times are integer nanoseconds of one monotonic clock."""

    def now_ns(self) -> int:
        """Returns the present instant [ns]."""
        ...

    def sleep_until(self, t_ns: int) -> None:
        """Returns at or after `t_ns` [ns]; at once when it has passed."""
        ...


class MonotonicClock:
    """The machine's monotonic clock."""

    def now_ns(self) -> int:
        """Returns CLOCK_MONOTONIC [ns]."""
        return time.monotonic_ns()

    def sleep_until(self, t_ns: int) -> None:
        """Sleeps until `t_ns` [ns]."""
        time.sleep(max(0, t_ns - time.monotonic_ns()) * 1e-9)


class ManualClock:
    """A clock that moves only when told to: for simulated time and for users' own tests.

    Args:
        t_ns: Where it starts [ns].
    """

    def __init__(self, t_ns: int = 0) -> None:
        self._t_ns = t_ns

    def now_ns(self) -> int:
        """Returns the instant it was last set to [ns]."""
        return self._t_ns

    def sleep_until(self, t_ns: int) -> None:
        """Jumps to `t_ns` [ns]; never backwards."""
        self._t_ns = max(self._t_ns, t_ns)

    def advance(self, dt_s: float) -> None:
        """Moves forward by `dt_s` [s]."""
        self._t_ns += round(dt_s * 1e9)
