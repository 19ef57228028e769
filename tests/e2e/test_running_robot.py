"""The whole running robot around the twin: every process, the real wire, ROS 2 and real time, with a policy that sways.

One robot is shared by all tests here; the last one kills its runtime.
"""

import time

import numpy as np
import pytest

from core.arm import ArmMode
from core.episodes import Outcome
from core.errors import ServiceError
from core.flow import Phase, Source
from regrasp.bench_faults import BEFORE_NS, JUMP_DEG, _run
from regrasp.fault_rig import Rig, RigConfig
from regrasp.fault_rows import BOX, CAMERAS, E_STOP_S, KILLED, WATCHDOG_S
from regrasp.fault_trace import REST_S, reaction
from regrasp.loopback import free_port, own_address
from regrasp.processes import Bringup
from regrasp.replaying import ReplayConfig, replay_episodes
from runtime.record.reader import read_episode

STOPPED = 4
"""State of a control box that was stopped."""
LOOK_S = 0.4
"""Trace that is looked at after the arm came to rest, at least [s]."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory, domain):
    given = Bringup(
        ip=own_address(), control_port=free_port(), domain=domain, policy="sway", out=tmp_path_factory.mktemp("robot")
    )
    with Rig(RigConfig(bringup=given), print) as running:
        yield running


@pytest.fixture
def moving(rig):
    rig.move()
    return rig


def row(rows, name):
    (found,) = [one for one in rows if one.name == name]
    return found


def stop_after(rig, t_ns, seconds=WATCHDOG_S):
    """Returns how the arm reacted to what happened at an instant; waits as long as a rest takes to be seen."""
    rig.robot.spin(max(0.0, seconds + REST_S + LOOK_S - (time.monotonic_ns() - t_ns) * 1e-9))
    return reaction(rig.twin.trace(t_ns - BEFORE_NS), t_ns)


def jump_since(rig, t_ns):
    return reaction(rig.twin.trace(t_ns - BEFORE_NS), t_ns).jump_deg


def wait_for_phase(rig, phase):
    rig.robot.wait(f"phase {phase}", lambda: rig.phase() == phase, 5.0)


def test_it_comes_up_and_moves(moving):
    assert moving.runtime() == "running"
    assert moving.phase() == Phase.RUNNING
    assert moving.robot.arm().mode is ArmMode.READY
    assert moving.robot.arm().simulated


def test_hold_stops_it_and_resume_moves_it_on_from_there(moving):
    t_ns = time.monotonic_ns()
    moving.robot.ask("runtime/hold")
    wait_for_phase(moving, Phase.HOLDING)
    stop = stop_after(moving, t_ns)
    assert stop.hold_s is not None
    assert stop.hold_s < 2 * WATCHDOG_S
    assert not moving.moves()
    moving.robot.ask("runtime/resume")
    moving.robot.wait("the arm to move again", moving.moves, 6.0)
    assert jump_since(moving, t_ns) < JUMP_DEG


def test_an_episode_that_runs_cannot_be_started_again(moving):
    done, said = moving.robot.call("runtime/start")
    assert not done
    assert "runs already" in said


def test_the_emergency_stop_reaches_the_box_and_only_a_person_leads_out(moving):
    t_ns = time.monotonic_ns()
    moving.robot.e_stop()
    wait_for_phase(moving, Phase.STOPPED)
    moving.robot.wait("the latched stop", lambda: moving.robot.arm().mode is ArmMode.STOPPED, 2.0)
    assert moving.twin.truth().state == STOPPED
    trace = moving.twin.trace(t_ns)
    stopped_s = (trace.t_ns[np.argmax(trace.state == STOPPED)] - t_ns) * 1e-9
    assert 0.0 <= stopped_s < 2 * E_STOP_S
    stop = stop_after(moving, t_ns)
    assert stop.hold_s is not None
    assert stop.hold_s < WATCHDOG_S
    moving.robot.ask("runtime/resume")
    assert not moving.moves(), "it moved though nobody had reset it"
    assert moving.phase() == Phase.STOPPED
    assert moving.twin.truth().state == STOPPED
    moving.robot.ask("arm/reset_e_stop")
    moving.robot.wait("the arm to be released", lambda: moving.robot.arm().mode is ArmMode.IDLE, 2.0)
    moving.resume()
    moving.robot.wait("the arm to move again", moving.moves, 6.0)
    assert moving.phase() == Phase.RUNNING
    assert jump_since(moving, t_ns) < JUMP_DEG


def test_a_collision_is_cleared_by_rule(rig):
    outcome = _run(rig, row(BOX, "collision (C31)"))
    assert outcome.ok, outcome.note
    assert outcome.lost == 0


def test_a_frozen_camera_holds_it_until_a_person_resumes(rig):
    outcome = _run(rig, row(CAMERAS, "frozen picture 2 s"))
    assert outcome.ok, outcome.note
    assert outcome.phase == Phase.HOLDING


def test_cancel_ends_the_episode_and_the_arm_stands(moving):
    t_ns = time.monotonic_ns()
    moving.robot.ask("runtime/cancel")
    moving.robot.wait("the runtime to be idle", lambda: moving.runtime() == "idle", 5.0)
    stop = stop_after(moving, t_ns)
    assert stop.hold_s is not None
    assert stop.hold_s < 2 * WATCHDOG_S
    assert stop.jump_deg < JUMP_DEG
    facts = moving.robot.facts("episode_status")
    assert (facts["outcome"], facts["note"]) == (Outcome.ABORTED, "")
    episode = read_episode(moving.recording())
    assert episode.outcome is Outcome.ABORTED
    assert len(episode.steps) == int(facts["steps"])
    assert {step.source for step in episode.steps} >= {Source.POLICY}


@pytest.mark.parametrize("asked", ["hold", "resume", "reset"])
def test_between_episodes_there_is_nothing_to_hold_or_resume(rig, asked):
    rig.cancel()
    with pytest.raises(ServiceError, match="no episode runs"):
        rig.robot.ask(f"runtime/{asked}")


def test_every_recorded_episode_replays_bit_for_bit(rig, capsys):
    rig.cancel()
    folder = rig.recording().parent
    assert replay_episodes(ReplayConfig(episodes=(folder,))) == 0
    said = capsys.readouterr().out
    assert said.count("steps equal") == len(list(folder.glob("*.mcap"))) > 0


def test_when_the_runtime_is_killed_the_arm_rests_and_no_step_is_lost(rig):
    outcome = _run(rig, row(KILLED, "runtime (SIGKILL)"))
    assert outcome.ok, outcome.note
    assert outcome.stop.hold_s < WATCHDOG_S
    assert outcome.lost == 0
    assert not rig.graph.running("runtime")
    assert replay_episodes(ReplayConfig(episodes=(rig.recording(),))) == 0
