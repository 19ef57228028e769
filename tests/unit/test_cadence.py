"""How well a beat was kept, in figures."""

import json

import numpy as np
import pytest

from core.clock import ManualClock
from runtime.cadence import LISTED, WAKE, Cadence, Spread
from runtime.pacing import Due

PERIOD_NS = 10_000_000


def due(index: int, late_ns: int = 0, missed: int = 0) -> Due:
    return Due(index=index, deadline_ns=index * PERIOD_NS, started_ns=index * PERIOD_NS + late_ns, missed=missed)


def lived(cadence: Cadence, clock: ManualClock, this: Due, *, late: bool = False, missed_ticks: int = 0) -> None:
    clock.sleep_until(this.started_ns)
    cadence.begin(this, late=late, missed_ticks=missed_ticks)
    cadence.end(PERIOD_NS)


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_are_never_better_than_the_truth_and_at_most_two_percent_worse(seed):
    times = np.random.default_rng(seed).lognormal(11, 2, size=3000).astype(int)
    spread = Spread()
    for t in times:
        spread.add(int(t))
    found = spread.times()
    for share, s in ((0.5, found.p50_s), (0.99, found.p99_s), (0.999, found.p999_s)):
        true = float(np.quantile(times, share, method="inverted_cdf")) * 1e-9
        assert true * (1 - 1e-9) <= s <= true * 1.02 + 2e-9
    assert found.worst_s == pytest.approx(times.max() * 1e-9)
    assert found.total_s == pytest.approx(times.sum() * 1e-9)


def test_nothing_counted_is_all_zero():
    assert Spread().times().worst_s == 0.0
    assert Cadence(ManualClock()).report().beat_hz == 0.0


def test_rates_are_those_of_what_took_place():
    clock = ManualClock()
    cadence = Cadence(clock)
    for i in range(0, 101, 2):
        lived(cadence, clock, due(i, missed=1 if i else 0))
    report = cadence.report()
    assert report.beat_hz == pytest.approx(50.0)
    assert (report.beats, report.missed, report.missed_beats[:3]) == (51, 50, (1, 3, 5))


def test_lists_are_bounded_and_counts_are_not():
    clock = ManualClock()
    cadence = Cadence(clock)
    lived(cadence, clock, due(0))
    lived(cadence, clock, due(1000, missed=999, late_ns=PERIOD_NS + 1), late=True, missed_ticks=199)
    report = cadence.report()
    assert (report.missed, len(report.missed_beats), report.missed_ticks) == (999, LISTED, 199)
    assert report.late_beats == (1000,)


def test_an_overrun_is_blamed_on_its_slowest_stage():
    clock = ManualClock()
    cadence = Cadence(clock)
    clock.sleep_until(0)
    cadence.begin(due(0), late=False, missed_ticks=0)
    clock.advance(0.002)
    cadence.lap("emit")
    with cadence.timing("track"):
        clock.advance(0.009)
    clock.advance(0.003)
    cadence.ticked()
    cadence.end(PERIOD_NS)
    report = cadence.report()
    assert (report.overruns, dict(report.blame)) == (1, {"track": 1})
    assert report.stages["tick"].total_s == pytest.approx(0.012)
    assert report.stages["emit"].total_s == pytest.approx(0.002)


def test_what_a_tick_does_not_spend_in_its_parts_is_its_own():
    clock = ManualClock()
    cadence = Cadence(clock)
    cadence.begin(due(0), late=False, missed_ticks=0)
    with cadence.timing("read"):
        clock.advance(0.004)
    clock.advance(0.008)
    cadence.ticked()
    cadence.end(PERIOD_NS)
    assert dict(cadence.report().blame) == {"tick": 1}


def test_a_late_beat_that_nobody_made_late_is_the_machines():
    clock = ManualClock()
    cadence = Cadence(clock)
    lived(cadence, clock, due(0))
    lived(cadence, clock, due(1, late_ns=PERIOD_NS * 3), late=True)
    lived(cadence, clock, due(5, missed=3))
    lived(cadence, clock, due(7, missed=1))
    assert dict(cadence.report().blame) == {WAKE: 2}, "the first three were missed because of the late one"


def test_a_beat_late_after_an_overrun_is_blamed_once():
    clock = ManualClock()
    cadence = Cadence(clock)
    cadence.begin(due(0), late=False, missed_ticks=0)
    clock.advance(0.035)
    cadence.ticked()
    cadence.end(PERIOD_NS)
    lived(cadence, clock, due(3, late_ns=5_000_000, missed=2))
    assert dict(cadence.report().blame) == {"tick": 1}


def test_a_time_is_booked_even_when_the_stage_raises():
    clock = ManualClock()
    cadence = Cadence(clock)

    def breaks() -> None:
        with cadence.timing("read"):
            clock.advance(0.5)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        breaks()
    assert cadence.report().stages["read"].total_s == pytest.approx(0.5)


def test_json_and_line_say_what_the_report_says():
    clock = ManualClock()
    cadence = Cadence(clock, scheduler="SCHED_FIFO 50", warnings=("memory not locked",))
    for i in range(3):
        lived(cadence, clock, due(i))
    cadence.spent("emit", 1000)
    report = cadence.report()
    data = json.loads(report.to_json())
    assert data["lateness"]["count"] == 3
    assert data["stages"]["emit"]["count"] == 1
    assert data["warnings"] == ["memory not locked"]
    assert "SCHED_FIFO 50" in report.line()
    assert "\n" not in report.line()


def test_a_reset_forgets():
    clock = ManualClock()
    cadence = Cadence(clock)
    lived(cadence, clock, due(7, missed=7, late_ns=PERIOD_NS * 2), late=True)
    cadence.reset()
    assert cadence.report() == Cadence(clock).report()
