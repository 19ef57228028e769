"""The driver on a real running robot: scenes are laid out, episodes lived, and scored by the truth of the twin."""

from pathlib import Path

import pytest

from core.arm import ArmMode
from core.episodes import Outcome
from core.failures import FailureMode
from core.flow import Phase
from core.robots import EE_DELTA
from regrasp.evaluation import ArmName
from regrasp.fault_rig import Rig, RigConfig
from regrasp.loopback import free_port, own_address
from regrasp.nodes.driver import Session
from regrasp.processes import Bringup
from regrasp.shards import EpisodeJob
from runtime.record.reader import read_episode

EPISODE_S = 2.0
"""Longest time of an episode here [s]; a sway never ends by itself."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory, domain):
    given = Bringup(
        ip=own_address(), control_port=free_port(), domain=domain, policy="sway", out=tmp_path_factory.mktemp("robot")
    )
    with Rig(RigConfig(bringup=given, runtime={"episode_s": EPISODE_S}), print) as running:
        yield running


@pytest.fixture(scope="module")
def session(rig):
    session = Session(rig.robot, rig.twin)
    session.wait_for_graph()
    return session


def job(seed, injected=None, arm=ArmName.BASE):
    return EpisodeJob(arm=arm, seed=seed, injected=injected, record=True)


def test_an_episode_is_lived_and_scored(rig, session):
    result = session.live(job(31_000))
    assert (result.seed, result.injected, result.success) == (31_000, None, False)
    assert result.claimed is Outcome.FAILURE, "its time was over"
    assert result.duration_s == pytest.approx(EPISODE_S, abs=2 * EE_DELTA.dt_s)
    file = Path(rig.robot.facts("episode_status")["file"])
    assert file.match(result.episode_file)
    recording = read_episode(file)
    assert recording.meta.seed == 31_000
    assert (recording.meta.instruction, len(recording.steps)) == (result.instruction, result.steps)
    assert result.inference.chunks == sum(step.arrived.chunk is not None for step in recording.steps)
    assert rig.twin.truth().instruction == result.instruction


def test_a_stop_during_an_episode_is_seen_and_released_before_the_next(rig, session):
    rig.robot.e_stop()
    rig.robot.wait("the latched stop", lambda: rig.robot.arm().mode is ArmMode.STOPPED, 3.0)
    result = session.live(job(31_001, FailureMode.DROP, ArmName.RECOVERY))
    assert (result.injected, result.injected_at_s) == (FailureMode.DROP, None), "nothing was grasped, nothing dropped"
    assert result.phases[0].phase is Phase.RUNNING
    assert result.steps > 0
    assert rig.robot.facts("episode_status")["episode"] == "recovery-31001-drop"
