"""A person's console on a real graph, and what the loop tells it: states, reports, services, parameters, the stop."""

import os
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from bridge.ros import messages, qos
from bridge.ros.client import RobotClient
from bridge.ros.environment import find_profile, node_environment
from bridge.ros.loop_status import LoopStatus
from core.arm import ArmMode, ArmStatus, Clearing
from core.clock import ManualClock
from core.errors import DeviceTimeout, ServiceError
from core.failures import FailureMode, FailureReport, Severity
from core.fakes import FakeRobot
from core.flow import Arrived, Phase, Source, Step
from core.ports import Sink
from core.robots import EE_DELTA


@pytest.fixture(scope="module")
def graph(domain, tmp_path_factory):
    """A robot's side of the graph, served by a thread: what it was asked is in `asked`, what it heard in `stops`."""
    environment = node_environment(
        os.environ, profile=find_profile(), log_dir=tmp_path_factory.mktemp("ros"), domain=domain
    )
    before = dict(os.environ)
    os.environ.update(environment)
    context = Context()
    rclpy.init(context=context)
    node = rclpy.create_node("runtime", namespace="/test", context=context)
    found = SimpleNamespace(node=node, asked=[], stops=[], arm_mode=ArmMode.FAULT)
    found.status = node.create_publisher(DiagnosticStatus, "robot_status", qos.status())
    node.create_subscription(Bool, "e_stop", lambda message: found.stops.append(message.data), qos.emergency())
    node.declare_parameter("seed", 0)
    ways = {"arm/clear_fault": ArmMode.IDLE, "arm/rearm": ArmMode.READY}

    def serve(name, answer):
        def called(_, reply):
            found.asked.append(name)
            if name in ways:
                tell_arm(found, ways[name])
            reply.success, reply.message = answer
            return reply

        node.create_service(Trigger, name, called)

    serve("runtime/start", (True, "begun"))
    serve("runtime/hold", (False, "no episode runs"))
    serve("arm/clear_fault", (True, "cleared"))
    serve("arm/rearm", (True, "armed"))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, name="graph")
    thread.start()
    yield found
    executor.shutdown(timeout_sec=2.0)
    thread.join(5.0)
    node.destroy_node()
    rclpy.shutdown(context=context)
    os.environ.clear()
    os.environ.update(before)


def tell_arm(graph, mode):
    graph.arm_mode = mode
    clearing = Clearing.OPERATOR if mode is ArmMode.FAULT else None
    graph.status.publish(messages.arm_status_message(ArmStatus(mode=mode, clearing=clearing), hardware="twin"))


@pytest.fixture(scope="module")
def client(graph):
    with RobotClient("/test", "console") as client:
        yield client


def test_before_anything_was_heard_nothing_is_known(graph):
    with RobotClient("/elsewhere", "early") as early:
        assert early.arm() is None
        assert early.facts("episode_status") == {}


def test_a_console_that_comes_late_hears_the_state_that_was_told_before(graph):
    tell_arm(graph, ArmMode.FAULT)
    with RobotClient("/test", "late") as late:
        late.wait("the arm's status", lambda: late.arm() is not None, 10.0)
        assert late.arm().mode is ArmMode.FAULT
        assert late.facts("robot_status")["clearing"] == "operator"
        assert late.facts("robot_status")["name"] == "arm"


def test_a_service_is_called_and_its_answer_told(graph, client):
    assert client.call("runtime/start") == (True, "begun")
    assert client.ask("runtime/start") == "begun"
    assert graph.asked[-2:] == ["runtime/start", "runtime/start"]


def test_a_refusal_is_an_answer_to_a_call_and_an_error_to_who_asks(client):
    assert client.call("runtime/hold") == (False, "no episode runs")
    with pytest.raises(ServiceError, match="runtime/hold was refused: no episode runs"):
        client.ask("runtime/hold")


def test_a_service_that_nobody_offers_is_not_waited_for_longer_than_allowed(client):
    began = time.monotonic()
    with pytest.raises(DeviceTimeout, match="service runtime/dance"):
        client.call("runtime/dance", timeout_s=0.3)
    assert time.monotonic() - began < 2.0


def test_what_did_not_happen_is_named_with_what_was_heard_last(client):
    with pytest.raises(DeviceTimeout, match=r"the moon did not happen within 0.1 s"):
        client.wait("the moon", lambda: False, 0.1)


def test_parameters_are_set_and_a_refusal_names_the_one(graph, client):
    client.set("runtime", {"seed": 7})
    assert graph.node.get_parameter("seed").value == 7
    with pytest.raises(ServiceError, match="runtime refused parameter sed = 7"):
        client.set("runtime", {"sed": 7})


def test_an_arm_in_a_fault_is_made_ready_as_a_person_does(graph, client):
    tell_arm(graph, ArmMode.FAULT)
    client.wait("the fault", lambda: client.arm() is not None and client.arm().mode is ArmMode.FAULT, 5.0)
    since = len(graph.asked)
    client.ready_arm(10.0)
    assert client.arm().mode is ArmMode.READY
    order = list(dict.fromkeys(graph.asked[since:]))
    assert order == ["arm/clear_fault", "arm/rearm"]


def test_an_arm_that_stays_away_is_not_waited_for_for_ever(graph, client):
    tell_arm(graph, ArmMode.OFFLINE)
    client.wait("the news", lambda: client.arm().mode is ArmMode.OFFLINE, 5.0)
    with pytest.raises(DeviceTimeout, match="offline"):
        client.ready_arm(0.2)


def test_the_emergency_stop_is_published(graph, client):
    client.wait("a listener", lambda: client.node.count_subscribers("/test/e_stop") > 0, 5.0)
    client.e_stop()
    client.wait("the stop to be heard", lambda: graph.stops == [True], 5.0)


@pytest.fixture
def told(graph, client):
    """A loop's status and what a console hears of it: `write` a step, then look at `phases` and `reports`."""
    heard = SimpleNamespace(phases=[], reports=[])
    own = client.node
    topics = (("recovery_status", heard.phases, 10), ("failure_report", heard.reports, 10))
    listeners = [own.create_subscription(DiagnosticStatus, name, into.append, keep) for name, into, keep in topics]
    status = LoopStatus(graph.node)
    names = [f"/test/{name}" for name, _, _ in topics]
    client.wait("the loop's topics", lambda: all(own.count_publishers(name) for name in names), 5.0)
    client.spin(0.3)
    yield SimpleNamespace(write=status.write, status=status, heard=heard, client=client)
    for listener in listeners:
        own.destroy_subscription(listener)


def step(index, phase=Phase.RUNNING, next_phase=None, note="", report=None):
    with FakeRobot(ManualClock()) as robot:
        seen = robot.read()
    return Step(
        index=index, observation=replace(seen, t_ns=index), arrived=Arrived(), phase=phase,
        next_phase=next_phase or phase, source=Source.HOLD, base=None, asked=np.array(EE_DELTA.still(1.0)),
        commanded=EE_DELTA.still(1.0), clipped_by=("workspace",), report=report, note=note,
    )  # fmt: skip


REPORT = FailureReport(
    id="probe-3", t_ns=3, detector="probe", mode=FailureMode.SLIP, severity=Severity.HOLD, confidence=0.75,
    evidence={"gap_m": 0.02},
)  # fmt: skip


def test_the_loop_tells_what_is_new_and_only_that(told):
    assert isinstance(told.status, Sink)
    for i in range(3):
        told.write(step(i))
    told.write(step(3, next_phase=Phase.DIAGNOSING, note="slip", report=REPORT))
    for i in range(4, 7):
        told.write(step(i, phase=Phase.DIAGNOSING))
    told.write(step(7, phase=Phase.DIAGNOSING, next_phase=Phase.RECOVERING))
    told.write(step(8, phase=Phase.RECOVERING))
    told.client.wait("every change", lambda: len(told.heard.phases) >= 3, 5.0)
    told.client.spin(0.1)
    facts = [messages.facts_of(message) for message in told.heard.phases]
    assert [(f["phase"], f["step"], f["note"]) for f in facts] == [
        ("running", "0", ""), ("diagnosing", "3", "slip"), ("recovering", "7", ""),
    ]  # fmt: skip
    assert [f["report_id"] for f in facts] == ["", "probe-3", "probe-3"]
    assert facts[0]["clipped_by"] == "workspace"
    (report,) = told.heard.reports
    assert messages.report_from(report) == REPORT


def test_the_latest_phase_is_kept_for_who_comes_later(told, graph):
    told.write(step(0))
    told.write(step(1, next_phase=Phase.HOLDING, note="operator: hold"))
    with RobotClient("/test", "later") as later:
        later.wait("the phase", lambda: later.facts("recovery_status").get("phase") == "holding", 10.0)
        assert "operator: hold" in later.facts("recovery_status")["message"]
