"""The beat keeps its grid, never bursts, marks what is late, and holds whatever breaks."""

from dataclasses import dataclass, field, replace

import pytest

from core.clock import ManualClock
from core.errors import ContractError, DeviceTimeout
from core.flow import Phase
from runtime.beat import Beat
from runtime.cadence import TICK_STAGES, Cadence
from runtime.config import BeatConfig
from runtime.episode import run_beats
from runtime.plan import build_loop
from runtime.record.replay import replay
from runtime.rehearsal import Rehearsal, rehearsal
from runtime.stages import timed_ports

PERIOD_S = 0.01


class StallingClock(ManualClock):
    """Oversleeps when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.oversleep_s: dict[int, float] = {}
        self.sleeps = 0

    def sleep_until(self, t_ns: int) -> None:
        super().sleep_until(t_ns)
        self.advance(self.oversleep_s.get(self.sleeps, 0.0))
        self.sleeps += 1


@dataclass
class Points:
    """A stream that notes when it was told, and can be slow or break."""

    clock: ManualClock
    told: list[tuple[float, bool]] = field(default_factory=list)
    slow_s: dict[int, float] = field(default_factory=dict)
    breaks_at: int = -1

    def emit(self, *, late: bool) -> None:
        if len(self.told) == self.breaks_at:
            raise DeviceTimeout("no answer", device="arm", remedy="look at the cable")
        self.told.append((round(self.clock.now_ns() * 1e-9, 6), late))
        self.clock.advance(self.slow_s.get(len(self.told) - 1, 0.0))


@dataclass
class Bench:
    """A beat around the rehearsal's loop; ticks and serving cost what is written here."""

    stage: Rehearsal
    clock: StallingClock
    stream: Points
    cadence: Cadence
    beat: Beat
    tick_s: dict[int, float]
    served: list[float]


def bench(**ports) -> Bench:
    """The rehearsal's cell moves its own clock at each send, so the beat has another, moved by what the test says."""
    stage, clock, tick_s, served = rehearsal(), StallingClock(), {}, []
    stage = replace(stage, ports=replace(stage.ports, **ports))
    cadence = Cadence(clock)
    loop = build_loop(stage.plan, timed_ports(stage.ports, cadence))
    tick = loop.tick

    def slow_tick():
        step = tick()
        clock.advance(tick_s.get(step.index, 0.0))
        return step

    loop.tick = slow_tick
    stream = Points(clock)

    def serve(until_ns: int) -> None:
        served.append(round(until_ns * 1e-9, 6))

    beat = Beat(loop=loop, stream=stream, clock=clock, config=BeatConfig(), cadence=cadence, serve=serve)
    return Bench(replace(stage, loop=loop), clock, stream, cadence, beat, tick_s, served)


def live(made: Bench, beats: int) -> list[int]:
    """Lives some beats; returns the indices of those that ticked."""
    made.beat.start()
    ticked = []
    with made.stage.cell:
        for _ in range(beats):
            if made.beat.beat() is not None:
                ticked.append(made.beat.due.index)
    return ticked


def test_a_beat_in_time_keeps_the_grid_and_ticks_at_every_fifth():
    made = bench()
    assert live(made, 12) == [0, 5, 10]
    assert made.stream.told == [(round(i * PERIOD_S, 6), False) for i in range(12)]


def test_others_are_served_every_beat_until_shortly_before_the_next():
    made = bench()
    live(made, 3)
    assert made.served == pytest.approx([0.009, 0.019, 0.029])


def test_missed_beats_are_skipped_and_the_grid_is_kept():
    made = bench()
    made.tick_s[0] = 0.034
    live(made, 4)
    assert [t for t, _ in made.stream.told] == pytest.approx([0.0, 0.034, 0.04, 0.05])
    report = made.cadence.report()
    assert (report.missed_beats, report.overruns) == ((1, 2), 1)
    assert dict(report.blame) == {"tick": 1}


@pytest.mark.parametrize("stall_s", [0.011, 0.0199, 0.05, 0.123, 3.0])
def test_there_is_never_a_burst(stall_s):
    made = bench()
    made.tick_s[1] = stall_s
    live(made, 30)
    grid = [int(t / PERIOD_S + 1e-6) for t, _ in made.stream.told]
    assert len(set(grid)) == len(grid), "two points in one period"


def test_a_tick_among_missed_beats_is_skipped_and_counted():
    made = bench()
    made.tick_s[0] = 0.062
    assert live(made, 6) == [0, 10]
    report = made.cadence.report()
    assert (report.missed, report.missed_ticks) == (5, 1)


def test_a_beat_that_wakes_too_late_is_marked_and_told_to_stay():
    made = bench()
    made.clock.oversleep_s[3] = 0.0101
    live(made, 6)
    assert [late for _, late in made.stream.told] == [False, False, False, True, False, False]
    assert made.cadence.report().late_beats == (3,)


def test_a_beat_late_within_the_limit_is_not_marked():
    made = bench()
    made.clock.oversleep_s[3] = 0.0099
    live(made, 6)
    assert not any(late for _, late in made.stream.told)
    assert made.cadence.report().late == 0


def test_a_command_sent_too_late_is_marked_though_its_beat_began_in_time():
    made = bench()
    made.stream.slow_s[2] = 0.0101
    live(made, 5)
    report = made.cadence.report()
    assert (report.late_send_beats, dict(report.blame)) == ((2,), {"emit": 1})


def test_an_episode_on_the_beat_ends_in_a_hold():
    made = bench()
    with made.stage.cell:
        end = run_beats(made.beat, 200, made.stage.done)
        assert end.claimed
        assert made.stage.cell.arm.holds == 1
    assert end.phase is Phase.RUNNING
    report = made.cadence.report()
    assert report.ticks == end.steps == len(made.stage.steps)
    assert report.beats == 5 * (end.steps - 1) + 1


def test_an_episode_stops_at_its_last_step():
    made = bench()
    with made.stage.cell:
        assert run_beats(made.beat, 3, lambda _: False).steps == 3


def test_an_episode_on_the_beat_replays_to_the_bit():
    made = bench()
    with made.stage.cell:
        end = run_beats(made.beat, 60, made.stage.done)
    found = replay(made.stage.episode())
    assert (found.mismatch, found.steps) == (None, end.steps)


def test_a_stream_that_breaks_makes_the_arm_hold_and_is_heard_of():
    made = bench()
    made.stream.breaks_at = 7
    with made.stage.cell, pytest.raises(DeviceTimeout):
        run_beats(made.beat, 200, made.stage.done)
    assert made.stage.cell.arm.holds >= 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_breaks_between_ticks_makes_the_arm_hold(error):
    made = bench()

    def serve(until_ns: int) -> None:
        if until_ns > 80_000_000:
            raise error

    beat = Beat(
        loop=made.stage.loop,
        stream=made.stream,
        clock=made.clock,
        config=BeatConfig(),
        cadence=made.cadence,
        serve=serve,
    )
    with made.stage.cell:
        with pytest.raises(error):
            run_beats(beat, 200, made.stage.done)
        assert made.stage.cell.arm.holds == 1


def test_a_second_run_starts_a_new_grid_and_a_new_report():
    made = bench()
    live(made, 7)
    made.clock.advance(1.2345)
    made.stream.told.clear()
    assert live(made, 6) == [0, 5]
    assert made.cadence.report().beats == 6
    assert made.cadence.report().missed == 0


def test_every_stage_of_a_tick_is_timed():
    made = bench()
    live(made, 26)
    stages = made.cadence.report().stages
    assert set(TICK_STAGES) - {"diagnose"} <= set(stages)
    assert stages["read"].count == stages["track"].count == 6
    assert stages["emit"].count == 26


def test_a_beat_without_anybody_to_serve():
    made = bench()
    beat = Beat(loop=made.stage.loop, stream=made.stream, clock=made.clock, config=BeatConfig(), cadence=made.cadence)
    with made.stage.cell:
        assert run_beats(beat, 2, lambda _: False).steps == 2


@pytest.mark.parametrize(
    "wrong",
    [{"period_s": 0.0}, {"ticks_every": 0}, {"late_s": -1.0}, {"serve_margin_s": 0.01}, {"serve_margin_s": -0.1}],
)
def test_a_beat_that_cannot_be_is_refused(wrong):
    with pytest.raises(ContractError):
        BeatConfig(**wrong)
