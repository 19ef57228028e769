"""The arm as the runtime's process sees it: topics and services of the arm node behind `core.ports.JointArm`.

It lives in a node that its owner serves and makes no thread: calls that must wait for an answer serve that node
themselves. All ages are of this process's monotonic clock.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, WrenchStamped
from rclpy.client import Client
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from bridge.ros import messages, qos
from bridge.ros.arm_rules import RESUME_WINDOW_RAD
from bridge.ros.node import Shell
from core.arm import ArmMode, ArmState, ArmStatus
from core.arrays import Floats
from core.errors import ContractError, DeviceError, DeviceFault, DeviceNotConnected, DeviceTimeout

log = logging.getLogger(__name__)

SILENT_NS = 500_000_000
"""Without a measurement for so long the arm counts as offline [ns]."""
STOP_S = 0.5
"""Longest wait for a stop to be confirmed [s]."""
ANSWER_S = 10.0
"""Longest wait for a service that arms or clears [s]."""
SERVICES = ("rearm", "hold", "reset_e_stop", "clear_fault")
"""Of the arm node, below `arm/`."""
_SETTLED_S = 0.5
"""Longest wait for a status that follows from an answer [s]."""
_DEVICE = "arm node"
_SLICE_NS = 5_000_000


class RosArm:
    """An arm behind the arm node; implements `core.ports.JointArm`.

    Leaving it holds; its topics live as long as the node does.

    Args:
        shell: The node it lives in, in the robot's namespace; calls that wait serve it.
        beat_s: Time between two targets [s]; written into each.
        link_s: How long entering waits for a first measurement [s].
    """

    def __init__(self, shell: Shell, *, beat_s: float = 0.01, link_s: float = 10.0) -> None:
        self._shell = shell
        self._beat_s, self._link_s = beat_s, link_s
        self._joints: tuple[int, JointState] | None = None
        self._pose: PoseStamped | None = None
        self._wrench: WrenchStamped | None = None
        self._status: ArmStatus | None = None
        self._resting = True
        self._read: ArmState | None = None
        self._command = shell.create_publisher(JointTrajectory, "command", qos.command())
        self._e_stop = shell.create_publisher(Bool, "e_stop", qos.emergency())
        shell.create_subscription(JointState, "joint_states", self._take_joints, qos.measurement())
        shell.create_subscription(PoseStamped, "tcp_pose", self._take_pose, qos.measurement())
        shell.create_subscription(WrenchStamped, "uf_ftsensor_ext_states", self._take_wrench, qos.measurement())
        shell.create_subscription(DiagnosticStatus, "robot_status", self._take_status, qos.status())
        self._services = {name: shell.create_client(Trigger, f"arm/{name}") for name in SERVICES}

    def __enter__(self) -> Self:
        if not self._wait(self._spoke, self._link_s):
            raise DeviceNotConnected(
                f"no measurement within {self._link_s:.1f} s", device=_DEVICE, remedy="is the arm node active?"
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.hold()

    def state(self) -> ArmState:
        """Returns the newest measurement; its time is when it arrived here.

        Raises:
            DeviceNotConnected: The arm node never spoke.
        """
        if self._joints is None or self._pose is None or self._status is None:
            raise DeviceNotConnected("never heard of", device=_DEVICE, remedy="start the arm node and activate it")
        t_ns, joints = self._joints
        status = self._present_status(t_ns)
        if self._read is not None and self._read.t_ns == t_ns and self._read.status == status:
            return self._read
        pos, vel, effort, opening = messages.joints_from(joints)
        where, quat = messages.pose_from(self._pose)
        self._read = ArmState(
            t_ns=t_ns,
            joint_pos=pos,
            joint_vel=vel,
            joint_effort=effort,
            tcp_pos_in_base=where,
            tcp_quat_xyzw_in_base=quat,
            gripper_opening=opening,
            status=status,
            wrench_in_tcp=None if self._wrench is None else messages.wrench_from(self._wrench),
        )
        return self._read

    def arm(self) -> None:
        """Asks the arm node to be ready to follow; raises `DeviceError` when it cannot."""
        self._call("rearm")
        self._resting = True
        self._await_mode(ArmMode.READY)

    def stream(self, joint_target: Floats, gripper_opening: float) -> Floats:
        """Publishes one target (J,) [rad]; returns it.

        While the arm node rests, targets are cut to a small way from the measured pose: it follows again only there.

        Raises:
            DeviceError: The arm is not ready, or was never heard of.
        """
        state = self.state()
        if state.status.mode is not ArmMode.READY:
            raise DeviceError(
                f"does not follow: it is {state.status.mode} ({state.status.fault or 'no fault'})",
                device=_DEVICE, code=state.status.fault_code, remedy="arm it first",
            )  # fmt: skip
        target = np.asarray(joint_target, dtype=np.float64)
        if self._resting or state.status.details.get("hold"):
            near = 0.5 * RESUME_WINDOW_RAD
            target = state.joint_pos + np.clip(target - state.joint_pos, -near, near)
        self._resting = False
        stamp = self._shell.get_clock().now().to_msg()
        self._command.publish(messages.target_message(stamp, target, gripper_opening, self._beat_s))
        return target

    def hold(self) -> None:
        """Publishes the command to hold."""
        self._resting = True
        self._command.publish(messages.hold_message(self._shell.get_clock().now().to_msg()))

    def stop(self) -> None:
        """Publishes the emergency stop and waits until the arm node has read the controller back as stopped.

        Raises:
            DeviceTimeout: It was not confirmed in time; the supervisor's own line may still have stopped it.
        """
        self._resting = True
        self._e_stop.publish(Bool(data=True))
        self._await_mode(ArmMode.STOPPED, STOP_S)

    def reset_stop(self) -> None:
        """Asks the arm node to release the stop; raises `DeviceError` when it is too early."""
        self._call("reset_e_stop")
        self._wait(lambda: self._status is not None and self._status.mode is not ArmMode.STOPPED, _SETTLED_S)

    def clear_fault(self, *, by_person: bool) -> None:
        """Asks the arm node to clear the fault for a person; its own rule clears the automatic ones.

        Raises:
            DeviceFault: It refused, or nobody stands behind the request.
        """
        if not by_person:
            raise DeviceFault("clears by its own rule only", device=_DEVICE, remedy="set its parameter auto_clear")
        self._call("clear_fault")

    def _present_status(self, t_ns: int) -> ArmStatus:
        status = self._status or ArmStatus(mode=ArmMode.OFFLINE)
        silent_ns = time.monotonic_ns() - t_ns
        if silent_ns <= SILENT_NS or status.mode in (ArmMode.OFFLINE, ArmMode.STOPPED):
            return status
        return replace(status, mode=ArmMode.OFFLINE, fault="the arm node gives no measurements; is it alive?")

    def _call(self, name: str) -> None:
        client: Client = self._services[name]
        if not self._wait(client.service_is_ready, 1.0):
            raise DeviceNotConnected(f"offers no arm/{name}", device=_DEVICE, remedy="start the arm node")
        asked = client.call_async(Trigger.Request())
        if not self._wait(asked.done, ANSWER_S):
            client.remove_pending_request(asked)
            raise DeviceTimeout(f"arm/{name} gave no answer in {ANSWER_S:.0f} s", device=_DEVICE, remedy="read its log")
        answer = asked.result()
        if not answer.success:
            raise DeviceFault(f"arm/{name}: {answer.message}", device=_DEVICE, remedy="see the reason it gave")

    def _await_mode(self, mode: ArmMode, longest_s: float = 2.0) -> None:
        if not self._wait(lambda: self._status is not None and self._status.mode is mode, longest_s):
            known = "never heard of" if self._status is None else f"{self._status.mode} ({self._status.fault})"
            raise DeviceTimeout(
                f"was not {mode} within {longest_s:.1f} s, it is {known}", device=_DEVICE, remedy="read its log"
            )

    def _wait(self, true: Callable[[], bool], longest_s: float) -> bool:
        until = time.monotonic_ns() + round(longest_s * 1e9)
        while not true():
            now = time.monotonic_ns()
            if now > until:
                return False
            self._shell.serve_until(min(until, now + _SLICE_NS))
        return True

    def _spoke(self) -> bool:
        return self._joints is not None and self._pose is not None and self._status is not None

    def _take_joints(self, message: JointState) -> None:
        self._joints = time.monotonic_ns(), message

    def _take_pose(self, message: PoseStamped) -> None:
        self._pose = message

    def _take_wrench(self, message: WrenchStamped) -> None:
        self._wrench = message

    def _take_status(self, message: DiagnosticStatus) -> None:
        try:
            self._status = messages.arm_status_from(message)
        except ContractError as error:
            log.error("%s", error)
