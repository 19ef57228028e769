"""What a person's console does with the running robot: call its services, set the next episode, follow its states.

Used by the driver of simulated episodes, by benches and by tests. It spins its own node; call it from one thread.
"""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from bridge.ros import qos
from bridge.ros.messages import arm_status_from, facts_of
from core.arm import ArmMode, ArmStatus
from core.errors import DeviceTimeout, ServiceError

FOLLOWED = ("robot_status", "safety_status", "recovery_status", "episode_status", "supervisor_status")
"""Latched states that are followed."""
_WAYS = {ArmMode.STOPPED: "arm/reset_e_stop", ArmMode.FAULT: "arm/clear_fault", ArmMode.IDLE: "arm/rearm"}
"""What a person asks for, by what the arm is."""
_SPIN_S = 0.05


class RobotClient:
    """A client of one robot's graph, while it is open as a context manager.

    Args:
        namespace: The robot's, e.g. "/xarm".
        name: Of this client's node.
    """

    def __init__(self, namespace: str, name: str = "client") -> None:
        self._namespace, self._name = namespace, name
        self._states: dict[str, DiagnosticStatus] = {}

    def __enter__(self) -> Self:
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node(self._name, namespace=self._namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._e_stop = self.node.create_publisher(Bool, "e_stop", qos.emergency())
        for topic in FOLLOWED:
            self.node.create_subscription(DiagnosticStatus, topic, self._follower(topic), qos.status())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def facts(self, topic: str) -> Mapping[str, str]:
        """Returns the facts of a followed state, empty before it was heard."""
        state = self._states.get(topic)
        return {} if state is None else {**facts_of(state), "message": state.message, "name": state.name}

    def arm(self) -> ArmStatus | None:
        """Returns how the arm is, None before it was heard."""
        state = self._states.get("robot_status")
        return None if state is None else arm_status_from(state)

    def spin(self, seconds: float) -> None:
        """Serves callbacks for so long [s]."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait(self, what: str, true: Callable[[], bool], timeout_s: float) -> None:
        """Serves callbacks until a condition holds.

        Args:
            what: Is waited for, for the error.
            true: The condition.
            timeout_s: Longest wait [s].

        Raises:
            DeviceTimeout: It did not come true in time.
        """
        until = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > until:
                known = {topic: state.message for topic, state in self._states.items()}
                raise DeviceTimeout(
                    f"{what} did not happen within {timeout_s:.1f} s; last heard: {known}",
                    device=f"graph {self._namespace}", remedy="read the logs of its nodes",
                )  # fmt: skip
            self._executor.spin_once(timeout_sec=_SPIN_S)

    def call(self, service: str, timeout_s: float = 10.0) -> tuple[bool, str]:
        """Calls a trigger and returns whether it was done and what was said.

        Args:
            service: Below the namespace, e.g. "runtime/start".
            timeout_s: Longest wait for the service and, again, for its answer [s].

        Raises:
            DeviceTimeout: Nobody offers it, or no answer came.
        """
        client = self.node.create_client(Trigger, service)
        try:
            self.wait(f"service {service}", client.service_is_ready, timeout_s)
            future = client.call_async(Trigger.Request())
            self.wait(f"answer of {service}", future.done, timeout_s)
            answer = future.result()
            return bool(answer.success), str(answer.message)
        finally:
            self.node.destroy_client(client)

    def ask(self, service: str, timeout_s: float = 10.0) -> str:
        """Calls a trigger that must succeed and returns what was said; raises `ServiceError` when it was refused."""
        done, said = self.call(service, timeout_s)
        if not done:
            raise ServiceError(f"{service} was refused: {said}")
        return said

    def set(self, node: str, values: Mapping[str, bool | int | float | str], timeout_s: float = 10.0) -> None:
        """Sets parameters of a node; raises `ServiceError` naming the one that was refused."""
        client = self.node.create_client(SetParameters, f"{node}/set_parameters")
        try:
            self.wait(f"parameters of {node}", client.service_is_ready, timeout_s)
            given = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
            future = client.call_async(SetParameters.Request(parameters=given))
            self.wait(f"parameters of {node} to be set", future.done, timeout_s)
            for name, result in zip(values, future.result().results, strict=True):
                if not result.successful:
                    raise ServiceError(f"{node} refused parameter {name} = {values[name]!r}: {result.reason}")
        finally:
            self.node.destroy_client(client)

    def ready_arm(self, timeout_s: float) -> None:
        """Does what a person does at the arm until it is ready: waits for the link, releases, clears, arms.

        Args:
            timeout_s: Longest time [s].

        Raises:
            DeviceTimeout: It is not ready in time; says what it is.
        """
        until = time.monotonic() + timeout_s
        while (arm := self.arm()) is None or arm.mode is not ArmMode.READY:
            if time.monotonic() > until:
                raise DeviceTimeout(f"is still {arm}", device="arm", remedy="read the arm node's log")
            self.spin(_SPIN_S)
            if arm is not None and arm.mode in _WAYS:
                self.call(_WAYS[arm.mode])

    def e_stop(self) -> None:
        """Publishes the emergency stop."""
        self._e_stop.publish(Bool(data=True))

    def _follower(self, topic: str) -> Callable[[DiagnosticStatus], None]:
        def take(message: DiagnosticStatus) -> None:
            self._states[topic] = message

        return take
