"""The arms of an evaluation: the way home, diagnoses of the oracle and of the retry, arms that nobody trained."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.clock import ManualClock
from core.failures import FailureMode, FailureReport, Severity
from core.fakes import FakeRobot
from core.flow import Arrived, Observation, Phase, Source, Step
from core.ports import Evidence
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask
from core.robots import EE_DELTA
from core.scene import SceneState
from regrasp.arm_diagnosers import AnyFailure, OracleDiagnoser
from regrasp.arms import arm_plan, checkpoint_of, skills_of
from regrasp.artifacts import Models
from regrasp.campaign import EvalConfig, RunConfig
from regrasp.evaluation import ArmName
from regrasp.retry import ALONE, ReturnHome, retry_skills
from regrasp.task_registry import find_task, task_names
from runtime.config import HandRules
from runtime.hand import HOME_POS_M, at_home
from sim.robot import SimRobot
from sim.tasks.fruit_on_plate import INFO, FruitOnPlate
from sim.world import BatchWorld

NOTHING = SceneState(t_ns=0, objects={}, source="truth")
COURSE = INFO.course("put the lemon on the plate")


def report(mode: FailureMode) -> FailureReport:
    return FailureReport(id="a-1", t_ns=0, detector="a", mode=mode, severity=Severity.HOLD, confidence=0.9)


def answer(mode: FailureMode, stage: RecoveryStage, confidence: float = 0.4) -> RecoveryDescriptor:
    return RecoveryDescriptor(
        report_id="a-1", mode=mode, stage=stage, target="", obstacles=(),
        mask=RewardMask(library="regrasp@1", active=frozenset()), confidence=confidence, model_id="judge@1",
    )  # fmt: skip


def evidence(mode: FailureMode, steps: tuple[Step, ...] = ()) -> Evidence:
    return Evidence(report=report(mode), task="t", instruction="", steps=steps, images={})


class Judge:
    """Answers what it was made with."""

    def __init__(self, said: RecoveryDescriptor | None) -> None:
        self.said, self.asked = said, 0

    def submit(self, evidence: Evidence) -> None:
        self.asked += 1

    def poll(self) -> RecoveryDescriptor | None:
        return self.said


@pytest.fixture
def reach() -> Callable[[np.ndarray], tuple[list[Observation], SimRobot]]:
    """Drives a simulated arm away for 15 steps, then home for 100; returns what was measured on the way home."""

    def drive(away: np.ndarray) -> tuple[list[Observation], SimRobot]:
        world, skill = BatchWorld(FruitOnPlate(), 1), ReturnHome()
        robot = SimRobot(world, ManualClock())
        with robot:
            for _ in range(15):
                robot.send(away)
            seen = [robot.read()]
            for _ in range(100):
                wanted = skill.correct(seen[-1], NOTHING, EE_DELTA.still(0.0))
                robot.send(ALONE.compose(EE_DELTA, EE_DELTA.still(0.0), wanted))
                seen.append(robot.read())
        return seen, robot

    return drive


@pytest.mark.parametrize("away", [(0.01, 0.012, -0.014, 0, 0, 0.03, 0.0), (-0.004, -0.015, -0.01, 0.02, 0, 0, 1.0)])
def test_retry_opens_rises_and_comes_home_where_the_hand_back_is_verified(reach, away) -> None:
    seen, _ = reach(np.array(away))
    assert not at_home(seen[0], HandRules())
    assert at_home(seen[-1], HandRules())
    assert seen[-1].tcp_pos_in_base == pytest.approx(HOME_POS_M, abs=0.02)


def test_retry_rises_straight_before_it_goes_sideways(reach) -> None:
    seen, _ = reach(np.array([0.01, 0.015, -0.014, 0, 0, 0, 0.0]))
    start = seen[0].tcp_pos_in_base
    low = [o.tcp_pos_in_base for o in seen if o.tcp_pos_in_base[2] < HOME_POS_M[2] - 0.06]
    assert len(low) > 5
    assert max(np.linalg.norm(p[:2] - start[:2]) for p in low) < 0.03


def test_retry_has_the_hand_open_before_it_leaves(reach) -> None:
    seen, _ = reach(np.array([0.0, 0.01, -0.014, 0, 0, 0, 0.0]))
    left = next(o for o in seen if o.tcp_pos_in_base[2] > seen[0].tcp_pos_in_base[2] + 0.02)
    assert left.gripper_opening > 0.8


@pytest.mark.parametrize("task", task_names())
def test_retry_helps_against_every_failure_in_every_sub_task(task: str) -> None:
    info = find_task(task).info
    cards = [skill.card for skill in retry_skills(info, "pi0-nano@aa")]
    assert len({card.name for card in cards}) == len(cards)
    for sub in info.subtasks:
        for mode in info.modes:
            assert any(card.helps(task, mode, sub.manner) for card in cards)


def test_retry_takes_a_poor_name_for_good_but_lets_a_cleared_alarm_be() -> None:
    unsure = AnyFailure(Judge(answer(FailureMode.UNKNOWN, RecoveryStage.RETREAT, 0.0)))
    unsure.submit(evidence(FailureMode.DROP))
    found = unsure.poll()
    assert found is not None
    assert (found.mode, found.stage, found.confidence) == (FailureMode.DROP, RecoveryStage.RETREAT, 1.0)
    cleared = AnyFailure(Judge(answer(FailureMode.UNKNOWN, RecoveryStage.RESUME)))
    cleared.submit(evidence(FailureMode.DROP))
    assert cleared.poll() == answer(FailureMode.UNKNOWN, RecoveryStage.RESUME)


def test_oracle_names_the_injected_failure_while_it_stands_and_asks_the_judge_otherwise() -> None:
    stands, judge = [False], Judge(answer(FailureMode.MISSED_GRASP, RecoveryStage.GRASP))
    oracle = OracleDiagnoser(COURSE, FailureMode.COLLISION, lambda: stands[0], judge)
    with FakeRobot(ManualClock()) as robot:
        still = EE_DELTA.still(1.0)
        step = Step(
            index=0, observation=robot.read(), arrived=Arrived(scene=NOTHING), phase=Phase.RUNNING,
            source=Source.POLICY, base=None, asked=still, commanded=still, clipped_by=(), report=None,
            next_phase=Phase.DIAGNOSING,
        )  # fmt: skip
    oracle.submit(evidence(FailureMode.DROP, (step,)))
    assert oracle.poll() == judge.said
    stands[0] = True
    oracle.submit(evidence(FailureMode.DROP, (step,)))
    found = oracle.poll()
    assert found is not None
    assert (found.mode, found.stage, found.confidence) == (FailureMode.COLLISION, RecoveryStage.RETREAT, 1.0)
    assert judge.asked == 1


def test_arm_that_nobody_trained_is_not_run_and_says_how_to_make_it(tmp_path: Path) -> None:
    models = Models(root=tmp_path)
    for arm, how in ((ArmName.FINETUNED, "finetune"), (ArmName.NO_GATES, "--no-gates"), (ArmName.ALL_TERMS, "terms")):
        plan = arm_plan(arm, "fruit_on_plate", models, None)
        assert how in plan.not_run
        assert plan.hash == ""


def test_arm_is_told_apart_by_what_it_is_made_of(tmp_path: Path) -> None:
    models, folder = Models(root=tmp_path), tmp_path / "skills" / "fruit_on_plate"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text("{}")
    first = arm_plan(ArmName.RECOVERY, "fruit_on_plate", models, None)
    (folder / "a.json").write_text("[]")
    assert first.hash
    assert arm_plan(ArmName.RECOVERY, "fruit_on_plate", models, None).hash != first.hash


def test_each_arm_has_its_own_policy_and_skills(tmp_path: Path) -> None:
    models, other = Models(root=tmp_path), tmp_path / "other"
    assert {checkpoint_of(arm, models).name for arm in ArmName if arm is not ArmName.FINETUNED} == {"pi0-nano"}
    assert checkpoint_of(ArmName.FINETUNED, models).name == "pi0-nano-finetuned"
    assert (
        skills_of(ArmName.RECOVERY, "t", models, other) == skills_of(ArmName.ORACLE, "t", models, other) == other / "t"
    )
    assert skills_of(ArmName.NO_GATES, "t", models, other) == tmp_path / "skills-no-gates" / "t"
    assert skills_of(ArmName.BASE, "t", models, other) is None


def test_all_means_every_arm_and_task_and_a_wrong_name_is_answered_with_the_nearest() -> None:
    assert EvalConfig(arms=("all",)).arm_names() == tuple(ArmName)
    assert EvalConfig(arms=("recovery", "base")).arm_names() == (ArmName.BASE, ArmName.RECOVERY)
    assert EvalConfig().task_names() == task_names()
    with pytest.raises(Exception, match="retry"):
        RunConfig(arms=("retrry",)).arm_names()
    with pytest.raises(Exception, match="sort_two"):
        EvalConfig(tasks=("sort_tow",)).task_names()
