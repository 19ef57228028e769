"""Skills, attempts, verification, stages, and the budgets that bound a recovery."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigError
from core.failures import FailureMode, FailureReport, Severity
from core.fakes import FakeResidual
from core.flow import Arrived, Observation, OperatorCommand, OperatorInput, Phase, Source, Step
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask
from core.robots import EE_DELTA
from core.scene import SceneState
from core.subtasks import Course, Manner
from courses import APPLE, PUSH, WIPE, tracked
from runtime.config import HandRules, RecoverLimits
from runtime.hand import free, gripping, held, seen
from runtime.phases import Input
from runtime.recover.attempt import Attempt, AttemptStatus
from runtime.recover.done import TaskDone
from runtime.recover.recovery import Recovery
from runtime.recover.skills import Skill, SkillBank
from runtime.recover.stages import stage_for
from runtime.recover.verify import Handback
from runtime.rehearsal import COURSE, TASK, fake_card
from runtime.watch.reports import report_of

TICK = 50_000_000
RULES = HandRules()


def obs(**changes: Any) -> Observation:
    given: dict[str, Any] = {
        "t_ns": 0, "joint_pos": np.zeros(7), "joint_vel": np.zeros(7), "tcp_pos_in_base": np.array([0.4, 0.0, 0.2]),
        "tcp_quat_xyzw_in_base": np.array([1.0, 0, 0, 0]), "gripper_opening": 1.0, "gripper_command": 1.0,
    }  # fmt: skip
    return Observation(**given | changes)


GRIPPING = obs(gripper_command=0.0, gripper_opening=0.4)
LIFTED = tracked(apple=(0.4, 0.0, 0.19), plate=(0.5, -0.1, 0.01))
PLACED = tracked(apple=(0.41, 0.0, 0.03), plate=(0.4, 0.0, 0.01))


def skill(mode: FailureMode = FailureMode.DROP, when: str = "held", **changes: Any) -> Skill:
    residual = FakeResidual(lambda _obs, _scene, base: np.zeros_like(base))
    return Skill(card=replace(fake_card(mode, when), **changes), residual=residual)


def test_held_means_gripped_near_and_lifted() -> None:
    assert held(GRIPPING, LIFTED, "apple", RULES)
    assert not held(obs(), LIFTED, "apple", RULES)
    assert not held(obs(gripper_command=0.0, gripper_opening=0.02), LIFTED, "apple", RULES)
    assert not held(GRIPPING, tracked(apple=(0.5, 0.0, 0.2)), "apple", RULES)
    assert not held(replace(GRIPPING, tcp_pos_in_base=np.array([0.4, 0, 0.03])), LIFTED, "apple", RULES)
    assert not held(GRIPPING, LIFTED, "apple", RULES, table_height_m=0.15)
    assert not held(GRIPPING, None, "apple", RULES)


def test_free_means_released_and_retreated_from_a_target_that_is_seen() -> None:
    assert free(obs(), PLACED, APPLE, RULES)
    assert not free(GRIPPING, PLACED, APPLE, RULES)
    assert not free(obs(gripper_opening=0.2), PLACED, APPLE, RULES)
    assert not free(obs(tcp_pos_in_base=np.array([0.4, 0.0, 0.05])), PLACED, APPLE, RULES)
    assert not free(obs(), tracked(plate=(0.4, 0.0, 0.01)), APPLE, RULES)
    assert not free(obs(), None, APPLE, RULES)


def test_a_tool_stays_in_the_hand_and_a_hand_that_pushed_may_stay_closed() -> None:
    assert free(GRIPPING, None, WIPE, RULES)
    closed, beside = obs(gripper_command=0.0, gripper_opening=0.0), tracked(card=(0.4, 0.0, 0.19))
    assert free(closed, tracked(card=(0.5, 0.0, 0.01)), PUSH, RULES)
    assert not free(closed, beside, PUSH, RULES)


def test_old_unsure_and_unknown_estimates_prove_nothing() -> None:
    assert seen(PLACED, "apple", RULES) is not None
    assert seen(tracked(confidence=0.1, apple=(0, 0, 0)), "apple", RULES) is None
    assert seen(tracked(age_s=2.0, apple=(0, 0, 0)), "apple", RULES) is None
    assert seen(PLACED, "pear", RULES) is None
    assert seen(None, "apple", RULES) is None


def test_fingers_that_reach_their_command_grip_nothing() -> None:
    assert gripping(GRIPPING, RULES)
    assert not gripping(obs(gripper_command=0.3, gripper_opening=0.33), RULES)


def test_a_hand_back_needs_its_condition_for_so_many_ticks_in_a_row() -> None:
    handback = Handback("held", COURSE, RULES, ticks=3)
    seen_so = [handback.update(GRIPPING, s) for s in (LIFTED, LIFTED, None, LIFTED, LIFTED, LIFTED)]
    assert seen_so == [False] * 5 + [True]


def test_a_placed_target_satisfies_held_but_a_held_one_not_placed() -> None:
    assert Handback("held", COURSE, RULES, ticks=1).update(obs(), PLACED)
    assert not Handback("placed", COURSE, RULES, ticks=1).update(GRIPPING, LIFTED)
    with pytest.raises(ConfigError, match="did you mean 'held'"):
        Handback("hold", COURSE, RULES, ticks=1)


def step(i: int, phase: Phase = Phase.RUNNING, *, now: Observation | None = None, **changes: Any) -> Step:
    report = changes.pop("report", None)
    still = EE_DELTA.still(1.0)
    return Step(
        index=i, observation=now or obs(), arrived=Arrived(now_ns=i * TICK, **changes), phase=phase,
        source=Source.HOLD, base=None, asked=still, commanded=still, clipped_by=(), report=report, next_phase=phase,
    )  # fmt: skip


def test_an_attempt_ends_by_its_condition_or_its_time() -> None:
    attempt = Attempt(skill(), Handback("held", COURSE, RULES, ticks=1), started_ns=0, limit_s=0.5)
    assert attempt.update(step(9)) is AttemptStatus.RUNNING
    assert attempt.update(step(10)) is AttemptStatus.FAILED
    assert attempt.update(step(10, now=GRIPPING, scene=LIFTED)) is AttemptStatus.SUCCEEDED


def test_a_skill_helps_only_in_its_task_against_its_modes_from_its_stages() -> None:
    bank = SkillBank([skill(stages=(RecoveryStage.APPROACH,)), skill(FailureMode.COLLISION)])
    assert bank.helps(TASK, FailureMode.DROP, Manner.PLACE, RecoveryStage.APPROACH)
    assert not bank.helps(TASK, FailureMode.DROP, Manner.PLACE, RecoveryStage.LIFT)
    assert not bank.helps("other", FailureMode.DROP, Manner.PLACE, RecoveryStage.APPROACH)
    assert not bank.helps(TASK, FailureMode.JAM, Manner.PLACE, RecoveryStage.APPROACH)
    found = bank.find(TASK, FailureMode.COLLISION, Manner.PLACE, RecoveryStage.RETREAT)
    assert found is not None
    assert found.card.name == "fake-collision"
    with pytest.raises(ConfigError, match="distinct"):
        SkillBank([skill(), skill()])


def test_of_skills_against_the_same_mode_the_one_for_the_manner_is_found() -> None:
    pulls = skill(name="drop-pull", manner=Manner.PULL)
    bank = SkillBank([pulls, skill(), skill(name="spare")])
    found = {m: bank.find(TASK, FailureMode.DROP, m, RecoveryStage.APPROACH) for m in Manner}
    assert {m.value: s.card.name for m, s in found.items() if s} == {"pull": "drop-pull", "place": "fake-drop"}


@pytest.mark.parametrize(
    ("mode", "now", "where", "stage"),
    [
        (FailureMode.COLLISION, obs(), LIFTED, RecoveryStage.RETREAT),
        (FailureMode.JAM, GRIPPING, LIFTED, RecoveryStage.RETREAT),
        (FailureMode.WRONG_OBJECT, GRIPPING, tracked(lemon=(0.4, 0.0, 0.19), apple=(0.5, 0.2, 0.03)),
         RecoveryStage.RELEASE),
        (FailureMode.DROP, GRIPPING, tracked(apple=(0.5, 0.2, 0.03)), RecoveryStage.RELEASE),
        (FailureMode.TARGET_MOVED, GRIPPING, LIFTED, RecoveryStage.TRANSPORT),
        (FailureMode.SLIP, replace(GRIPPING, tcp_pos_in_base=np.array([0.4, 0, 0.03])),
         tracked(apple=(0.4, 0.0, 0.03)), RecoveryStage.LIFT),
        (FailureMode.MISSED_GRASP, obs(), tracked(apple=(0.41, 0.0, 0.03)), RecoveryStage.ALIGN),
        (FailureMode.MISSED_GRASP, obs(tcp_pos_in_base=np.array([0.4, 0, 0.03])), tracked(apple=(0.41, 0.0, 0.03)),
         RecoveryStage.GRASP),
        (FailureMode.DROP, obs(), tracked(apple=(0.5, 0.0, 0.03)), RecoveryStage.APPROACH),
        (FailureMode.DROP, obs(), None, RecoveryStage.RETREAT),
    ],
)  # fmt: skip
def test_the_stage_follows_from_mode_and_geometry(
    mode: FailureMode, now: Observation, where: SceneState | None, stage: RecoveryStage
) -> None:
    assert stage_for(mode, now, where, COURSE) is stage


def test_the_task_is_done_when_placed_for_long_enough_and_something_drives() -> None:
    done = TaskDone(COURSE, RULES, ticks=2)
    phases = (Phase.RUNNING, Phase.HOLDING, Phase.RUNNING)
    assert [done(step(i, p, scene=PLACED)) for i, p in enumerate(phases)] == [False, False, True]


def recovery(told: Course = COURSE, **limits: Any) -> Recovery:
    bank = SkillBank([skill()])
    return Recovery(task=TASK, course=told, skills=bank, limits=RecoverLimits(**limits), rules=RULES)


def failure(i: int, mode: FailureMode = FailureMode.DROP, severity: Severity = Severity.HOLD) -> FailureReport:
    return report_of(step(i), "eye", mode, confidence=0.8, evidence={}, severity=severity)


def answer(report_id: str, **changes: Any) -> RecoveryDescriptor:
    given: dict[str, Any] = {
        "report_id": report_id, "mode": FailureMode.DROP, "stage": RecoveryStage.APPROACH, "target": "apple",
        "obstacles": (), "mask": RewardMask(library="l@1", active=frozenset()), "confidence": 0.9, "model_id": "m@1",
    }  # fmt: skip
    return RecoveryDescriptor(**given | changes)


def test_a_report_a_diagnosis_and_a_verified_end_go_once_round() -> None:
    turns = recovery()
    assert turns.advance(step(0, report=failure(0))).event is Input.FAILURE
    assert turns.phase.value == "diagnosing"
    assert turns.advance(step(1, Phase.DIAGNOSING)).event is Input.NOTHING
    assert turns.advance(step(2, Phase.DIAGNOSING, descriptor=answer("eye-0"))).event is Input.DIAGNOSED
    assert turns.skill is not None
    for i in range(3, 6):
        assert turns.advance(step(i, Phase.RECOVERING, now=GRIPPING, scene=LIFTED)).event is Input.NOTHING
    assert turns.advance(step(6, Phase.RECOVERING, now=GRIPPING, scene=LIFTED)).event is Input.RECOVERED
    assert turns.phase.value == "running"
    assert turns.skill is None


def test_an_answer_to_an_older_question_is_ignored_with_a_note() -> None:
    turns = recovery()
    turns.advance(step(0, report=failure(0)))
    turn = turns.advance(step(1, Phase.DIAGNOSING, descriptor=answer("eye-99")))
    assert turn.event is Input.NOTHING
    assert "eye-99 ignored" in turn.note


@pytest.mark.parametrize("mode", [FailureMode.SENSING_LOST, FailureMode.CONTROLLER_FAULT])
def test_what_blinds_the_loop_holds_without_a_diagnosis(mode: FailureMode) -> None:
    turns = recovery(enabled=False)
    assert turns.advance(step(0, report=failure(0, mode))).phase is Phase.HOLDING


def test_a_stop_report_outranks_a_resuming_operator_and_an_operator_a_failure() -> None:
    resume = OperatorInput(command=OperatorCommand.RESUME)
    stop = failure(0, severity=Severity.STOP)
    assert recovery().advance(step(0, report=stop, operator=resume)).phase is Phase.STOPPED
    take = OperatorInput(command=OperatorCommand.TAKE_OVER)
    assert recovery().advance(step(0, report=failure(0), operator=take)).phase is Phase.OPERATOR


@pytest.mark.parametrize("severity", [Severity.NOTE, Severity.SLOW])
def test_mild_reports_change_no_phase(severity: Severity) -> None:
    assert recovery().advance(step(0, report=failure(0, severity=severity))).phase is Phase.RUNNING


def test_a_failure_during_an_attempt_is_diagnosed_again_and_counts() -> None:
    turns = recovery(attempts=2)
    for i in (0, 10):
        turns.advance(step(i, turns.phase, report=failure(i)))
        turns.advance(step(i + 1, turns.phase, descriptor=answer(f"eye-{i}")))
        assert turns.phase is Phase.RECOVERING
    turn = turns.advance(step(20, turns.phase, report=failure(20)))
    assert turn.event is Input.EXHAUSTED
    assert turns.phase is Phase.HOLDING


def test_a_person_who_resumes_renews_the_budget() -> None:
    turns = recovery(diagnoses=1)
    turns.advance(step(0, report=failure(0)))
    turns.advance(step(1, turns.phase, descriptor=answer("eye-0", mode=FailureMode.UNKNOWN, confidence=0.9)))
    assert turns.phase is Phase.HOLDING
    turns.advance(step(2, turns.phase, operator=OperatorInput(command=OperatorCommand.RESUME)))
    assert turns.advance(step(3, turns.phase, report=failure(3))).phase is Phase.DIAGNOSING


def test_a_fault_stops_and_forgets_the_skill() -> None:
    turns = recovery()
    turns.advance(step(0, report=failure(0)))
    turns.advance(step(1, turns.phase, descriptor=answer("eye-0")))
    turns.fault()
    assert turns.phase is Phase.STOPPED
    assert turns.skill is None
