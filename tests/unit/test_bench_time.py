"""What the benches of time say: the witness sees what the beat should have marked, and the verdicts can be bad."""

from dataclasses import dataclass, replace

import pytest

from core.clock import ManualClock
from regrasp.bench_beat import BeatRun, Witness, unmarked
from regrasp.bench_ipc import bench_ipc
from regrasp.bench_ipc_ends import IpcFigures, Latency
from regrasp.bench_loop import verdict
from runtime.cadence import Cadence, Times
from runtime.pacing import Due
from runtime.record.codec import dumps, loads


@dataclass
class SlowStream:
    clock: ManualClock
    takes_s: float

    def emit(self, *, late: bool) -> None:
        self.clock.advance(self.takes_s)


@dataclass
class AtBeat:
    due: Due


def lateness(p99_s: float) -> Times:
    return Times(count=100, p50_s=p99_s / 4, p99_s=p99_s, p999_s=p99_s, worst_s=p99_s, total_s=p99_s)


def run(p99_s: float = 1e-4, *, realtime: bool = True, unmarked: int = 0) -> BeatRun:
    report = replace(Cadence(ManualClock()).report(), lateness=lateness(p99_s))
    return BeatRun(realtime=realtime, report=report, unmarked=unmarked, answers=3)


@pytest.mark.parametrize(("takes_s", "late", "seen"), [(0.011, False, 1), (0.009, False, 0), (0.011, True, 0)])
def test_a_witness_sees_commands_sent_late_that_were_not_told_to_stay(takes_s, late, seen):
    clock = ManualClock()
    witness = Witness(SlowStream(clock, takes_s), clock, 0.01)
    witness.beat = AtBeat(Due(index=4, deadline_ns=0, started_ns=0, missed=0))
    witness.emit(late=late)
    assert witness.late == [4] * seen


@pytest.mark.parametrize(
    ("counted", "code"),
    [
        (run(), 0),
        (run(6e-4), 1),
        (run(6e-4, realtime=False), 0),
        (run(unmarked=1), 1),
    ],
)
def test_the_beat_is_kept_or_not(counted, code):
    slow = run(0.01, realtime=False)
    assert verdict(counted, [slow, slow]) == code
    assert verdict(counted, []) == code


def test_a_late_command_nobody_marked_is_wrong_in_the_runs_compared_too():
    assert verdict(run(), [run(realtime=False, unmarked=2)]) == 1


@pytest.mark.parametrize(
    ("seen", "listed", "count", "wrong"),
    [((), (), 0, 0), ((4,), (4, 9), 2, 0), ((4, 5), (4, 9), 2, 1), ((4, 20), (4, 9), 3, 0), ((5, 20), (4, 9), 3, 1)],
)
def test_what_was_seen_late_must_be_listed_as_far_as_the_list_goes(seen, listed, count, wrong):
    report = replace(run().report, late_send_beats=listed, late_sends=count)
    assert unmarked(seen, report) == wrong


def test_a_run_goes_through_json_unchanged():
    whole = run(2e-4)
    assert loads(BeatRun, dumps(whole)) == whole


def figures(ring_p50_s: float, received: int = 60) -> IpcFigures:
    def one(way: str, size: str, p50_s: float, received: int = 60) -> Latency:
        return Latency(way=way, size=size, sent=60, received=received, p50_s=p50_s, p99_s=2 * p50_s, worst_s=3 * p50_s)

    return IpcFigures(
        scheduler="SCHED_FIFO 50", warnings=(), ros=False,
        latencies=(
            one("ring", "vga", ring_p50_s, received), one("ring", "state", ring_p50_s), one("zmq ipc", "vga", 4e-4)
        ),
    )  # fmt: skip


@pytest.mark.parametrize(("found", "code"), [(figures(2e-4), 0), (figures(5e-4), 1), (figures(2e-4, received=59), 1)])
def test_the_ring_wins_and_loses_nothing_or_not(monkeypatch, found, code):
    monkeypatch.setattr("regrasp.bench_ipc._measured", lambda config: found)
    assert bench_ipc(None) == code
