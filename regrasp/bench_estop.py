"""`regrasp bench estop`: from the emergency stop's topic to a stopped controller, measured at the twin, in motion."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.signals import SignalHandlerOptions

from bridge.realtime import enter_realtime, leave_realtime
from bridge.ros.environment import find_profile, node_environment
from bridge.ros.node import Pace, Shell
from bridge.ros.ros_arm import RosArm
from bridge.twin_control import TwinControl
from core.arrays import Floats, Ints, in_range
from core.errors import DeviceError, DeviceTimeout
from regrasp.bringup import Process
from regrasp.graph import Graph
from regrasp.loopback import free_port, own_address, own_domain
from regrasp.processes import Bringup, table

STOPPED = 4
"""The controller's word for stopped."""
LIMIT_S = 0.030
"""Longest that may pass from the topic to the stopped controller [s]."""
SWING_RAD, SWING_S = 0.25, 1.6
"""How far and how fast the first joint swings [rad], [s]."""
MOVE_S = 0.6
"""How long it swings before it is stopped [s]."""
COOLDOWN_S = 0.6
"""How long a stop is left alone before it is reset [s]."""
BEAT_S = 0.01
PRIORITY = 45
"""Of the sender, as the runtime and the supervisor have one [SCHED_FIFO]."""


@dataclass(frozen=True, kw_only=True)
class BenchEstopConfig:
    """Measure the emergency stop on a twin of its own."""

    n: int = 20
    """How many stops."""
    domain: int = -1
    """ROS domain, 0 to 101; -1: one that no other run uses, so that nobody else's arm hears it."""


def bench_estop(config: BenchEstopConfig) -> int:
    """Prints n, median, 95th percentile and maximum; returns 1 when the maximum is above the limit."""
    in_range("n", config.n, 1, 10_000)
    latencies = 1e3 * measure_stops(config)
    p50, p95 = np.percentile(latencies, [50, 95])
    print(
        f"estop n {len(latencies)}  p50 {p50:.1f} ms  p95 {p95:.1f} ms  max {latencies.max():.1f} ms  "
        f"(topic -> controller state 4 at the twin, seen every 5 ms, arm in motion; allowed {1e3 * LIMIT_S:.0f} ms)"
    )
    return int(latencies.max() > 1e3 * LIMIT_S)


def measure_stops(config: BenchEstopConfig) -> Floats:
    """Returns the time from each stop's publication to the controller's state 4, shape (n,) [s]."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_:
        domain = open_.enter_context(own_domain(config.domain))
        given = Bringup(ip=own_address(), control_port=free_port(), domain=domain, out=Path(folder))
        environment = node_environment(os.environ, profile=find_profile(), log_dir=given.out / "ros", domain=domain)
        processes = [prompt(process) for process in table(given)]
        graph = Graph(processes, namespace=given.namespace, environment=environment, logs=given.out)
        open_.enter_context(graph)
        graph.start("twin", "arm")
        open_.callback(leave_realtime)
        print(f"estop: {enter_realtime(PRIORITY).line()}")
        shell = open_.enter_context(own_node("estop_bench", given.namespace, environment))
        raise_node(shell, "arm")
        twin = open_.enter_context(TwinControl(given.control_port))
        arm = open_.enter_context(RosArm(shell, beat_s=BEAT_S))
        return np.array([_one_stop(shell, arm, twin) for _ in range(config.n)])


def prompt(process: Process) -> Process:
    """Returns the process, a twin in real time: what is measured is the way to the controller, not the simulation."""
    if process.name != "twin":
        return process
    return replace(process, arguments=(*process.arguments, "--realtime"))


@contextmanager
def own_node(name: str, namespace: str, environment: dict[str, str]) -> Iterator[Shell]:
    """Opens a node of this process in a graph; the middleware reads the environment when it is made.

    Args:
        name: Of the node.
        namespace: Of the robot.
        environment: Of the graph's processes.
    """
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        shell = Shell(name, namespace=namespace)
    finally:
        os.environ.clear()
        os.environ.update(before)
    try:
        yield shell
    finally:
        shell.close()
        rclpy.try_shutdown()


def raise_node(shell: Shell, name: str, timeout_s: float = 30.0) -> None:
    """Configures and activates a node, as the supervisor would.

    Raises:
        DeviceTimeout: It does not answer.
        DeviceError: It refused.
    """
    client = shell.create_client(ChangeState, f"{name}/change_state")
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        until = time.monotonic() + timeout_s
        while not client.service_is_ready() and time.monotonic() < until:
            shell.serve_until(time.monotonic_ns() + 20_000_000)
        asked = client.call_async(ChangeState.Request(transition=Transition(id=transition)))
        while not asked.done():
            if time.monotonic() > until:
                raise DeviceTimeout(f"{name} did not come up", device="bench", remedy="read its log")
            shell.serve_until(time.monotonic_ns() + 20_000_000)
        if not asked.result().success:
            raise DeviceError(f"{name} refused to come up", device="bench", remedy="read its log")
    shell.destroy_client(client)


def _one_stop(shell: Shell, arm: RosArm, twin: TwinControl) -> float:
    """Swings, stops in motion, resets; returns how long the stop took [s]."""
    swing(shell, arm, MOVE_S)
    began_ns = time.monotonic_ns()
    arm.stop()
    shell.serve_until(began_ns + round(COOLDOWN_S * 1e9))
    trace = twin.trace(began_ns - round(0.1 * 1e9))
    took_s = latency_s(trace.t_ns, trace.state, began_ns)
    moved = float(np.ptp(trace.joint_pos[trace.t_ns < began_ns], axis=0).max())
    if moved < 1e-3:
        raise DeviceError(f"the arm moved {moved:.5f} rad before its stop", device="bench", remedy="it must swing")
    arm.reset_stop()
    arm.arm()
    return took_s


def latency_s(t_ns: Ints, state: Ints, began_ns: int) -> float:
    """Returns from `began_ns` [ns] to the first cycle that says stopped [s]; infinite when none does."""
    stopped = t_ns[(t_ns >= began_ns) & (state == STOPPED)]
    return float(stopped[0] - began_ns) * 1e-9 if len(stopped) else float("inf")


def swing(shell: Shell, arm: RosArm, seconds: float) -> None:
    """Streams a swing of the first joint from where it is, towards the middle of the cell [s]."""
    start = arm.state().joint_pos
    side = -1.0 if start[0] > 0 else 1.0
    pace = Pace(BEAT_S)
    for beat in range(round(seconds / BEAT_S)):
        pace.wait()
        target = np.array(start)
        target[0] += side * SWING_RAD * 0.5 * (1.0 - np.cos(2.0 * np.pi * beat * BEAT_S / SWING_S))
        arm.stream(target, 1.0)
        shell.serve_until(pace.due_ns - 500_000)
