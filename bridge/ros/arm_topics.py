"""What the arm node says: measurements every beat, its status when it changes. Called by `bridge.ros.arm_work`."""

import time
from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState

from bridge.ros import messages, qos
from core.arm import ArmState, ArmStatus

_DETAILS_NS = 200_000_000
"""Least time between two messages that differ in details alone [ns]."""


class ArmTopics:
    """Publishers of the arm's measurements and of its status.

    Args:
        node: Where they live.
        hardware: What the status calls the device, e.g. its address.
    """

    def __init__(self, node: Node, hardware: str) -> None:
        self._node, self._hardware = node, hardware
        self._joints = node.create_publisher(JointState, "joint_states", qos.measurement())
        self._pose = node.create_publisher(PoseStamped, "tcp_pose", qos.measurement())
        self._twist = node.create_publisher(TwistStamped, "tcp_twist", qos.measurement())
        self._wrench = node.create_publisher(WrenchStamped, "uf_ftsensor_ext_states", qos.measurement())
        self._status = node.create_publisher(DiagnosticStatus, "robot_status", qos.status())
        self._safety = node.create_publisher(DiagnosticStatus, "safety_status", qos.status())
        self._told_t_ns = -1
        self._told: ArmStatus | None = None
        self._status_ns = 0
        self._told_safety: dict[str, str] | None = None

    def tell(self, state: ArmState) -> None:
        """Publishes a measurement, each one once: an old one is never sent as if it were new."""
        if state.t_ns == self._told_t_ns:
            return
        self._told_t_ns = state.t_ns
        stamp = self._node.get_clock().now().to_msg()
        pose = messages.pose_message(stamp, state.tcp_pos_in_base, state.tcp_quat_xyzw_in_base)
        self._pose.publish(pose)
        if state.wrench_in_tcp is not None:
            self._wrench.publish(messages.wrench_message(stamp, state.wrench_in_tcp))
        joints = messages.joint_message(
            stamp, state.joint_pos, state.joint_vel, state.joint_effort, state.gripper_opening
        )
        self._joints.publish(joints)
        self._twist.publish(messages.twist_message(stamp, state.joint_pos, state.joint_vel))

    def tell_status(self, status: ArmStatus) -> None:
        """Publishes how the arm is: at once when that changed, a few times a second when only details did."""
        now = time.monotonic_ns()
        if status == self._told or (_gist(status) == _gist(self._told) and now - self._status_ns < _DETAILS_NS):
            return
        self._told, self._status_ns = status, now
        self._status.publish(self.status_message(status))

    def tell_safety(self, limits: Mapping[str, str]) -> None:
        """Publishes the limits that were read back from the controller, when they changed."""
        if limits == self._told_safety:
            return
        self._told_safety = dict(limits)
        level = DiagnosticStatus.OK if limits else DiagnosticStatus.STALE
        said = "limits read back from the controller" if limits else "no limits were read back yet"
        self._safety.publish(messages.status_message("safety", level, said, limits, hardware=self._hardware))

    def status_message(self, status: ArmStatus) -> DiagnosticStatus:
        """Returns how the arm is as a message."""
        return messages.arm_status_message(status, hardware=self._hardware)


def _gist(status: ArmStatus | None) -> tuple[object, ...]:
    """Returns what decisions are made from."""
    if status is None:
        return ()
    return status.mode, status.fault_code, status.clearing, status.attempts_left, status.details.get("hold")
