"""A node's process: its parameters, its life cycle, its signals; and an arm node that only measures."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from trajectory_msgs.msg import JointTrajectory

from bridge.ros import messages, qos
from bridge.ros.client import RobotClient
from bridge.ros.environment import find_profile, node_environment
from core.arm import ArmMode
from core.kinematics import HOME_RAD

HERE = Path(__file__).parent


@pytest.fixture
def start(tmp_path, monkeypatch, domain):
    """Starts an arm node around an arm in memory with command-line words; ends what is left of it."""
    environment = node_environment(os.environ, profile=find_profile(), log_dir=tmp_path, domain=domain)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    started = []

    def begin(*words):
        process = subprocess.Popen(
            [sys.executable, str(HERE / "memory_arm_node.py"), "--ros-args", "-r", "__ns:=/xarm", *words],
            env={**environment, "PYTHONPATH": str(HERE.parents[1])}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def client(start):
    """A person's console; after `start`, whose environment it needs."""
    with RobotClient("/xarm", "tester") as client:
        yield client


def change(client, *transitions):
    service = client.node.create_client(ChangeState, "arm/change_state")
    client.wait("the node", service.service_is_ready, 15)
    for transition in transitions:
        asked = service.call_async(ChangeState.Request(transition=Transition(id=transition)))
        client.wait("the transition", asked.done, 10)
        assert asked.result().success


UP = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_end_it_ends_in_order(start, client, number):
    process = start()
    change(client, *UP)
    process.send_signal(number)
    process.send_signal(number)
    said, _ = process.communicate(timeout=10)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_a_transition_out_of_turn_does_not_end_it(start, client):
    process = start()
    change(client, *UP)
    service = client.node.create_client(ChangeState, "arm/change_state")
    service.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    change(client, Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_ACTIVATE)
    assert process.poll() is None


def test_it_prints_its_parameters_and_refuses_unknown_ones(start):
    said, _ = start("-p", "watchdog:=0.2").communicate(timeout=20)
    assert "did you mean 'watchdog_s'" in said


def test_the_life_cycle_can_be_walked_to_its_end_and_back(start, client):
    process = start()
    change(client, *UP)
    client.wait("ready", lambda: client.arm().mode is ArmMode.READY, 5)
    change(client, Transition.TRANSITION_DEACTIVATE)
    client.wait("idle", lambda: client.arm().mode is ArmMode.IDLE, 5)
    assert client.call("arm/rearm")[0] is False
    change(client, Transition.TRANSITION_CLEANUP)
    client.wait("offline", lambda: client.arm().mode is ArmMode.OFFLINE, 5)
    change(client, *UP)
    client.wait("ready", lambda: client.arm().mode is ArmMode.READY, 5)
    change(client, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_an_emergency_stop_before_the_link_is_still_latched_after_it(start, client):
    start()
    change(client)
    client.wait("the stop to be heard", lambda: client.node.count_subscribers("/xarm/e_stop") > 0, 5)
    client.e_stop()
    change(client, Transition.TRANSITION_CONFIGURE)
    client.wait("stopped", lambda: client.arm().mode is ArmMode.STOPPED, 5)
    service = client.node.create_client(ChangeState, "arm/change_state")
    asked = service.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_ACTIVATE)))
    client.wait("the transition", asked.done, 10)
    assert asked.result().success is False
    client.spin(0.6)
    client.ask("arm/reset_e_stop")
    change(client, Transition.TRANSITION_ACTIVATE)
    client.wait("ready", lambda: client.arm().mode is ArmMode.READY, 5)


def test_readonly_it_measures_and_refuses_everything_but_a_stop(start, client):
    start("-p", "readonly:=true")
    change(client, *UP)
    client.wait("idle", lambda: client.arm() is not None and client.arm().mode is ArmMode.IDLE, 5)
    sender = client.node.create_publisher(JointTrajectory, "command", qos.command())
    client.wait("the arm to listen", lambda: sender.get_subscription_count() > 0, 5)
    sender.publish(messages.target_message(client.node.get_clock().now().to_msg(), HOME_RAD, 1.0, 0.01))
    client.spin(0.2)
    assert "readonly" in client.arm().details["hold"]
    assert [client.call(f"arm/{name}")[0] for name in ("rearm", "clear_fault")] == [False, False]
    client.e_stop()
    client.wait("stopped", lambda: client.arm().mode is ArmMode.STOPPED, 2)


def test_a_persons_hold_lasts_until_the_person_ends_it(start, client):
    start()
    change(client, *UP)
    client.ask("arm/hold")
    client.wait("idle", lambda: client.arm().mode is ArmMode.IDLE, 2)
    client.ask("arm/rearm")
    client.wait("ready", lambda: client.arm().mode is ArmMode.READY, 2)
