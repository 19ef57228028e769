"""All that people can ask of a running robot, in every phase, through the desk that its services fill."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from bridge.desk import OperatorDesk
from core.arrays import Floats
from core.failures import FailureMode, FailureReport
from core.fakes import ScriptedDiagnoser, ScriptedPolicy
from core.flow import Observation, OperatorCommand, Phase, Source, Step
from runtime.phases import HOLDS, PLANS
from runtime.record.replay import replay
from runtime.rehearsal import Rehearsal, believe, rehearsal
from runtime.watch.panel import Watch
from runtime.watch.reports import report_of

STOP, HOLD, RESUME = OperatorCommand.STOP, OperatorCommand.HOLD, OperatorCommand.RESUME
TAKE_OVER, RESET = OperatorCommand.TAKE_OVER, OperatorCommand.RESET
RUNNING, DIAGNOSING, RECOVERING = Phase.RUNNING, Phase.DIAGNOSING, Phase.RECOVERING
HOLDING, OPERATOR, STOPPED = Phase.HOLDING, Phase.OPERATOR, Phase.STOPPED

EXPECTED = {
    #            STOP     HOLD     RESUME   TAKE_OVER  RESET
    RUNNING:    (STOPPED, HOLDING, RUNNING, OPERATOR,  RUNNING),
    DIAGNOSING: (STOPPED, HOLDING, RUNNING, OPERATOR,  DIAGNOSING),
    RECOVERING: (STOPPED, HOLDING, RUNNING, OPERATOR,  RECOVERING),
    HOLDING:    (STOPPED, HOLDING, RUNNING, OPERATOR,  HOLDING),
    OPERATOR:   (STOPPED, HOLDING, RUNNING, OPERATOR,  OPERATOR),
    STOPPED:    (STOPPED, STOPPED, STOPPED, STOPPED,   HOLDING),
}  # fmt: skip
COMMANDS = (STOP, HOLD, RESUME, TAKE_OVER, RESET)
FAILS_AT = 6
RUSH = np.array([0, 0.01, 0, 0, 0, 0, 1.0])


class Once:
    """Reports a missed grasp in one tick."""

    def update(self, step: Step) -> FailureReport | None:
        if step.index != FAILS_AT:
            return None
        return report_of(step, "once", FailureMode.MISSED_GRASP, confidence=0.9, evidence={})

    def reset(self) -> None:
        """Nothing to forget."""


def once() -> list[Watch]:
    return [Watch(name="once", detector=Once())]


def cell_in(phase: Phase) -> tuple[Rehearsal, OperatorDesk]:
    """Returns a cell whose policy always wants to move, lived until its loop is in a phase."""
    desk, fails = OperatorDesk(), phase in (DIAGNOSING, RECOVERING)
    stage = rehearsal(
        policy=ScriptedPolicy(lambda _: np.tile(RUSH, (20, 1)), polls=1),
        diagnoser=ScriptedDiagnoser(believe if phase is RECOVERING else lambda _: None),
        correct=lambda _obs, _scene, _base: np.array([0.5, 0, 0, 0, 0, 0, 0.0]),
        operator=desk,
        watches=once() if fails else [],
    )
    stage.cell.__enter__()
    asked = {HOLDING: HOLD, OPERATOR: TAKE_OVER, STOPPED: STOP}
    for _ in range(FAILS_AT - 1):
        stage.loop.tick()
    if phase in asked:
        desk.ask(asked[phase])
    lived(stage, 40, until=lambda: stage.loop.phase is phase)
    assert stage.loop.phase is phase
    return stage, desk


def lived(stage: Rehearsal, ticks: int, *, until: Callable[[], bool] = lambda: False) -> list[Step]:
    begun = len(stage.steps)
    for _ in range(ticks):
        if until():
            break
        stage.loop.tick()
    return stage.steps[begun:]


def moves(step: Step) -> bool:
    return bool(step.commanded[:6].any())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("phase", EXPECTED)
def test_every_request_in_every_phase_leads_where_the_table_says(phase: Phase, command: OperatorCommand) -> None:
    stage, desk = cell_in(phase)
    desk.ask(command)
    (step,) = lived(stage, 1)
    expected = EXPECTED[phase][COMMANDS.index(command)]
    assert (step.phase, step.next_phase, stage.loop.phase) == (phase, expected, expected)
    if expected in HOLDS or command in (STOP, HOLD):
        assert not any(moves(s) for s in lived(stage, 10))
    if expected is not phase and expected in HOLDS:
        assert stage.cell.arm.holds >= 1
    assert replay(stage.episode(), once() if phase in (DIAGNOSING, RECOVERING) else []).mismatch is None


@pytest.mark.parametrize("phase", set(Phase) - {STOPPED})
def test_a_stop_and_a_hold_take_effect_in_the_very_tick(phase: Phase) -> None:
    for command in (STOP, HOLD):
        stage, desk = cell_in(phase)
        desk.ask(command)
        (step,) = lived(stage, 1)
        assert step.source is Source.HOLD
        assert not moves(step)


@pytest.mark.parametrize("asked", [(RESUME,), (TAKE_OVER,), (HOLD, RESUME), (RESUME, RESUME, TAKE_OVER, RESUME)])
def test_nothing_but_a_reset_leads_out_of_stopped_and_nothing_moves(asked: tuple[OperatorCommand, ...]) -> None:
    stage, desk = cell_in(STOPPED)
    for command in asked:
        desk.ask(command)
    desk.drive(RUSH)
    steps = lived(stage, 20)
    assert not any(moves(s) for s in steps)
    assert {s.next_phase for s in steps} == {STOPPED}


def test_a_reset_alone_moves_nothing_and_a_resume_after_it_plays_only_a_new_plan() -> None:
    stage, desk = cell_in(STOPPED)
    desk.ask(RESET)
    assert not any(moves(s) for s in lived(stage, 30))
    assert stage.loop.phase is HOLDING
    desk.ask(RESUME)
    steps = lived(stage, 10)
    first = next(s for s in steps if moves(s))
    assert first.chunk_t_ns is not None
    assert first.chunk_t_ns > steps[0].arrived.now_ns


@pytest.mark.parametrize("phase", [DIAGNOSING, RECOVERING, HOLDING, OPERATOR])
def test_a_resume_in_any_phase_plays_only_a_plan_made_after_it(phase: Phase) -> None:
    stage, desk = cell_in(phase)
    desk.ask(RESUME)
    asked, *after = lived(stage, 12)
    first = next(s for s in after if moves(s))
    assert first.source is Source.POLICY
    assert first.chunk_t_ns is not None
    assert first.chunk_t_ns > asked.arrived.now_ns


def test_a_stop_overtakes_everything_that_was_asked_before_it() -> None:
    stage, desk = cell_in(HOLDING)
    for command in (RESUME, TAKE_OVER, RESUME, STOP):
        desk.ask(command)
    assert lived(stage, 1)[0].next_phase is STOPPED
    assert {s.next_phase for s in lived(stage, 10)} == {STOPPED}


@pytest.mark.parametrize("phase", set(Phase) - {STOPPED})
def test_an_arm_stopped_by_its_own_button_moves_nothing_in_any_phase(phase: Phase) -> None:
    stage, desk = cell_in(phase)

    class Stopped:
        """The cell's arm with a latched stop."""

        def read(self) -> Observation:
            return replace(stage.cell.read(), fault="the arm is stopped")

        def send(self, action: Floats) -> Floats:
            return stage.cell.send(action)

        def hold(self) -> None:
            stage.cell.hold()

    stage.loop._ports = replace(stage.loop._ports, robot=Stopped())
    desk.drive(RUSH)
    assert not any(moves(s) for s in lived(stage, 80))
    assert stage.loop.phase in (HOLDING, OPERATOR) or phase not in PLANS


def test_the_table_covers_every_phase_and_command() -> None:
    assert set(EXPECTED) == set(Phase)
    assert set(COMMANDS) == set(OperatorCommand)
