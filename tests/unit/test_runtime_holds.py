"""What holds the arm for a tick or for longer by itself: an arm that cannot follow, old sensing, an old chunk."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from core.arrays import Floats
from core.failures import FailureMode
from core.fakes import ScriptedOperator, ScriptedPolicy
from core.flow import ActionChunk, Observation, OperatorCommand, OperatorInput, Phase, Source, Step
from core.ports import Operator, Robot
from runtime.config import RuntimeConfig, WatchLimits
from runtime.plan import build_loop
from runtime.record.replay import replay
from runtime.rehearsal import Rehearsal, rehearsal

IMAGES = {"front": np.zeros((4, 4, 3), np.uint8), "wrist": np.zeros((4, 4, 3), np.uint8)}

RESUME = OperatorInput(command=OperatorCommand.RESUME)


class Meddler:
    """A robot whose observations are changed, by the number of the tick."""

    def __init__(self, robot: Robot, change: Callable[[int, Observation], Observation]) -> None:
        self._robot, self._change, self._ticks = robot, change, -1

    def read(self) -> Observation:
        self._ticks += 1
        return self._change(self._ticks, self._robot.read())

    def send(self, action: Floats) -> Floats:
        return self._robot.send(action)

    def hold(self) -> None:
        self._robot.hold()


def circling(_: Observation) -> Floats:
    """A plan of 20 rows that never rests, always inside the workspace."""
    angle = np.arange(20) * 0.3
    rows = np.zeros((20, 7))
    rows[:, 0], rows[:, 1], rows[:, 6] = 0.01 * np.cos(angle), 0.01 * np.sin(angle), 1.0
    return rows


def lived(
    ticks: int,
    change: Callable[[int, Observation], Observation] = lambda _, obs: obs,
    *,
    polls: int = 0,
    operator: Operator | None = None,
    config: RuntimeConfig | None = None,
) -> Rehearsal:
    """Lives some ticks of a policy that always moves."""
    policy = ScriptedPolicy(circling, polls=polls)
    stage = rehearsal(policy=policy, operator=operator, images=IMAGES, config=config)
    loop = build_loop(stage.plan, replace(stage.ports, robot=Meddler(stage.cell, change)))
    stage = replace(stage, loop=loop)
    with stage.cell:
        for _ in range(ticks):
            stage.loop.tick()
    return stage


def faulty(ticks: range) -> Callable[[int, Observation], Observation]:
    return lambda i, obs: replace(obs, fault="C31 collision") if i in ticks else obs


def old_state(ticks: range, age_ms: float) -> Callable[[int, Observation], Observation]:
    return lambda i, obs: replace(obs, t_ns=obs.t_ns - round(age_ms * 1e6)) if i in ticks else obs


def old_image(ticks: range, age_ms: float) -> Callable[[int, Observation], Observation]:
    def change(i: int, obs: Observation) -> Observation:
        times = {**obs.image_t_ns, "wrist": obs.t_ns - round(age_ms * 1e6)}
        return replace(obs, image_t_ns=times) if i in ticks else obs

    return change


def no_image(ticks: range) -> Callable[[int, Observation], Observation]:
    return lambda i, obs: replace(obs, images={}, image_t_ns={"front": obs.t_ns}) if i in ticks else obs


def sources(steps: list[Step]) -> list[tuple[str, int]]:
    return [(source.value, len(list(many))) for source, many in groupby(s.source for s in steps)]


def still(step: Step) -> bool:
    return not step.commanded[:6].any()


def test_while_the_arm_cannot_follow_every_tick_holds_and_says_why() -> None:
    stage = lived(30, faulty(range(10, 20)))
    during = stage.steps[10:20]
    assert all(s.source is Source.HOLD and still(s) and s.phase is Phase.RUNNING for s in during)
    assert all("arm cannot follow: C31 collision" in s.note for s in during)
    assert sources(stage.steps) == [("policy", 10), ("hold", 10), ("policy", 10)]


def test_an_arm_that_follows_again_starts_from_where_it_is_with_a_plan_made_since() -> None:
    stage = lived(40, faulty(range(10, 20)), polls=3)
    first = next(s for s in stage.steps[20:] if s.source is Source.POLICY)
    assert first.chunk_t_ns is not None
    assert first.chunk_t_ns > stage.steps[19].observation.t_ns
    assert stage.cell.arm.holds >= 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (old_state(range(10, 12), 101), "robot state is 101 ms old; allowed 100 ms"),
        (old_image(range(10, 13), 251), "image of wrist is 251 ms old; allowed 250 ms"),
        (no_image(range(10, 11)), "no image of wrist yet"),
    ],
)
def test_old_or_missing_sensing_holds_that_tick_and_the_policy_goes_on_by_itself(
    change: Callable[[int, Observation], Observation], words: str
) -> None:
    stage = lived(30, change)
    held = [s for s in stage.steps if s.source is Source.HOLD]
    assert [s.index for s in held] == list(range(10, 10 + len(held)))
    assert 1 <= len(held) <= 3
    assert all(still(s) and f"stale observation: {words}" in s.note for s in held)
    assert {s.phase for s in stage.steps} == {Phase.RUNNING}


@pytest.mark.parametrize("change", [old_state(range(5, 25), 99), old_image(range(5, 25), 249)])
def test_sensing_just_inside_its_age_is_acted_on(change: Callable[[int, Observation], Observation]) -> None:
    assert sources(lived(30, change).steps) == [("policy", 30)]


def test_a_chunk_ages_while_the_arm_holds_and_is_not_played_when_it_is_stale() -> None:
    config = RuntimeConfig(watch=WatchLimits(robot_age_s=9.0), chunk_age_s=0.3)
    stage = lived(40, old_state(range(10, 30), 500), polls=3, config=config)
    first = next(s for s in stage.steps[30:] if s.source is Source.POLICY)
    assert first.index > 30
    assert first.chunk_t_ns is not None
    assert first.chunk_t_ns >= stage.steps[30].observation.t_ns


def test_a_simulated_run_that_keeps_time_is_never_held() -> None:
    assert sources(lived(60).steps) == [("policy", 60)]


def test_a_fault_that_lasts_fetches_a_person_without_asking_a_model() -> None:
    stage = lived(100, faulty(range(10, 100)))
    reports = [s for s in stage.steps if s.report is not None]
    assert reports[0].report is not None
    assert reports[0].report.mode is FailureMode.CONTROLLER_FAULT
    assert reports[0].report.evidence["fault_s"] == pytest.approx(3.05)
    assert reports[0].index == 10 + 61
    assert [p.value for p, _ in groupby(s.phase for s in stage.steps)] == ["running", "holding"]
    assert not getattr(stage.ports.diagnoser, "asked", None)


def test_an_arm_that_does_not_move_because_it_cannot_is_not_called_stalled_or_colliding() -> None:
    stage = lived(110, faulty(range(30, 85)))
    assert [s.report for s in stage.steps if s.report is not None] == []
    assert {s.phase for s in stage.steps} == {Phase.RUNNING}


def test_resuming_while_the_arm_still_cannot_follow_moves_nothing_and_ends_in_holding_again() -> None:
    operator = ScriptedOperator({5: OperatorInput(command=OperatorCommand.HOLD), 10: RESUME})
    stage = lived(120, faulty(range(3, 120)), operator=operator)
    assert all(still(s) for s in stage.steps[3:])
    assert [p.value for p, _ in groupby(s.phase for s in stage.steps)] == ["running", "holding", "running", "holding"]


@pytest.mark.parametrize("polls", [0, 1, 3, 6])
@pytest.mark.parametrize("gap", [1, 2, 5, 25])
@pytest.mark.parametrize("how", [OperatorCommand.HOLD, OperatorCommand.TAKE_OVER])
def test_after_a_resume_the_first_action_comes_from_an_observation_taken_after_it(
    polls: int, gap: int, how: OperatorCommand
) -> None:
    asked: Mapping[int, OperatorInput] = {20: OperatorInput(command=how), 20 + gap: RESUME}
    stage = lived(70, polls=polls, operator=ScriptedOperator(asked))
    resumed_ns = stage.steps[20 + gap].arrived.now_ns
    after = [s for s in stage.steps[21 + gap :] if s.source is Source.POLICY]
    assert after
    assert all(s.chunk_t_ns is not None and s.chunk_t_ns > resumed_ns for s in after)
    assert all(still(s) for s in stage.steps[21 : after[0].index])
    assert after[0].index - (20 + gap) <= polls + 1


class Late(ScriptedPolicy):
    """Answers at tick 11 with what it planned from the observation of tick 0, else at once."""

    def __init__(self) -> None:
        super().__init__(circling)
        self._polled = -1

    def poll(self) -> ActionChunk | None:
        chunk, self._polled = super().poll(), self._polled + 1
        return replace(chunk, obs_t_ns=1_000_000_000) if chunk is not None and self._polled == 11 else chunk


def test_a_chunk_that_was_in_flight_before_the_hold_is_passed_over_by_name() -> None:
    stage = rehearsal(
        policy=Late(),
        operator=ScriptedOperator({5: OperatorInput(command=OperatorCommand.HOLD), 10: RESUME}),
    )
    with stage.cell:
        for _ in range(20):
            stage.loop.tick()
    assert "planned before the arm was released" in stage.steps[11].note
    assert stage.steps[11].source is Source.HOLD


@pytest.mark.parametrize("change", [faulty(range(10, 90)), old_state(range(7, 9), 150), old_image(range(7, 20), 300)])
def test_held_ticks_replay_bit_for_bit(change: Callable[[int, Observation], Observation]) -> None:
    operator = ScriptedOperator({15: OperatorInput(command=OperatorCommand.HOLD), 40: RESUME})
    stage = lived(110, change, polls=2, operator=operator)
    assert replay(stage.episode()).mismatch is None
