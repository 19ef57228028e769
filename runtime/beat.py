"""The beat: a point to the arm at a steady rate, the loop's tick at every so many-th, the rest of the time to others.

One beat: wait for the absolute deadline, let the stream send its point, tick when it is time, serve whoever waits
until shortly before the next deadline. What happens when time runs out is declared, and never makes the arm jump:

- A beat that was missed is skipped: nothing is sent, the target stays. The next deadline stays on the grid.
- A beat that begins later than `late_s` is marked late, and its command is to stay.
- A tick among missed beats is skipped too; the arm comes to the end of its action and stays until the next.

Called by `run_beats`, which keeps the laws of an episode.
"""

from collections.abc import Callable

from core.clock import Clock
from core.flow import Step
from core.ports import Stream
from runtime.cadence import Cadence
from runtime.config import BeatConfig
from runtime.loop import Loop
from runtime.pacing import Due, Pacer

Serve = Callable[[int], None]
"""Works for others until an instant on the clock [ns]; asked with one that has passed, does only what waits."""


class Beat:
    """The beat around one loop.

    Args:
        loop: Ticked at the grid of every `ticks_every`-th beat; its robot must be connected.
        stream: Told every beat that takes place.
        clock: The loop's clock.
        config: Rates and limits.
        cadence: Listens.
        serve: Called in the slack of every beat; None: nobody is.
    """

    def __init__(
        self,
        *,
        loop: Loop,
        stream: Stream,
        clock: Clock,
        config: BeatConfig,
        cadence: Cadence,
        serve: Serve | None = None,
    ) -> None:
        self.loop = loop
        """The loop it ticks."""
        self.due: Due | None = None
        """The beat under way, or the last one."""
        self._stream, self._cadence, self._serve = stream, cadence, serve
        self._every = config.ticks_every
        self._period_ns, self._late_ns = round(config.period_s * 1e9), round(config.late_s * 1e9)
        self._margin_ns = round(config.serve_margin_s * 1e9)
        self._pacer = Pacer(clock, config.period_s)

    def start(self) -> None:
        """Begins a run: the next beat is the first of a new grid, and ticks."""
        self._pacer.reset()
        self._cadence.reset()

    def beat(self) -> Step | None:
        """Waits for the next beat and lives it; returns its tick's step, None when it has no tick.

        Raises:
            Exception: Whatever stream, tick or server raised; the caller must make the loop hold.
        """
        due = self.due = self._pacer.wait()
        self._cadence.begin(due, late=due.late_ns > self._late_ns, missed_ticks=self._missed_ticks(due))
        self._emit(due)
        step = self._tick() if due.index % self._every == 0 else None
        if self._serve is not None:
            self._serve(due.deadline_ns + self._period_ns - self._margin_ns)
            self._cadence.lap("serve")
        self._cadence.end(self._period_ns)
        return step

    def _emit(self, due: Due) -> None:
        late = due.late_ns > self._late_ns
        self._stream.emit(late=late)
        sent_ns = self._cadence.lap("emit")
        if not late and sent_ns - due.deadline_ns > self._late_ns:
            self._cadence.sent_late(due.index)

    def _tick(self) -> Step:
        step = self.loop.tick()
        self._cadence.ticked()
        return step

    def _missed_ticks(self, due: Due) -> int:
        """Returns how many of the beats missed before this one had a tick."""
        first = due.index - due.missed
        return -(-due.index // self._every) - -(-first // self._every)
