"""What every `Clock` must keep."""

import pytest

from core.clock import Clock, ManualClock, MonotonicClock

MILLISECOND_NS = 1_000_000


@pytest.fixture(params=[MonotonicClock, lambda: ManualClock(7)], ids=["monotonic", "manual"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return request.param()


def test_it_is_a_clock_that_counts_whole_nanoseconds(clock: Clock) -> None:
    assert isinstance(clock, Clock)
    assert isinstance(clock.now_ns(), int)


def test_it_never_runs_backwards(clock: Clock) -> None:
    readings = [clock.now_ns() for _ in range(100)]
    assert readings == sorted(readings)


def test_waiting_ends_at_or_after_the_moment_asked_for(clock: Clock) -> None:
    moment = clock.now_ns() + 2 * MILLISECOND_NS
    clock.sleep_until(moment)
    assert clock.now_ns() >= moment


def test_waiting_for_the_past_neither_waits_nor_turns_time_back(clock: Clock) -> None:
    before = clock.now_ns()
    clock.sleep_until(before - 10_000 * MILLISECOND_NS)
    assert before <= clock.now_ns() < before + 5_000 * MILLISECOND_NS


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(5)
    assert clock.now_ns() == clock.now_ns() == 5
    clock.advance(0.05)
    assert clock.now_ns() == 50_000_005
