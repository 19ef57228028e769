"""Between core values and standard ROS messages: pure conversions, SI on both sides. Called by every node.

The gripper is the joint `drive_joint` [rad], 0 open to 0.85 closed, as in xarm_ros2; here it is an opening,
0 closed to 1 open. Stamps are for people and recorders; no decision is made from them (see `bridge.ros.ros_arm`).
"""

from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped, TwistStamped, WrenchStamped
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from core import arrays
from core.arm import ArmMode, ArmStatus, Clearing
from core.arrays import Floats, floats
from core.errors import ContractError
from core.failures import FailureMode, FailureReport, Severity
from core.flow import Phase
from core.kinematics import XARM7, chain, jacobian

BASE_FRAME = "link_base"
TCP_FRAME = "link_tcp"
GRIPPER_JOINT = "drive_joint"
GRIPPER_CLOSED_RAD = 0.85
"""Angle of the gripper's drive joint when closed [rad]. Source: UFACTORY xarm_gripper model."""
JOINTS = (*XARM7.joint_names, GRIPPER_JOINT)
DETAIL = "detail."
"""What a status key begins with when it is one of the arm's further facts."""
EVIDENCE = "evidence."

_LEVEL_OF_MODE = {
    ArmMode.READY: DiagnosticStatus.OK,
    ArmMode.IDLE: DiagnosticStatus.WARN,
    ArmMode.STOPPED: DiagnosticStatus.ERROR,
    ArmMode.FAULT: DiagnosticStatus.ERROR,
    ArmMode.OFFLINE: DiagnosticStatus.STALE,
}
_LEVEL_OF_SEVERITY = {
    Severity.NOTE: DiagnosticStatus.OK,
    Severity.SLOW: DiagnosticStatus.WARN,
    Severity.HOLD: DiagnosticStatus.ERROR,
    Severity.STOP: DiagnosticStatus.ERROR,
}
_LEVEL_OF_PHASE = {
    Phase.RUNNING: DiagnosticStatus.OK,
    Phase.RECOVERING: DiagnosticStatus.WARN,
    Phase.DIAGNOSING: DiagnosticStatus.WARN,
    Phase.OPERATOR: DiagnosticStatus.WARN,
    Phase.HOLDING: DiagnosticStatus.ERROR,
    Phase.STOPPED: DiagnosticStatus.ERROR,
}


def stamp(sec: int, nanosec: int) -> Time:
    """Returns a message's stamp."""
    return Time(sec=sec, nanosec=nanosec)


def drive_from_opening(opening: float) -> float:
    """Returns the gripper's drive joint [rad] of an opening [0 closed, 1 open]."""
    return (1.0 - opening) * GRIPPER_CLOSED_RAD


def opening_from_drive(drive_rad: float) -> float:
    """Returns the opening [0 closed, 1 open] of the gripper's drive joint [rad]."""
    return 1.0 - drive_rad / GRIPPER_CLOSED_RAD


def joint_message(
    stamp: Time, joint_pos: Floats, joint_vel: Floats, joint_effort: Floats, opening: float
) -> JointState:
    """Returns the joints (7,) [rad, rad/s, N m] and the gripper's opening as one message of eight joints."""
    return JointState(
        header=Header(stamp=stamp, frame_id=BASE_FRAME),
        name=JOINTS,
        position=[*joint_pos.tolist(), drive_from_opening(opening)],
        velocity=[*joint_vel.tolist(), 0.0],
        effort=[*joint_effort.tolist(), 0.0],
    )


def joints_from(message: JointState) -> tuple[Floats, Floats, Floats, float]:
    """Returns positions, velocities, efforts (7,) [rad, rad/s, N m] and the opening, whatever the joints' order.

    Raises:
        ContractError: A joint is missing, or a value is not finite.
    """
    place = {name: i for i, name in enumerate(message.name)}
    missing = [name for name in JOINTS if name not in place]
    if missing or len(message.position) != len(message.name):
        raise ContractError(f"joint_states has joints {list(message.name)}; {missing or 'a position each'} missing")
    order = [place[name] for name in JOINTS]
    read = [np.asarray(column)[order] if len(column) else np.zeros(8) for column in
            (message.position, message.velocity, message.effort)]  # fmt: skip
    pos, vel, effort = (floats(name, column, (8,)) for name, column in zip(("q", "qd", "effort"), read, strict=True))
    return pos[:7], vel[:7], effort[:7], _near_opening(opening_from_drive(float(pos[7])))


def _near_opening(opening: float) -> float:
    return float(np.clip(opening, 0.0, 1.0))


def pose_message(stamp: Time, position: Floats, quat_xyzw: Floats) -> PoseStamped:
    """Returns the tool's pose in base: position (3,) [m] and quaternion (4,)."""
    message = PoseStamped(header=Header(stamp=stamp, frame_id=BASE_FRAME))
    where, turn = message.pose.position, message.pose.orientation
    where.x, where.y, where.z = position.tolist()
    turn.x, turn.y, turn.z, turn.w = quat_xyzw.tolist()
    return message


def pose_from(message: PoseStamped) -> tuple[Floats, Floats]:
    """Returns position (3,) [m] and quaternion xyzw (4,) in base."""
    where, turn = message.pose.position, message.pose.orientation
    return np.array([where.x, where.y, where.z]), np.array([turn.x, turn.y, turn.z, turn.w])


def twist_message(stamp: Time, joint_pos: Floats, joint_vel: Floats) -> TwistStamped:
    """Returns the tool's velocity in base [m/s, rad/s], from the joints (7,) [rad, rad/s]."""
    linear_angular = jacobian(*chain(joint_pos[None]))[0] @ joint_vel
    message = TwistStamped(header=Header(stamp=stamp, frame_id=BASE_FRAME))
    linear, angular = message.twist.linear, message.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = linear_angular.tolist()
    return message


def wrench_message(stamp: Time, wrench: Floats) -> WrenchStamped:
    """Returns the force and torque at the tool, shape (6,) [N, N m], in the tool's axes."""
    message = WrenchStamped(header=Header(stamp=stamp, frame_id=TCP_FRAME))
    force, torque = message.wrench.force, message.wrench.torque
    force.x, force.y, force.z, torque.x, torque.y, torque.z = wrench.tolist()
    return message


def wrench_from(message: WrenchStamped) -> Floats:
    """Returns force and torque at the tool, shape (6,) [N, N m]."""
    force, torque = message.wrench.force, message.wrench.torque
    return np.array([force.x, force.y, force.z, torque.x, torque.y, torque.z])


def target_message(stamp: Time, joint_target: Floats, opening: float, reach_s: float) -> JointTrajectory:
    """Returns one target for the joints (7,) [rad] and the gripper, to be reached `reach_s` [s] after `stamp`."""
    reach = Duration(sec=int(reach_s), nanosec=int(reach_s % 1 * 1e9))
    point = JointTrajectoryPoint(
        positions=[*joint_target.tolist(), drive_from_opening(opening)], time_from_start=reach
    )  # fmt: skip
    return JointTrajectory(header=Header(stamp=stamp, frame_id=BASE_FRAME), joint_names=JOINTS, points=[point])


def hold_message(stamp: Time) -> JointTrajectory:
    """Returns the command to hold: no points, as ros2_control has it."""
    return JointTrajectory(header=Header(stamp=stamp, frame_id=BASE_FRAME), joint_names=JOINTS)


def target_from(message: JointTrajectory) -> tuple[Floats, float] | None:
    """Returns joint targets (7,) [rad] and opening [0, 1]; None when the command is to hold.

    Raises:
        ContractError: Not exactly our eight joints, more than one point, or a value that is not finite.
    """
    if not message.points:
        return None
    if len(message.points) != 1 or sorted(message.joint_names) != sorted(JOINTS):
        raise ContractError(
            f"a command has {len(message.points)} points for joints {list(message.joint_names)}; "
            f"allowed: one point for {', '.join(JOINTS)}"
        )
    place = {name: i for i, name in enumerate(message.joint_names)}
    pos = floats("command [rad]", np.asarray(message.points[0].positions), (8,))[[place[name] for name in JOINTS]]
    return pos[:7], arrays.in_range("commanded opening", opening_from_drive(float(pos[7])), -1e-6, 1.0 + 1e-6)


def status_message(
    name: str, level: bytes, message: str, values: Mapping[str, str], *, hardware: str = ""
) -> DiagnosticStatus:
    """Returns a status: what is called `name`, how it is, and its facts as texts."""
    facts = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware, values=facts)


def facts_of(message: DiagnosticStatus) -> dict[str, str]:
    """Returns the facts of a status by name."""
    return {fact.key: fact.value for fact in message.values}


def arm_status_message(status: ArmStatus, *, hardware: str) -> DiagnosticStatus:
    """Returns how the arm is, complete: `arm_status_from` gives the same status back."""
    facts = {
        "mode": str(status.mode),
        "fault_code": str(status.fault_code),
        "fault": status.fault,
        "collision": "true" if status.collision else "false",
        "clearing": str(status.clearing) if status.clearing else "",
        "attempts_left": str(status.attempts_left),
        "stalls": str(status.stalls),
        "simulated": "true" if status.simulated else "false",
        **{f"{DETAIL}{name}": value for name, value in status.details.items()},
    }
    said = status.fault or status.details.get("hold", "") or str(status.mode)
    return status_message("arm", _LEVEL_OF_MODE[status.mode], said, facts, hardware=hardware)


def arm_status_from(message: DiagnosticStatus) -> ArmStatus:
    """Returns how the arm is.

    Raises:
        ContractError: A fact is missing or none of the allowed words.
    """
    facts = facts_of(message)
    try:
        return ArmStatus(
            mode=ArmMode(facts["mode"]),
            fault_code=int(facts["fault_code"]),
            fault=facts["fault"],
            collision=facts["collision"] == "true",
            clearing=Clearing(facts["clearing"]) if facts["clearing"] else None,
            attempts_left=int(facts["attempts_left"]),
            stalls=int(facts["stalls"]),
            simulated=facts["simulated"] == "true",
            details=_with_prefix(facts, DETAIL),
        )
    except (KeyError, ValueError) as error:
        raise ContractError(f"robot_status cannot be read: {error!r} in {facts}") from error


def report_message(report: FailureReport) -> DiagnosticStatus:
    """Returns a detector's finding."""
    facts = {
        "id": report.id,
        "t_ns": str(report.t_ns),
        "mode": str(report.mode),
        "severity": str(report.severity),
        "confidence": repr(report.confidence),
        **{f"{EVIDENCE}{name}": repr(float(value)) for name, value in report.evidence.items()},
    }
    return status_message(report.detector, _LEVEL_OF_SEVERITY[report.severity], str(report.mode), facts)


def report_from(message: DiagnosticStatus) -> FailureReport:
    """Returns a detector's finding; its time is on the sender's clock.

    Raises:
        ContractError: A fact is missing or none of the allowed words.
    """
    facts = facts_of(message)
    try:
        return FailureReport(
            id=facts["id"],
            t_ns=int(facts["t_ns"]),
            detector=message.name,
            mode=FailureMode(facts["mode"]),
            severity=Severity(facts["severity"]),
            confidence=float(facts["confidence"]),
            evidence={name: float(value) for name, value in _with_prefix(facts, EVIDENCE).items()},
        )
    except (KeyError, ValueError) as error:
        raise ContractError(f"failure_report cannot be read: {error!r} in {facts}") from error


def phase_message(phase: Phase, note: str, facts: Mapping[str, str]) -> DiagnosticStatus:
    """Returns what the loop is doing and why, for `recovery_status`."""
    said = f"{phase}: {note}" if note else str(phase)
    return status_message("loop", _LEVEL_OF_PHASE[phase], said, {"phase": str(phase), "note": note, **facts})


def image_message(stamp: Time, camera: str, picture: arrays.Image) -> Image:
    """Returns a picture (H, W, 3) uint8 RGB of `camera`."""
    height, width = picture.shape[:2]
    message = Image(header=Header(stamp=stamp, frame_id=f"camera_{camera}"), height=height, width=width,
                    encoding="rgb8", step=3 * width)  # fmt: skip
    message.data.frombytes(np.ascontiguousarray(picture).tobytes())
    return message


def picture_from(message: Image) -> arrays.Image:
    """Returns the picture (H, W, 3) uint8 RGB of a message.

    Raises:
        ContractError: Another encoding, or the size does not fit the data.
    """
    if message.encoding != "rgb8" or len(message.data) != message.step * message.height:
        raise ContractError(
            f"image of {message.width} x {message.height} {message.encoding}, {len(message.data)} bytes; "
            "allowed: rgb8, 3 bytes a pixel"
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    return rows[:, : 3 * message.width].reshape(message.height, message.width, 3)


def jpeg_message(stamp: Time, camera: str, jpeg: bytes) -> CompressedImage:
    """Returns a picture of `camera` that is JPEG already."""
    message = CompressedImage(header=Header(stamp=stamp, frame_id=f"camera_{camera}"), format="rgb8; jpeg compressed")
    message.data.frombytes(jpeg)
    return message


def _with_prefix(facts: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in facts.items() if key.startswith(prefix)}
