"""The arm node on a real graph: the unmodified SDK to a twin in its own process on one side, `RosArm` on the other."""

import os
import time
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
from builtin_interfaces.msg import Time

from bridge.realtime import enter_realtime, leave_realtime
from bridge.ros import messages
from bridge.ros.environment import find_profile, node_environment
from bridge.ros.node import Pace
from bridge.ros.ros_arm import RosArm
from bridge.twin_control import TwinControl
from core.arm import ArmMode
from core.errors import DeviceError, DeviceFault
from regrasp.bench_estop import latency_s, own_node, prompt, raise_node, swing
from regrasp.graph import Graph
from regrasp.loopback import free_port, own_address
from regrasp.processes import Bringup, table

MS = 1_000_000
DEGREE = np.radians(1.0)


@pytest.fixture(scope="module")
def robot(tmp_path_factory, domain):
    """A twin, the arm node, and a node of this process: `shell`, `arm`, `twin`, `graph`."""
    out = tmp_path_factory.mktemp("robot")
    given = Bringup(ip=own_address(), control_port=free_port(), domain=domain, out=out)
    environment = node_environment(os.environ, profile=find_profile(), log_dir=out / "ros", domain=given.domain)
    with ExitStack() as stack:
        processes = [prompt(one) for one in table(given)]
        graph = stack.enter_context(Graph(processes, namespace="/xarm", environment=environment, logs=out))
        graph.start("twin", "arm")
        stack.callback(leave_realtime)
        enter_realtime(45)  # as the runtime is: the tests beat beside it
        shell = stack.enter_context(own_node("tester", "/xarm", environment))
        raise_node(shell, "arm")
        twin = stack.enter_context(TwinControl(given.control_port))
        arm = stack.enter_context(RosArm(shell))
        yield SimpleNamespace(shell=shell, arm=arm, twin=twin, graph=graph)


@pytest.fixture
def ready(robot):
    """The robot with its arm at the start, armed there, whatever the test before did to it."""
    ways = {
        ArmMode.STOPPED: robot.arm.reset_stop,
        ArmMode.FAULT: lambda: robot.arm.clear_fault(by_person=True),
        ArmMode.IDLE: robot.arm.arm,
        ArmMode.READY: robot.arm.arm,  # again: an arm that was put elsewhere follows nobody before
    }
    robot.twin.reset(7, None)
    until = time.monotonic() + 10
    robot.arm.hold()
    serve(robot, 0.05)
    armed = False
    while not armed:
        assert time.monotonic() < until, robot.graph.tail("arm", 30)
        mode = robot.arm.state().status.mode
        try:
            ways.get(mode, lambda: None)()
            armed = ways.get(mode) == robot.arm.arm
        except DeviceError:
            serve(robot, 0.1)
        serve(robot, 0.02)
    return robot


def serve(robot, seconds):
    robot.shell.serve_until(time.monotonic_ns() + round(seconds * 1e9))


def wait(robot, true, seconds, what):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"{what}; {robot.arm.state().status}\n{robot.graph.tail('arm', 30)}"
        serve(robot, 0.005)


def status(robot):
    return robot.arm.state().status


def follow(robot, offsets):
    """Streams the first joint away from where it is by each of `offsets` [rad], one a beat."""
    start, pace = robot.arm.state().joint_pos, Pace(0.01)
    for offset in offsets:
        pace.wait()
        robot.arm.stream(start + np.array([offset, 0, 0, 0, 0, 0, 0]), 1.0)
        robot.shell.serve_until(pace.due_ns - MS // 2)
    return time.monotonic_ns()


def largest_jump(trace):
    return max(np.abs(np.diff(x, axis=0)).max(initial=0.0) for x in (trace.joint_pos, trace.joint_target))


def test_the_arm_follows_and_tells_where_it_is(ready):
    began, start = time.monotonic_ns(), ready.arm.state().joint_pos[0]
    heard = set()
    pace = Pace(0.01)
    ramp = np.concatenate([np.linspace(0, 0.2, 60), np.full(40, 0.2)])
    for offset in ramp:
        pace.wait()
        ready.arm.stream(np.array([start + offset, *ready.arm.state().joint_pos[1:]]), 0.4)
        ready.shell.serve_until(pace.due_ns - MS // 2)
        heard.add(ready.arm.state().t_ns)
    assert len(heard) > 70, "measurements come at about 100 Hz"
    wait(ready, lambda: abs(ready.arm.state().joint_pos[0] - start - 0.2) < 0.01, 2, "it does not get there")
    truth = ready.twin.truth()
    np.testing.assert_allclose(ready.arm.state().joint_pos, truth.joint_pos, atol=0.01)
    assert largest_jump(ready.twin.trace(began)) < DEGREE


def test_silence_makes_it_hold_and_it_resumes_without_a_jump(ready):
    began = time.monotonic_ns()
    last = follow(ready, np.linspace(0, 0.4, 60))
    wait(ready, lambda: "watchdog" in status(ready).details.get("hold", ""), 1, "the watchdog did not hold")
    told = time.monotonic_ns()
    serve(ready, 0.3)
    trace = ready.twin.trace(began)
    speed = np.abs(np.diff(trace.joint_target[:, 0])) / np.diff(trace.t_ns) * 1e9
    moving = trace.t_ns[1:][speed > 0.6 * speed[trace.t_ns[1:] <= last][-20:].mean()]
    assert (moving[-1] - last) / MS < 150, "braking begins within 150 ms of the last command"
    assert (told - last) / MS < 150, "the status says so"
    assert speed[-20:].max() < 1e-3, "it is at rest"
    resumed, here = time.monotonic_ns(), ready.arm.state().joint_pos
    far = here + np.array([0.15, 0, 0, 0, 0, 0, 0])
    assert np.abs(ready.arm.stream(far, 1.0) - here).max() < DEGREE, "the first target is near the measured pose"
    follow(ready, np.linspace(0, 0.1, 40))
    assert status(ready).details.get("hold", "") == ""
    assert largest_jump(ready.twin.trace(resumed)) < DEGREE


def test_told_to_hold_it_holds_and_goes_on_from_there(ready):
    follow(ready, np.linspace(0, 0.2, 40))
    ready.arm.hold()
    wait(ready, lambda: status(ready).details.get("hold") == "told to hold", 1, "no hold")
    assert status(ready).mode is ArmMode.READY
    here = ready.arm.state().joint_pos[0]
    follow(ready, np.linspace(0, -0.1, 40))
    assert ready.arm.state().joint_pos[0] < here - 0.05
    assert status(ready).details.get("hold", "") == ""


def test_the_emergency_stop_reaches_the_controller_at_once(ready):
    swing(ready.shell, ready.arm, 0.5)
    began = time.monotonic_ns()
    ready.arm.stop()
    serve(ready, 0.1)
    trace = ready.twin.trace(began - 50 * MS)
    assert latency_s(trace.t_ns, trace.state, began) < 0.030
    assert status(ready).mode is ArmMode.STOPPED
    with pytest.raises(DeviceError, match="stopped"):
        ready.arm.stream(ready.arm.state().joint_pos, 1.0)
    with pytest.raises(DeviceFault, match="latched"):
        ready.arm.arm()
    with pytest.raises(DeviceFault, match="cools down"):
        ready.arm.reset_stop()
    serve(ready, 0.6)
    ready.arm.reset_stop()
    assert status(ready).mode is ArmMode.IDLE, "a reset does not arm"
    assert ready.twin.truth().state == 4


def test_an_emergency_stop_overtakes_a_call_that_blocks(ready):
    swing(ready.shell, ready.arm, 0.3)
    ready.twin.fault("stall", 0.19)
    follow(ready, np.zeros(4))
    began = time.monotonic_ns()
    ready.arm.stop()
    serve(ready, 0.2)
    trace = ready.twin.trace(began)
    assert latency_s(trace.t_ns, trace.state, began) < 0.190, "no later than the wire speaks again"


def test_a_collision_is_cleared_by_rule_and_the_arm_waits_at_the_measured_pose(ready):
    follow(ready, np.linspace(0, 0.1, 30))
    before, began = status(ready).attempts_left, time.monotonic_ns()
    ready.twin.fault("collision", 0.0)
    wait(ready, lambda: status(ready).mode is ArmMode.FAULT, 1, "no fault was told")
    assert status(ready).fault_code == 31
    wait(ready, lambda: status(ready).mode is ArmMode.READY, 5, "the rule did not clear it")
    assert status(ready).attempts_left == before - 1
    assert status(ready).details.get("hold")
    follow(ready, np.linspace(0, 0.05, 20))
    assert largest_jump(ready.twin.trace(began)) < DEGREE


def test_a_pressed_button_is_left_to_a_person(ready):
    ready.twin.fault("estop_button", 0.0)
    wait(ready, lambda: status(ready).mode is ArmMode.FAULT, 1, "no fault was told")
    serve(ready, 1.2)
    assert status(ready).mode is ArmMode.FAULT
    ready.arm.clear_fault(by_person=True)
    wait(ready, lambda: status(ready).mode is ArmMode.IDLE, 1, "a person could not clear it")


def test_after_a_lost_link_it_is_linked_again_but_not_armed(ready):
    follow(ready, np.linspace(0, 0.1, 20))
    began = time.monotonic_ns()
    ready.twin.fault("unplug", 1.0)
    wait(ready, lambda: status(ready).mode is ArmMode.OFFLINE, 1.0, "a lost link was not told")
    wait(ready, lambda: status(ready).mode is ArmMode.IDLE, 20.0, "it was not linked again")
    with pytest.raises(DeviceError, match="idle"):
        ready.arm.stream(ready.arm.state().joint_pos, 1.0)
    assert largest_jump(ready.twin.trace(began)) < DEGREE
    ready.arm.arm()
    follow(ready, np.linspace(0, 0.05, 20))
    assert status(ready).mode is ArmMode.READY


@pytest.mark.parametrize("stamp", [Time(), Time(sec=2_000_000_000)], ids=["1970", "2033"])
def test_a_clock_that_was_stepped_changes_nothing(ready, stamp, monkeypatch):
    start, pace = ready.arm.state().joint_pos, Pace(0.01)
    real = messages.target_message
    monkeypatch.setattr(messages, "target_message", lambda _, *rest: real(stamp, *rest))
    for offset in np.linspace(0, 0.1, 40):
        pace.wait()
        ready.arm.stream(start + np.array([offset, 0, 0, 0, 0, 0, 0]), 1.0)
        ready.shell.serve_until(pace.due_ns - MS // 2)
    assert ready.arm.state().joint_pos[0] - start[0] > 0.05
    assert status(ready).details.get("hold", "") == ""


def test_it_leaves_in_order_and_the_arm_holds(robot, ready):
    follow(ready, np.linspace(0, 0.3, 40))
    robot.graph.interrupt("arm")
    serve(robot, 0.6)
    assert status(robot).mode is ArmMode.OFFLINE
    speed = np.abs(np.diff(robot.twin.trace(time.monotonic_ns() - 200 * MS).joint_pos, axis=0)).max()
    assert speed < 1e-4
    assert "Traceback" not in "\n".join(robot.graph.lines("arm"))
