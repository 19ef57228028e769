"""The whole loop on a cell without physics: fail, be noticed, be named, be recovered, hand back, finish."""

from collections.abc import Callable
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from core.arrays import Floats
from core.clock import ManualClock
from core.failures import FailureMode
from core.fakes import FakeChat, ScriptedDiagnoser, ScriptedOperator, ScriptedPolicy
from core.flow import Observation, OperatorCommand, OperatorInput, Phase, Source, Step
from core.ports import ChatAnswer, ChatModel, Evidence
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.robots import EE_DELTA
from runtime.config import RecoverLimits, RuntimeConfig, WatchLimits
from runtime.episode import EpisodeEnd, run_episode
from runtime.record.replay import replay
from runtime.recover.diagnose import VlmDiagnoser
from runtime.recover.fallback import FallbackDiagnoser
from runtime.recover.prompt import Allowed
from runtime.rehearsal import Rehearsal, believe, plan_to_plate, rehearsal

ALLOWED = Allowed(
    modes=(FailureMode.DROP, FailureMode.MISSED_GRASP), stages=(RecoveryStage.APPROACH,), objects=("apple", "plate"),
    terms=("approach",),
)  # fmt: skip
GOOD_ANSWER = (
    '{"mode": "missed_grasp", "stage": "approach", "target": "apple", "obstacles": [], "terms": ["approach"],'
    ' "confidence": 0.9, "rationale": "the fingers closed beside the apple"}'
)


def phases_of(steps: list[Step]) -> list[str]:
    return [phase.value for phase, _ in groupby(step.phase for step in steps)]


def live(stage: Rehearsal, ticks: int = 250) -> EpisodeEnd:
    with stage.cell:
        return run_episode(stage.loop, ticks, stage.done)


class Misled(ScriptedPolicy):
    """Grasps beside the apple until the apple was held once."""

    def __init__(self) -> None:
        self.stage: Rehearsal | None = None
        self._knows = False
        super().__init__(self._misled)

    def _misled(self, obs: Observation) -> Floats:
        assert self.stage is not None
        self._knows = self._knows or self.stage.cell.gripped == "apple"
        return plan_to_plate(self.stage.cell, (0.0, 0.0, 0.0) if self._knows else (0.03, 0.03, 0.0))(obs)


def misled(
    *,
    diagnoser: Callable[[Evidence], RecoveryDescriptor | None] = believe,
    polls: int = 2,
    config: RuntimeConfig | None = None,
    resume_when: str = "held",
    correct: Callable[..., Floats] | None = None,
) -> Rehearsal:
    policy = Misled()
    stage = rehearsal(
        policy=policy, diagnoser=ScriptedDiagnoser(diagnoser, polls=polls), config=config, resume_when=resume_when,
        correct=correct,
    )  # fmt: skip
    policy.stage = stage
    return stage


def with_chat(chat: ChatModel, clock: ManualClock | None = None) -> tuple[Rehearsal, VlmDiagnoser]:
    policy, clock = Misled(), clock or ManualClock()
    vlm = VlmDiagnoser(chat, ALLOWED, library="lib@1", clock=clock, deadline_s=3.0)
    stage = rehearsal(policy=policy, diagnoser=vlm, config=RuntimeConfig(recover=RecoverLimits(diagnose_s=1.0)))
    policy.stage = stage
    return stage, vlm


def test_a_policy_that_works_is_never_interrupted() -> None:
    stage = rehearsal()
    end = live(stage)
    assert end.claimed
    assert phases_of(stage.steps) == ["running"]
    assert all(step.report is None for step in stage.steps)


@pytest.mark.parametrize("resume_when", ["held", "placed"])
def test_a_missed_grasp_is_noticed_named_recovered_verified_and_handed_back(resume_when: str) -> None:
    stage = misled(resume_when=resume_when)
    end = live(stage)
    assert end.claimed
    assert (
        phases_of(stage.steps)[:4] == ["running", "diagnosing", "recovering", "running"][: 3 + (resume_when == "held")]
    )
    handed_back = next(s for s in stage.steps if s.phase is Phase.RECOVERING and s.next_phase is Phase.RUNNING)
    assert f"{resume_when} is verified" in handed_back.note
    assert {s.source for s in stage.steps if s.phase is Phase.RECOVERING} == {Source.RESIDUAL}
    assert replay(stage.episode()).mismatch is None


def test_without_recovery_the_same_policy_fails_but_is_still_watched() -> None:
    stage = misled(config=RuntimeConfig(recover=RecoverLimits(enabled=False)))
    end = live(stage)
    assert not end.claimed
    assert phases_of(stage.steps) == ["running"]
    assert any(step.report is not None and step.report.mode is FailureMode.MISSED_GRASP for step in stage.steps)


def test_the_arm_holds_and_nothing_moves_while_a_diagnosis_is_waited_for() -> None:
    stage = misled(polls=10)
    live(stage)
    waiting = [s for s in stage.steps if s.phase is Phase.DIAGNOSING]
    assert len(waiting) > 10
    assert all(s.source is Source.HOLD and not s.commanded[:6].any() for s in waiting)
    assert stage.cell.arm.holds >= 2


def test_a_diagnoser_that_never_answers_ends_in_holding_in_time() -> None:
    stage = misled(diagnoser=lambda _: None, config=RuntimeConfig(recover=RecoverLimits(diagnose_s=1.0)))
    live(stage)
    assert phases_of(stage.steps) == ["running", "diagnosing", "holding"]
    assert 20 <= sum(s.phase is Phase.DIAGNOSING for s in stage.steps) <= 22


def test_an_unknown_or_unsure_diagnosis_or_one_no_skill_helps_against_holds() -> None:
    changes: list[Callable[[RecoveryDescriptor], RecoveryDescriptor]] = [
        lambda d: replace(d, mode=FailureMode.UNKNOWN, stage=RecoveryStage.RETREAT),
        lambda d: replace(d, confidence=0.1),
        lambda d: replace(d, mode=FailureMode.JAM),
    ]
    for change in changes:
        stage = misled(diagnoser=lambda e, change=change: change(believe(e)))  # type: ignore[misc]
        live(stage)
        assert phases_of(stage.steps) == ["running", "diagnosing", "holding"]


def test_a_diagnosis_that_nothing_is_wrong_resumes_a_bounded_number_of_times() -> None:
    def clear(evidence: Evidence) -> RecoveryDescriptor:
        return replace(believe(evidence), mode=FailureMode.UNKNOWN, stage=RecoveryStage.RESUME)

    stage = misled(diagnoser=clear, config=RuntimeConfig(recover=RecoverLimits(diagnoses=3)))
    live(stage, 400)
    assert phases_of(stage.steps) == ["running", "diagnosing"] * 3 + ["running", "holding"]


def test_a_skill_that_achieves_nothing_is_tried_a_bounded_number_of_times_then_holds() -> None:
    limits = RecoverLimits(attempt_s=0.5, attempts=2)
    stage = misled(correct=lambda obs, _scene, _base: np.zeros(7), config=RuntimeConfig(recover=limits))
    live(stage, 200)
    assert phases_of(stage.steps) == ["running", *["diagnosing", "recovering"] * 2, "holding"]
    reports = [s.report for s in stage.steps if s.report is not None and s.report.detector == "attempt"]
    assert len(reports) == 2
    assert "spent" in next(s.note for s in stage.steps if s.next_phase is Phase.HOLDING)


def test_a_correction_that_is_not_finite_is_never_sent() -> None:
    limits = RecoverLimits(attempt_s=0.5, attempts=1)
    stage = misled(correct=lambda obs, _scene, _base: np.full(7, np.nan), config=RuntimeConfig(recover=limits))
    live(stage, 100)
    recovering = [s for s in stage.steps if s.phase is Phase.RECOVERING]
    assert recovering
    assert all(s.source is Source.HOLD and "correction refused" in s.note for s in recovering)
    assert replay(stage.episode()).mismatch is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3.0])
def test_a_policy_that_answers_nonsense_is_refused_held_and_reported(bad: float) -> None:
    policy = ScriptedPolicy(lambda _: np.full((8, 7), bad))
    stage = rehearsal(policy=policy)
    live(stage, 30)
    assert phases_of(stage.steps) == ["running", "holding"]
    report = stage.steps[0].report
    assert report is not None
    assert (report.detector, report.mode) == ("refused", FailureMode.SENSING_LOST)
    assert "chunk refused" in stage.steps[0].note
    assert not np.any([a[:6] for a in stage.cell.arm.sent])


class Mute(ScriptedPolicy):
    """Answers once, then never again."""

    def submit(self, obs: Observation) -> None:
        if obs.t_ns == 10**9:
            super().submit(obs)


def test_a_policy_that_falls_silent_leaves_the_arm_still_and_is_reported() -> None:
    step_up = np.array([0, 0, 0.005, 0, 0, 0, 1.0])
    stage = rehearsal(policy=Mute(lambda _: np.tile(step_up, (8, 1))))
    live(stage, 120)
    assert [s.source for s in stage.steps[:10]] == [Source.POLICY] * 8 + [Source.HOLD] * 2
    spoke = [s.index for s in stage.steps if s.report is not None and s.report.detector == "stall"]
    assert spoke[0] == 8 + round(WatchLimits().silent_s / EE_DELTA.dt_s) - 1


def test_a_vision_language_model_names_the_failure_and_the_arm_recovers() -> None:
    chat = FakeChat([GOOD_ANSWER], polls=3)
    stage, vlm = with_chat(chat)
    assert live(stage).claimed
    assert vlm.usage.calls == 1
    assert "apple" in chat.prompts[0]


@pytest.mark.parametrize(
    "chat",
    [
        FakeChat(["I am not sure what you mean."]),
        FakeChat(['{"mode": "explode"}']),
        FakeChat([ChatAnswer(text="", error="connection refused")]),
        FakeChat([GOOD_ANSWER], polls=10_000),
    ],
    ids=["nonsense", "unknown name", "absent", "slow"],
)
def test_a_model_that_is_no_use_leaves_the_arm_holding_within_its_time(chat: FakeChat) -> None:
    stage, _ = with_chat(chat)
    live(stage, 120)
    assert phases_of(stage.steps) == ["running", "diagnosing", "holding"]
    assert sum(s.phase is Phase.DIAGNOSING for s in stage.steps) <= 22
    assert replay(stage.episode()).mismatch is None


def test_a_useless_model_is_replaced_by_the_second_diagnoser() -> None:
    policy, clock = Misled(), ManualClock()
    vlm = VlmDiagnoser(FakeChat(["nonsense"]), ALLOWED, library="lib@1", clock=clock, deadline_s=3.0)
    both = FallbackDiagnoser(vlm, ScriptedDiagnoser(believe), clock=clock, patience_s=3.0)
    policy.stage = stage = rehearsal(policy=policy, diagnoser=both)
    assert live(stage).claimed
    assert vlm.usage.unknown == 1


def test_stop_wins_from_every_phase_in_the_very_tick_it_is_asked() -> None:
    for phase in Phase:
        stage = reached(phase)
        before = stage.steps[-1]
        assert before.next_phase is phase
        with stage.cell:
            step = stage.loop.tick()
        assert step.phase is phase
        assert step.next_phase is Phase.STOPPED
        assert not step.commanded[:6].any()
        assert step.source is Source.HOLD


def reached(phase: Phase) -> Rehearsal:
    """Returns a rehearsal whose next tick is in `phase`, and in which the operator then says stop."""
    takes = {Phase.HOLDING: "hold", Phase.OPERATOR: "take_over", Phase.STOPPED: "stop"}
    policy = Misled()
    inputs: dict[int, OperatorInput] = {}
    stage = rehearsal(policy=policy, diagnoser=ScriptedDiagnoser(believe, polls=2), operator=ScriptedOperator(inputs))
    policy.stage = stage
    operator = stage.ports.operator
    assert isinstance(operator, ScriptedOperator)
    if phase in takes:
        operator._inputs[3] = OperatorInput(command=OperatorCommand(takes[phase]))
    with stage.cell:
        stage.loop.tick()
        while stage.loop.phase is not phase:
            stage.loop.tick()
    action = EE_DELTA.still(1.0) + np.array([0.01, 0, 0, 0, 0, 0, 0])
    operator._inputs[len(stage.steps)] = OperatorInput(command=OperatorCommand.STOP, action=action)
    return stage


def test_only_reset_and_then_resume_lead_out_of_a_stop() -> None:
    commands = {5: "stop", 8: "resume", 10: "take_over", 12: "reset", 15: "resume"}
    inputs = {i: OperatorInput(command=OperatorCommand(c)) for i, c in commands.items()}
    stage = rehearsal(operator=ScriptedOperator(inputs))
    assert live(stage).claimed
    assert phases_of(stage.steps) == ["running", "stopped", "holding", "running"]
    assert {s.phase: s.index for s in reversed(stage.steps)}[Phase.HOLDING] == 13


def test_an_operator_drives_through_the_guard_and_is_taken_to_be_gone_when_silent() -> None:
    push = np.array([1.0, 0, 0, 0, 0, 0, 1.0])
    inputs = {i: OperatorInput(action=push) for i in range(4, 20)}
    inputs[3] = OperatorInput(command=OperatorCommand.TAKE_OVER)
    stage = rehearsal(operator=ScriptedOperator(inputs))
    live(stage, 80)
    driven = [s for s in stage.steps if s.source is Source.OPERATOR]
    assert len(driven) == 16
    assert all("action_bounds" in s.clipped_by for s in driven)
    assert phases_of(stage.steps) == ["running", "operator", "holding"]
    assert "silent" in next(s.note for s in stage.steps if s.next_phase is Phase.HOLDING)
