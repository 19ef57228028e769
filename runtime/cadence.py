"""How well a beat was kept: rates, lateness, misses, and who was late. Filled by `Beat`, read when a run ends.

A `Cadence` has a fixed size however long it listens: times go into bins 1.1 % wide, and only the first beats that went
wrong are listed one by one.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import MappingProxyType

from core.clock import Clock
from runtime.pacing import Due

LISTED = 100
"""Beats of each kind that a report lists by index; it counts them all."""
WAKE = "wake"
"""Who was late when no stage was: the machine, which did not wake the process in time."""
TICK_STAGES = ("read", "track", "policy", "diagnose", "send", "write")
"""Parts of a tick that `timed_ports` times; what is left of it is the loop's own."""
_BINS_PER_OCTAVE = 64
_BINS = 40 * _BINS_PER_OCTAVE
"""Up to 2^40 ns, 18 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long something took, or how late it was."""

    count: int
    p50_s: float
    """Median [s]; 0 when nothing was counted."""
    p99_s: float
    """99th percentile [s]."""
    p999_s: float
    """99.9th percentile [s]."""
    worst_s: float
    """Largest [s]."""
    total_s: float
    """All together [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CadenceReport:
    """One run of a beat."""

    seconds: float
    """From the first beat to the last [s]."""
    beats: int
    ticks: int
    beat_hz: float
    """Beats that took place [1/s]."""
    tick_hz: float
    lateness: Times
    """Of the start of every beat that took place, against its deadline."""
    missed: int
    """Beats that did not take place: the target stayed where it was."""
    missed_ticks: int
    """Ticks among them: nothing was decided for one control period."""
    late: int
    """Beats that began too late; their command was to stay."""
    late_sends: int
    """Beats that began in time and whose command was sent too late all the same."""
    overruns: int
    """Beats whose work outlasted their period."""
    missed_beats: tuple[int, ...]
    """The first of them, by index; so for the next two."""
    late_beats: tuple[int, ...]
    late_send_beats: tuple[int, ...]
    blame: Mapping[str, int]
    """By stage: overruns, and late beats without one, in which it took the most time."""
    stages: Mapping[str, Times]
    """Time spent by stage; `tick` contains the stages read, track, policy, diagnose, send and write."""
    scheduler: str
    """Scheduling class of the process."""
    warnings: tuple[str, ...]
    """What the system refused."""

    def to_json(self) -> str:
        """Returns all of it as JSON text."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["lateness"] = asdict(self.lateness)
        plain["blame"] = dict(self.blame)
        plain["stages"] = {name: asdict(times) for name, times in self.stages.items()}
        return json.dumps(plain, indent=1)

    def line(self) -> str:
        """Returns the gist in one line for people."""
        blame = ", ".join(f"{name} {n}" for name, n in self.blame.items()) or "nobody"
        return (
            f"{self.beat_hz:.2f} beats/s, {self.tick_hz:.2f} ticks/s for {self.seconds:.1f} s, {self.scheduler}; "
            f"{_late(self.lateness)}; "
            f"missed {self.missed} beats and {self.missed_ticks} ticks, held {self.late}, sent late {self.late_sends}, "
            f"overruns {self.overruns}; who was late: {blame}"
        )


class Spread:
    """Counts times in bins of a fixed relative width. Quantiles are upper edges: never better than the truth."""

    def __init__(self) -> None:
        self._bins = [0] * (_BINS + 1)
        self._count = self._total_ns = self._worst_ns = 0

    def add(self, t_ns: int) -> None:
        """Takes one time [ns]; negative counts as 0."""
        t_ns = max(0, t_ns)
        self._bins[min(_BINS, math.ceil(_BINS_PER_OCTAVE * math.log2(t_ns + 1)))] += 1
        self._count += 1
        self._total_ns += t_ns
        self._worst_ns = max(self._worst_ns, t_ns)

    def times(self) -> Times:
        """Returns what was counted so far."""
        p50, p99, p999 = (self._quantile_ns(q) * 1e-9 for q in (0.5, 0.99, 0.999))
        worst, total = self._worst_ns * 1e-9, self._total_ns * 1e-9
        return Times(count=self._count, p50_s=p50, p99_s=p99, p999_s=p999, worst_s=worst, total_s=total)

    def _quantile_ns(self, share: float) -> float:
        wanted, seen = math.ceil(share * self._count), 0
        for index, n in enumerate(self._bins):
            seen += n
            if n and seen >= wanted:
                return min(2 ** (index / _BINS_PER_OCTAVE) - 1, self._worst_ns)
        return 0.0


class Cadence:
    """Listens to a beat.

    Args:
        clock: Whose time it is.
        scheduler: Scheduling class of the process, for the report.
        warnings: What the system refused, for the report.
    """

    def __init__(self, clock: Clock, *, scheduler: str = "unknown", warnings: tuple[str, ...] = ()) -> None:
        self._clock, self._scheduler, self._warnings = clock, scheduler, warnings
        self.reset()

    def reset(self) -> None:
        """Starts a new run."""
        self._first_ns = self._last_ns = self._lap_ns = self._first_tick_ns = self._last_tick_ns = 0
        self._beats = self._ticks = self._missed_ticks = self._overruns = 0
        self._late, self._missed, self._late_sends = _Listed(), _Listed(), _Listed()
        self._lateness = Spread()
        self._stages: dict[str, Spread] = {}
        self._now: Counter[str] = Counter()
        self._blame: Counter[str] = Counter()
        self._overran = self._was_late = False
        self._started_ns = 0

    def begin(self, due: Due, *, late: bool, missed_ticks: int) -> None:
        """Notes that a beat began.

        Args:
            due: The beat.
            late: Whether its command is to stay.
            missed_ticks: Ticks among the beats missed before it.
        """
        if self._beats == 0:
            self._first_ns = due.deadline_ns
        self._beats += 1
        self._missed_ticks += missed_ticks
        self._last_ns, self._lap_ns = due.deadline_ns, due.started_ns
        self._lateness.add(due.late_ns)
        self._missed.extend(range(due.index - due.missed, due.index))
        if late:
            self._late.extend(range(due.index, due.index + 1))
        explained = self._overran or (self._was_late and not late)
        if (late or due.missed) and not explained:
            self._blame[WAKE] += 1
        self._was_late, self._started_ns = late, due.started_ns
        self._now.clear()

    def lap(self, stage: str) -> int:
        """Books the time since the last lap, or since the beat began, on a stage; returns the instant [ns]."""
        now_ns = self._clock.now_ns()
        self.spent(stage, now_ns - self._lap_ns)
        self._lap_ns = now_ns
        return now_ns

    def ticked(self) -> None:
        """Books the time since the last lap as a tick."""
        self.lap("tick")
        if self._ticks == 0:
            self._first_tick_ns = self._last_ns
        self._ticks += 1
        self._last_tick_ns = self._last_ns

    def spent(self, stage: str, t_ns: int) -> None:
        """Books a time on a stage.

        Args:
            stage: Its name.
            t_ns: How long it took [ns].
        """
        self._stages.setdefault(stage, Spread()).add(t_ns)
        self._now[stage] += t_ns

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Books what runs inside on a stage, also when it raises."""
        start_ns = self._clock.now_ns()
        try:
            yield
        finally:
            self.spent(stage, self._clock.now_ns() - start_ns)

    def sent_late(self, index: int) -> None:
        """Notes that the command of a beat that began in time went out too late."""
        self._late_sends.extend(range(index, index + 1))

    def end(self, period_ns: int) -> None:
        """Notes that the work of a beat is done.

        Args:
            period_ns: What it might have taken [ns].
        """
        self._overran = self._clock.now_ns() - self._started_ns > period_ns
        if self._overran:
            self._overruns += 1
            self._blame[self._slowest()] += 1

    def report(self) -> CadenceReport:
        """Returns the run so far."""
        return CadenceReport(
            seconds=(self._last_ns - self._first_ns) * 1e-9,
            beats=self._beats,
            ticks=self._ticks,
            beat_hz=_rate(self._beats, self._last_ns - self._first_ns),
            tick_hz=_rate(self._ticks, self._last_tick_ns - self._first_tick_ns),
            lateness=self._lateness.times(),
            missed=self._missed.count,
            missed_ticks=self._missed_ticks,
            late=self._late.count,
            late_sends=self._late_sends.count,
            overruns=self._overruns,
            missed_beats=tuple(self._missed.first),
            late_beats=tuple(self._late.first),
            late_send_beats=tuple(self._late_sends.first),
            blame=MappingProxyType(dict(self._blame.most_common())),
            stages=MappingProxyType({name: spread.times() for name, spread in self._stages.items()}),
            scheduler=self._scheduler,
            warnings=self._warnings,
        )

    def _slowest(self) -> str:
        """Returns the stage with the most time in this beat; of a tick its slowest part, when that is known."""
        parts = {name: t for name, t in self._now.items() if name != "tick"}
        inside = sum(t for name, t in parts.items() if name in TICK_STAGES)
        parts["tick"] = self._now["tick"] - inside
        return max(parts, key=parts.__getitem__)


class _Listed:
    """Counts beats and lists the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[int] = []

    def extend(self, beats: range) -> None:
        self.count += len(beats)
        self.first.extend(beats[: LISTED - len(self.first)])


def _rate(times: int, span_ns: int) -> float:
    return (times - 1) * 1e9 / span_ns if span_ns > 0 else 0.0


def _late(late: Times) -> str:
    us = [f"{t_s * 1e6:.0f}" for t_s in (late.p50_s, late.p99_s, late.p999_s, late.worst_s)]
    return f"late by p50 {us[0]}, p99 {us[1]}, p99.9 {us[2]}, worst {us[3]} us"
