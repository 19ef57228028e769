"""The heartbeat's laws: what breaks is held, recorded, stopped and raised; time is read once."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.clock import ManualClock
from core.errors import DeviceTimeout
from core.failures import FailureMode, FailureReport, Severity
from core.fakes import FakeRobot, MemorySink, ScriptedPolicy
from core.flow import Observation, Phase, Step
from core.robots import EE_DELTA
from runtime.episode import run_episode
from runtime.pacing import Pacer
from runtime.plan import build_loop
from runtime.record.replay import replay
from runtime.rehearsal import Rehearsal, rehearsal
from runtime.watch.panel import Watch
from runtime.watch.reports import report_of


class Broken:
    """Any port, broken: it works until it has been used so many times."""

    def __init__(self, port: Any, method: str, after: int) -> None:
        self._port, self._method, self._left = port, method, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._wrap(found) if name == self._method else found

    def _wrap(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise DeviceTimeout("no answer", device=self._method, remedy="check the cable")
            return method(*args)

        return call


def broken(stage: Rehearsal, port: str, method: str, after: int = 5) -> Rehearsal:
    """Returns the same rehearsal with one port that breaks."""
    changed: dict[str, Any] = {port: Broken(getattr(stage.ports, port), method, after)}
    ports = replace(stage.ports, **changed)
    return replace(stage, ports=ports, loop=build_loop(stage.plan, ports))


@pytest.mark.parametrize(
    ("port", "method"),
    [("policy", "poll"), ("policy", "submit"), ("tracker", "track"), ("robot", "send"), ("diagnoser", "poll")],
)
def test_a_port_that_breaks_is_held_recorded_stopped_and_raised(port: str, method: str) -> None:
    stage = broken(rehearsal(), port, method, 3)
    with stage.cell, pytest.raises(DeviceTimeout, match="check the cable"):
        run_episode(stage.loop, 50, stage.done)
    last = stage.steps[-1]
    assert stage.loop.phase is Phase.STOPPED
    assert last.next_phase is Phase.STOPPED
    assert last.note.startswith("fault: DeviceTimeout")
    assert [s.index for s in stage.steps] == list(range(len(stage.steps)))
    assert stage.cell.arm.holds >= 1


def test_a_fault_replays_up_to_the_step_that_broke() -> None:
    stage = broken(rehearsal(), "tracker", "track")
    with stage.cell, pytest.raises(DeviceTimeout):
        run_episode(stage.loop, 50, stage.done)
    found = replay(stage.episode())
    assert found.mismatch is None
    assert found.steps == 5
    assert "check the cable" in found.fault


def test_a_robot_that_cannot_be_read_is_held_and_raised() -> None:
    stage = broken(rehearsal(), "robot", "read")
    with stage.cell, pytest.raises(DeviceTimeout):
        run_episode(stage.loop, 50, stage.done)
    assert len(stage.steps) == 5
    assert stage.loop.phase is Phase.STOPPED
    assert stage.cell.arm.holds >= 1


def test_a_sink_that_breaks_does_not_take_the_step_from_the_others() -> None:
    late = MemorySink()
    stage = rehearsal(sinks=(Broken(MemorySink(), "write", 5), late))
    with stage.cell, pytest.raises(DeviceTimeout):
        run_episode(stage.loop, 50, stage.done)
    assert [s.index for s in late.steps] == [0, 1, 2, 3, 4, 5]
    assert late.steps[-1].next_phase is Phase.STOPPED


def test_ctrl_c_holds_the_arm_and_goes_on_to_the_caller() -> None:
    def interrupt(_: Observation) -> Any:
        raise KeyboardInterrupt

    stage = rehearsal(policy=ScriptedPolicy(interrupt))
    with stage.cell, pytest.raises(KeyboardInterrupt):
        run_episode(stage.loop, 50, stage.done)
    assert stage.cell.arm.holds >= 1
    assert stage.loop.phase is Phase.STOPPED


def test_ctrl_c_between_two_ticks_holds_the_arm() -> None:
    def interrupt(_: Step) -> bool:
        raise KeyboardInterrupt

    stage = rehearsal()
    with stage.cell, pytest.raises(KeyboardInterrupt):
        run_episode(stage.loop, 50, interrupt)
    assert stage.cell.arm.holds >= 1


def test_a_stopped_loop_goes_on_holding_when_it_is_ticked() -> None:
    stage = broken(rehearsal(), "tracker", "track", 2)
    with stage.cell, pytest.raises(DeviceTimeout):
        run_episode(stage.loop, 50, stage.done)
    calm = replace(stage.ports, tracker=stage.cell)
    stage.loop._ports = calm
    with stage.cell:
        step = stage.loop.tick()
    assert step.phase is Phase.STOPPED
    assert not step.commanded[:6].any()
    assert step.index == stage.steps[-2].index + 1


def test_every_episode_ends_with_a_hold() -> None:
    stage = rehearsal()
    with stage.cell:
        run_episode(stage.loop, 3, stage.done)
        assert stage.cell.arm.holds == 1


def test_a_reset_loop_lives_the_same_episode_again() -> None:
    stage = rehearsal()
    with stage.cell:
        run_episode(stage.loop, 5, stage.done)
        first = [s.commanded.tolist() for s in stage.steps]
        stage.cell.arm._pos = np.array([0.4, 0.0, 0.3])
        run_episode(stage.loop, 5, stage.done)
    assert [s.commanded.tolist() for s in stage.steps[5:]] == first
    assert [s.index for s in stage.steps] == [0, 1, 2, 3, 4] * 2


class Slow:
    """Reports SLOW at step 3."""

    def update(self, step: Step) -> FailureReport | None:
        if step.index != 3:
            return None
        return report_of(
            step, "slow", FailureMode.UNKNOWN, confidence=0.5, evidence={}, severity=Severity.SLOW
        )  # fmt: skip

    def reset(self) -> None:
        """Nothing to forget."""


def test_a_slow_report_halves_the_speed_for_a_while() -> None:
    rush = np.array([0, 0.025, 0, 0, 0, 0, 1.0])
    stage = rehearsal(
        policy=ScriptedPolicy(lambda _: np.tile(rush, (8, 1))), watches=[Watch(name="s", detector=Slow())]
    )
    config = replace(
        stage.plan.config, guard=replace(stage.plan.config.guard, tcp_speed_m_s=0.4, workspace_high=(2, 9, 2))
    )
    loop = build_loop(replace(stage.plan, config=config), stage.ports, [Watch(name="s", detector=Slow())])
    with stage.cell:
        for _ in range(40):
            loop.tick()
    speeds = [round(float(s.commanded[1]) / EE_DELTA.dt_s, 6) for s in stage.steps]
    assert speeds[:4] == [0.4] * 4
    assert speeds[4:33] == [0.2] * 29
    assert speeds[-1] == 0.4


class CountingClock(ManualClock):
    """Counts how often it is read."""

    reads = 0

    def now_ns(self) -> int:
        self.reads += 1
        return super().now_ns()


def test_the_clock_is_read_once_a_tick() -> None:
    clock, stage = CountingClock(10**9), rehearsal()
    loop = build_loop(stage.plan, replace(stage.ports, clock=clock))
    with stage.cell:
        loop.tick()
        loop.tick()
    assert clock.reads == 2


def test_a_pacer_keeps_absolute_deadlines_and_counts_missed_periods() -> None:
    clock = ManualClock()
    pacer = Pacer(clock, 0.05)
    begun = []
    for busy_s in (0.01, 0.02, 0.12, 0.01, 0.0):
        begun.append(pacer.wait())
        clock.advance(busy_s)
    assert [due.started_ns / 1e9 for due in begun] == pytest.approx([0.0, 0.05, 0.1, 0.22, 0.25])
    assert [due.index for due in begun] == [0, 1, 2, 4, 5]
    assert [due.missed for due in begun] == [0, 0, 0, 1, 0]
    assert max(due.late_ns for due in begun) == 20_000_000


def test_a_paced_episode_never_outruns_its_clock() -> None:
    stage = rehearsal()
    with stage.cell:
        run_episode(stage.loop, 10, stage.done, Pacer(stage.clock, 0.05))
    ticks = [s.arrived.now_ns for s in stage.steps]
    assert set(np.diff(ticks)) == {50_000_000}


def test_the_fake_robot_refuses_to_be_used_before_it_is_connected() -> None:
    stage = rehearsal()
    with pytest.raises(ConnectionError):
        stage.loop.tick()
    assert isinstance(stage.cell.arm, FakeRobot)
