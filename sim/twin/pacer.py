"""Keeps physics in real time: cycles at absolute deadlines in the event loop, lateness caught up within bounds.

Used by `sim.twin.process`.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

CATCH_UP = 4
"""Cycles run one after the other, at most, before the wire gets its turn."""
BEHIND_S = 0.1
"""Further behind than this, time is let go: the simulation falls back and says so [s]."""
_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How late cycles began, over about the last 20 s."""

    p50_s: float
    p99_s: float
    max_s: float
    lost_s: float
    """Real time that physics has been behind for good since the start [s]."""
    busy: float
    """Share of one processor that cycles take."""

    def json(self) -> dict[str, float]:
        """Returns it by name."""
        return asdict(self)


class Pacer:
    """Runs a cycle every `period_s` in the running event loop.

    Args:
        cycle: What to do.
        period_s: How often [s].
    """

    def __init__(self, cycle: Callable[[], None], period_s: float) -> None:
        self._cycle, self._period_s = cycle, period_s
        self._late, self._spent = np.zeros(_KEPT), np.zeros(_KEPT)
        self._count, self._lost_s, self._next = 0, 0.0, 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins; the first cycle is one period from now."""
        loop = asyncio.get_running_loop()
        self._next = loop.time() + self._period_s
        self._timer = loop.call_at(self._next, self._run)

    def stop(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()

    def lag(self) -> Lag:
        """Returns how late cycles were."""
        kept = min(self._count, _KEPT)
        if not kept:
            return Lag(p50_s=0.0, p99_s=0.0, max_s=0.0, lost_s=0.0, busy=0.0)
        p50, p99, most = np.percentile(self._late[:kept], [50, 99, 100])
        busy = float(self._spent[:kept].mean() / self._period_s)
        return Lag(p50_s=float(p50), p99_s=float(p99), max_s=float(most), lost_s=self._lost_s, busy=busy)

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CATCH_UP):
            now = loop.time()
            if now < self._next:
                break
            if now - self._next > BEHIND_S:
                self._lost_s += now - self._next
                self._next = now
            began = time.thread_time()
            self._cycle()
            self._late[self._count % _KEPT] = now - self._next
            self._spent[self._count % _KEPT] = time.thread_time() - began
            self._count += 1
            self._next += self._period_s
        self._timer = loop.call_at(max(self._next, loop.time()), self._run)
