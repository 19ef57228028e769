"""A robot that only watches: everything runs and is recorded, and nothing reaches the arm but a stop."""

import time
from pathlib import Path

import numpy as np
import pytest
from trajectory_msgs.msg import JointTrajectory

from core.arm import ArmMode
from core.episodes import Outcome
from core.errors import ServiceError
from core.flow import Source
from core.kinematics import forward
from core.robots import EE_DELTA
from regrasp.fault_rig import Rig, RigConfig
from regrasp.loopback import free_port, own_address
from regrasp.processes import Bringup
from regrasp.replaying import ReplayConfig, replay_episodes
from runtime.record.reader import read_episode

AT_REST, STOPPED = 2, 4
"""States of a control box."""
WATCH_S = 2.0
"""How long the policy is watched [s]."""


@pytest.fixture(scope="module", params=["readonly", "shadow"])
def rig(request, tmp_path_factory, domain):
    given = Bringup(
        ip=own_address(), control_port=free_port(), domain=domain, policy="sway",
        out=tmp_path_factory.mktemp(request.param), **{request.param: True},
    )  # fmt: skip
    with Rig(RigConfig(bringup=given), print) as running:
        yield running


@pytest.fixture(scope="module")
def watched(rig):
    """An episode that was watched: its recording, every command heard meanwhile, the twin's trace."""
    heard = []
    rig.robot.node.create_subscription(JointTrajectory, "command", heard.append, 10)
    scene = rig.twin.reset(31_000, None)
    rig.robot.wait("the twin to come to rest", lambda: rig.twin.truth().state == AT_REST, 5.0)
    before, since_ns = rig.twin.truth(), time.monotonic_ns()
    rig.robot.set("runtime", {"instruction": scene.instruction, "episode": "watched"})
    rig.robot.ask("runtime/start")
    rig.robot.wait("the episode to begin", lambda: rig.runtime() == "running", 5.0)
    modes = set()
    until = time.monotonic() + WATCH_S
    while time.monotonic() < until:
        rig.robot.spin(0.05)
        modes.add(rig.robot.arm().mode)
    rig.robot.ask("runtime/cancel")
    rig.robot.wait("its end", lambda: rig.runtime() == "idle", 5.0)
    return {
        "file": Path(rig.robot.facts("episode_status")["file"]), "heard": heard, "modes": modes, "before": before,
        "after": rig.twin.truth(), "trace": rig.twin.trace(since_ns),
    }  # fmt: skip


def test_nothing_is_sent_to_the_arm_node_not_even_a_hold(watched):
    assert watched["heard"] == []


def test_the_box_is_as_it_was_and_the_arm_never_armed(watched):
    before, after, trace = watched["before"], watched["after"], watched["trace"]
    assert (after.mode, after.state, after.error) == (before.mode, before.state, 0)
    assert set(trace.state) == {before.state}
    assert np.ptp(trace.joint_target, axis=0).max() == 0.0
    assert np.ptp(trace.joint_pos, axis=0).max() < 1e-3
    assert len(trace.t_ns) > 100
    assert watched["modes"] == {ArmMode.IDLE}


def test_what_would_have_been_sent_is_decided_and_recorded(watched):
    episode = read_episode(watched["file"])
    assert episode.outcome is Outcome.ABORTED
    assert len(episode.steps) > 0.7 * WATCH_S / EE_DELTA.dt_s
    driven = [step for step in episode.steps if step.source is Source.POLICY]
    assert max(np.abs(step.commanded[:6]).max() for step in driven) > 1e-4
    assert all(not step.arrived.sent[:6].any() for step in episode.steps)


def test_the_tool_is_known_though_the_box_was_never_told_of_it(watched):
    seen = read_episode(watched["file"]).steps[-1].observation
    (where,), _ = forward(seen.joint_pos[None])
    assert seen.tcp_pos_in_base == pytest.approx(where, abs=0.003)


def test_it_replays_bit_for_bit(watched):
    assert replay_episodes(ReplayConfig(episodes=(watched["file"],))) == 0


@pytest.mark.usefixtures("watched")
def test_nobody_can_arm_it(rig):
    with pytest.raises(ServiceError, match="only measures"):
        rig.robot.ask("arm/rearm")
    assert rig.robot.arm().mode is ArmMode.IDLE


@pytest.mark.usefixtures("watched")
def test_an_emergency_stop_is_obeyed_all_the_same(rig):
    assert rig.twin.truth().state != STOPPED
    rig.robot.e_stop()
    rig.robot.wait("the latched stop", lambda: rig.robot.arm().mode is ArmMode.STOPPED, 3.0)
    assert rig.twin.truth().state == STOPPED
