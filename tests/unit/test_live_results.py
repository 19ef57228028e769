"""The score of an episode that ran in real time: its recording on one clock, the twin's truth on two."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bridge.twin_control import TwinTruth
from core.clock import ManualClock
from core.episodes import Episode, Outcome
from core.errors import ConfigError
from core.failures import FailureMode, FailureReport, Severity
from core.fakes import FakeRobot
from core.flow import ActionChunk, Arrived, Phase, Source, Step
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask
from core.robots import EE_DELTA
from regrasp.evaluation import ArmName
from regrasp.live_results import live_result
from regrasp.nodes.driver import DriverConfig, _line, _wanted, drive
from regrasp.shards import EpisodeJob
from runtime.rehearsal import meta_of, rehearsal

START_NS = 50_000_000_000
TICK_NS = 50_000_000
JOB = EpisodeJob(arm=ArmName.RECOVERY, seed=21_000, injected=FailureMode.DROP, record=True)
TRUTH = TwinTruth(
    t_ns=START_NS + 10_000_000_000, time_s=11.0, mode=1, state=1, error=0, joint_pos=np.zeros(7), success=True,
    q_score=0.75, instruction="put the lemon on the plate", injected_at_s=3.0, physics_reset=False,
)  # fmt: skip
META = meta_of(rehearsal().plan)


def steps(count, phases=None, reports=None, named=None, chunk_age_s=0.2):
    """Steps of an episode: phase by tick (the last goes on), reports and descriptors by tick."""
    phases, reports, named = phases or [Phase.RUNNING], reports or {}, named or {}
    phase_of = [phases[min(i, len(phases) - 1)] for i in range(count + 1)]
    with FakeRobot(ManualClock()) as robot:
        seen = robot.read()
    made = []
    for i in range(count):
        now = START_NS + i * TICK_NS
        chunk = ActionChunk(obs_t_ns=now - round(chunk_age_s * 1e9), values=np.zeros((4, 7)), dt_s=0.05, policy_id="p")
        made.append(Step(
            index=i, observation=replace(seen, t_ns=now),
            arrived=Arrived(now_ns=now, chunk=chunk if i % 4 == 0 else None, descriptor=named.get(i)),
            phase=phase_of[i], next_phase=phase_of[i + 1], source=Source.HOLD, base=None, asked=EE_DELTA.still(1.0),
            commanded=EE_DELTA.still(1.0), clipped_by=(), report=reports.get(i),
        ))  # fmt: skip
    return made


def alarm(i):
    return FailureReport(
        id=f"probe-{i}", t_ns=START_NS + i * TICK_NS, detector="probe", mode=FailureMode.UNKNOWN,
        severity=Severity.HOLD, confidence=0.9,
    )  # fmt: skip


def result(made, truth=TRUTH, job=JOB, outcome=Outcome.SUCCESS):
    return live_result(job, Episode(meta=META, steps=made, outcome=outcome), truth, "episodes/a.mcap")


def test_success_is_the_twins_truth_not_the_robots_claim():
    assert result(steps(10), outcome=Outcome.FAILURE).success is True
    assert result(steps(10), replace(TRUTH, success=False)).success is False
    claimed = result(steps(10), replace(TRUTH, success=False))
    assert (claimed.claimed, claimed.q_score) == (Outcome.SUCCESS, 0.75)


def test_an_episode_whose_physics_broke_is_no_success():
    assert result(steps(10), replace(TRUTH, physics_reset=True)).success is False


def test_when_the_failure_struck_is_told_from_the_episodes_start():
    """The truth is told at 10 s after the start and 11 s of simulated time, the failure struck at 3 s of it."""
    assert result(steps(10)).injected_at_s == pytest.approx(2.0)


@pytest.mark.parametrize("at", [None, float("nan")])
def test_a_failure_that_never_struck_has_no_time(at):
    assert result(steps(10), replace(TRUTH, injected_at_s=at)).injected_at_s is None
    assert result(steps(10), job=replace(JOB, injected=None)).injected_at_s is None


def test_alarms_attempts_and_diagnosis_are_read_from_the_recording():
    phases = [*[Phase.RUNNING] * 50, *[Phase.DIAGNOSING] * 4, *[Phase.RECOVERING] * 20, Phase.RUNNING]
    descriptor = RecoveryDescriptor(
        report_id="probe-49", mode=FailureMode.DROP, stage=RecoveryStage.APPROACH, target="", obstacles=(),
        mask=RewardMask(library="regrasp@1", active=frozenset()), confidence=0.8, model_id="fake@1",
    )  # fmt: skip
    found = result(steps(100, phases, {49: alarm(49)}, {53: descriptor}))
    assert [round(a.t_s, 3) for a in found.alarms] == [2.45]
    assert (found.diagnosed, found.attempts) == (FailureMode.DROP, 1)
    assert found.recovery_s == pytest.approx(1.0)
    assert [p.phase for p in found.phases] == [Phase.RUNNING, Phase.DIAGNOSING, Phase.RECOVERING, Phase.RUNNING]
    assert (found.steps, found.duration_s) == (100, pytest.approx(5.0))


def test_a_calm_episode_has_neither_alarms_nor_a_time_of_recovery():
    found = result(steps(10))
    assert (found.alarms, found.attempts, found.recovery_s, found.diagnosed) == ((), 0, None, None)


def test_inference_takes_from_the_observation_to_the_answer():
    found = result(steps(9, chunk_age_s=0.3)).inference
    assert found.chunks == 3
    assert found.p50_s == pytest.approx(0.3)


def test_an_empty_recording_is_a_result_too():
    found = result([], replace(TRUTH, success=False), outcome=Outcome.ABORTED)
    assert (found.steps, found.success, found.inference.chunks) == (0, False, 0)


def test_a_driver_wants_both_arms_only_when_asked():
    base = replace(JOB, arm=ArmName.BASE)
    assert [_wanted(job, DriverConfig()) for job in (JOB, base)] == [True, False]
    assert [_wanted(job, DriverConfig(arms="both")) for job in (JOB, base)] == [True, True]


def test_a_driver_tells_an_episode_in_one_line():
    said = _line(2, 4, result(steps(10)))
    assert said == "2/4 seed 21000 recovery drop: success, q 0.75, 0.5 s, 0 alarms, 0 attempts"
    lost = _line(1, 1, result(steps(10), replace(TRUTH, success=False), replace(JOB, injected=None)))
    assert "nominal: FAILURE" in lost


def test_a_driver_without_episodes_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError, match="--episodes 0"):
        drive(DriverConfig(episodes=0, out=Path(tmp_path / "never")))
    assert not (tmp_path / "never").exists()


def test_the_process_with_the_heartbeat_starts_without_the_library_of_the_policy():
    said = "import sys, regrasp.nodes.runtime_node; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False"]
