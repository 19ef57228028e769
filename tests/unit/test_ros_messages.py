"""Conversions between core values and ROS messages: what goes out comes back, in SI."""

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rclpy.serialization import deserialize_message, serialize_message

from bridge.ros import messages
from core.arm import ArmMode, ArmStatus, Clearing
from core.errors import ContractError
from core.failures import FailureMode, FailureReport, Severity
from core.flow import Phase
from core.kinematics import HOME_RAD, forward

NOW = Time(sec=3, nanosec=7)
JOINTS = np.linspace(-0.6, 0.9, 7)


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize(("opening", "drive"), [(1.0, 0.0), (0.0, 0.85), (0.5, 0.425)])
def test_gripper_opening_is_the_drive_joint_turned_round(opening, drive):
    assert messages.drive_from_opening(opening) == pytest.approx(drive)
    assert messages.opening_from_drive(drive) == pytest.approx(opening)


def test_joint_states_come_back_whatever_their_order():
    message = messages.joint_message(NOW, JOINTS, 2 * JOINTS, 3 * JOINTS, 0.25)
    assert list(message.name) == [*(f"joint{i}" for i in range(1, 8)), "drive_joint"]
    message.name = message.name[::-1]
    message.position, message.velocity, message.effort = (
        column[::-1] for column in (message.position, message.velocity, message.effort)
    )
    pos, vel, effort, opening = messages.joints_from(over_the_wire(message))
    np.testing.assert_allclose([pos, vel, effort], [JOINTS, 2 * JOINTS, 3 * JOINTS])
    assert opening == pytest.approx(0.25)


def test_joint_states_without_a_joint_are_refused():
    message = messages.joint_message(NOW, JOINTS, JOINTS, JOINTS, 1.0)
    message.name = ["joint1", "joint2", "elbow", *message.name[3:]]
    with pytest.raises(ContractError, match="joint3"):
        messages.joints_from(message)


def test_pose_and_wrench_come_back_with_their_frames():
    position, quat = np.array([0.4, -0.1, 0.3]), np.array([0.6, 0.0, 0.8, 0.0])
    pose = over_the_wire(messages.pose_message(NOW, position, quat))
    wrench = over_the_wire(messages.wrench_message(NOW, np.arange(6.0)))
    np.testing.assert_allclose(messages.pose_from(pose)[0], position)
    np.testing.assert_allclose(messages.pose_from(pose)[1], quat)
    np.testing.assert_allclose(messages.wrench_from(wrench), np.arange(6.0))
    assert (pose.header.frame_id, wrench.header.frame_id) == ("link_base", "link_tcp")


def test_twist_is_the_motion_of_the_tool():
    vel, dt = 0.3 * JOINTS, 1e-6
    twist = messages.twist_message(NOW, HOME_RAD, vel).twist.linear
    ahead, behind = forward((HOME_RAD + dt * vel)[None])[0][0], forward((HOME_RAD - dt * vel)[None])[0][0]
    np.testing.assert_allclose([twist.x, twist.y, twist.z], (ahead - behind) / (2 * dt), atol=1e-6)


def test_a_target_comes_back_and_no_points_mean_hold():
    target, opening = messages.target_from(over_the_wire(messages.target_message(NOW, JOINTS, 0.7, 0.01)))
    np.testing.assert_allclose(target, JOINTS)
    assert opening == pytest.approx(0.7)
    assert messages.target_from(over_the_wire(messages.hold_message(NOW))) is None


@pytest.mark.parametrize("fault", ["nan", "six joints", "two points", "gripper"])
def test_a_damaged_command_is_refused(fault):
    message = messages.target_message(NOW, JOINTS, 0.7, 0.01)
    if fault == "nan":
        message.points[0].positions[3] = float("nan")
    elif fault == "six joints":
        message.joint_names, message.points[0].positions = message.joint_names[:6], [0.0] * 6
    elif fault == "two points":
        message.points = [message.points[0], message.points[0]]
    else:
        message.points[0].positions[7] = 2.0
    with pytest.raises(ContractError):
        messages.target_from(message)


@pytest.mark.parametrize("mode", list(ArmMode))
def test_arm_status_comes_back_whole(mode):
    status = ArmStatus(
        mode=mode, fault_code=31, fault="collision", clearing=Clearing.AUTOMATIC, attempts_left=2, stalls=4,
        simulated=True, details={"firmware": "2.6.0", "hold": "watchdog"},
    )  # fmt: skip
    assert messages.arm_status_from(over_the_wire(messages.arm_status_message(status, hardware="127.0.0.2"))) == status


def test_an_unreadable_arm_status_is_refused():
    message = messages.arm_status_message(ArmStatus(mode=ArmMode.IDLE), hardware="x")
    message.values[0].value = "asleep"
    with pytest.raises(ContractError, match="asleep"):
        messages.arm_status_from(message)


def test_failure_reports_come_back_whole():
    report = FailureReport(
        id="probe-17", t_ns=12345678901234, detector="probe", mode=FailureMode.SLIP, severity=Severity.HOLD,
        confidence=0.8125, evidence={"tracking_error_m": 0.1 + 0.2},
    )  # fmt: skip
    assert messages.report_from(over_the_wire(messages.report_message(report))) == report


def test_every_phase_and_severity_has_a_level():
    levels = {messages.phase_message(phase, "why", {}).level for phase in Phase}
    assert len(levels) == 3
    assert messages.phase_message(Phase.HOLDING, "why", {}).message == "holding: why"


def test_pictures_come_back_bit_for_bit():
    picture = np.random.default_rng(3).integers(0, 256, (12, 17, 3), np.uint8)
    message = over_the_wire(messages.image_message(NOW, "front", picture))
    np.testing.assert_array_equal(messages.picture_from(message), picture)
    assert message.header.frame_id == "camera_front"


def test_pictures_in_another_encoding_are_refused():
    message = messages.image_message(NOW, "front", np.zeros((4, 4, 3), np.uint8))
    message.encoding = "bgr8"
    with pytest.raises(ContractError, match="bgr8"):
        messages.picture_from(message)
