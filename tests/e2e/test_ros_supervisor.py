"""The supervisor on a real graph: nodes brought up in order; killed and hung ones noticed, and the stack made safe."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from bridge.ros.client import RobotClient
from bridge.ros.environment import find_profile, node_environment
from bridge.twin_control import TwinControl
from core.arm import ArmMode
from regrasp.bench_estop import prompt
from regrasp.graph import Graph
from regrasp.loopback import free_port, own_address
from regrasp.processes import Bringup, table

HERE = Path(__file__).parent
NOTICED_S = 0.75
"""The heartbeat's 0.45 s and this test's own delays on a busy machine [s]."""


@pytest.fixture
def robot(tmp_path, monkeypatch, domain):
    """A twin, the arm node and the supervisor, with still nodes in the places of camera and runtime."""
    given = Bringup(ip=own_address(), control_port=free_port(), domain=domain, out=tmp_path)
    environment = node_environment(os.environ, profile=find_profile(), log_dir=tmp_path / "ros", domain=given.domain)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with ExitStack() as stack:
        processes = [prompt(one) for one in table(given)]
        graph = stack.enter_context(Graph(processes, namespace="/xarm", environment=environment, logs=tmp_path))
        made = SimpleNamespace(graph=graph, still={}, environment=environment, out=tmp_path)
        stack.callback(end_all, made)
        graph.start("twin", "arm", "supervisor")
        start_still(made, "camera")
        start_still(made, "runtime")
        made.client = stack.enter_context(RobotClient("/xarm", "tester"))
        made.twin = stack.enter_context(TwinControl(given.control_port))
        yield made


def start_still(robot, name):
    log = (robot.out / f"{name}.log").open("ab")
    words = [sys.executable, str(HERE / "still_node.py"), name, "--ros-args", "-r", "__ns:=/xarm"]
    environment = {**robot.environment, "PYTHONPATH": str(HERE.parents[1])}
    robot.still[name] = subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT)
    log.close()


def end_all(robot):
    for process in robot.still.values():
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def said(robot, name):
    return (robot.out / f"{name}.log").read_text()


def stage(robot, name):
    return robot.client.facts("supervisor_status").get(name, "")


def wait_up(robot):
    robot.client.wait("all to be active", lambda: stage(robot, "stack") == "active", 30)


def wait_lost(robot, name):
    began = time.monotonic()
    robot.client.wait(f"{name} to be lost", lambda: stage(robot, name) == "lost", 5)
    return time.monotonic() - began


def test_nodes_that_die_or_hang_are_noticed_and_the_stack_is_made_safe(robot):
    wait_up(robot)
    assert robot.client.arm().mode is ArmMode.READY

    robot.still["camera"].send_signal(signal.SIGSTOP)
    assert wait_lost(robot, "camera") < NOTICED_S
    robot.client.wait("the runtime to be told to hold", lambda: "runtime: held" in said(robot, "runtime"), 2)
    robot.still["camera"].send_signal(signal.SIGCONT)
    robot.client.wait("a camera that goes on to be active", lambda: stage(robot, "camera") == "active", 5)

    robot.still["runtime"].kill()
    robot.still["runtime"].wait()
    assert wait_lost(robot, "runtime") < NOTICED_S
    robot.client.wait("the arm to be held", lambda: robot.client.arm().mode is ArmMode.IDLE, 2)
    assert "arm/hold" in robot.client.arm().details["hold"]
    start_still(robot, "runtime")
    robot.client.wait("it to be back", lambda: stage(robot, "runtime") == "present", 10)
    robot.client.spin(1.5)
    assert stage(robot, "runtime") == "present", "a node that comes back is not activated by itself"
    robot.client.ask("supervisor/bring_up")
    wait_up(robot)

    assert robot.twin.truth().state != 4
    robot.graph.freeze("arm")
    assert wait_lost(robot, "arm") < NOTICED_S
    robot.client.wait("the controller to stop", lambda: robot.twin.truth().state == 4, 2)
    robot.graph.thaw("arm")
    robot.client.wait("the stop to be latched", lambda: robot.client.arm().mode is ArmMode.STOPPED, 5)
    assert not robot.client.call("arm/rearm")[0]
    robot.client.spin(0.6)
    robot.client.ask("arm/reset_e_stop")
    robot.client.ask("arm/rearm")
    robot.client.wait("the arm to be ready", lambda: robot.client.arm().mode is ArmMode.READY, 5)


def test_an_arm_node_that_is_killed_leaves_a_stopped_controller(robot):
    wait_up(robot)
    assert robot.twin.truth().state != 4
    robot.graph.kill("arm")
    assert wait_lost(robot, "arm") < NOTICED_S
    robot.client.wait("the controller to stop", lambda: robot.twin.truth().state == 4, 2)
    robot.graph.restart("arm")
    robot.client.wait("it to be back", lambda: stage(robot, "arm") == "present", 10)
    robot.client.spin(1.5)
    assert stage(robot, "arm") == "present"
    assert robot.twin.truth().state == 4, "nothing moves before a person says so"
    robot.client.ask("arm/reset_e_stop")
    robot.client.ask("supervisor/bring_up")
    wait_up(robot)
    assert robot.client.arm().mode is ArmMode.READY
