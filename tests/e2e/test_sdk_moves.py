"""The unmodified xarm-python-sdk moves the twin's arm and gripper, in every mode the robot uses."""

import time

import numpy as np
import pytest

from sdk_client import BENT, change_mode, go, joints, position, settles, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # the SDK's own logging


def test_joint_moves_wait_until_they_have_arrived(arm):
    go(arm)
    assert arm.set_servo_angle(servo_id=1, angle=-0.1, speed=1.0, wait=True, timeout=20) == 0
    settles(lambda: joints(arm), [-0.1, *BENT[1:]], 3e-3)
    assert arm.set_servo_angle(angle=[0.05, *[0.0] * 6], relative=True, speed=1.0, wait=True, timeout=20) == 0
    settles(lambda: joints(arm)[0], -0.05, 3e-3)


def test_straight_moves_lead_where_they_say_in_base_in_tool_and_by_rotation_vector(arm):
    go(arm)
    start = position(arm)
    assert arm.set_position(z=start[2] - 20, speed=100, wait=True, timeout=20) == 0
    settles(lambda: position(arm), start - [0, 0, 20], 1.0)
    assert arm.set_position(x=15, relative=True, speed=100, wait=True, timeout=20) == 0
    settles(lambda: position(arm) - start, [15, 0, -20], 1.0)
    assert arm.set_tool_position(z=10, speed=100, wait=True, timeout=20) == 0
    settles(lambda: position(arm) - start, [15, 0, -30], 1.0)
    code, pose = arm.get_position_aa()
    assert code == 0
    pose[2] += 30
    assert arm.set_position_aa(pose, speed=100, wait=True, timeout=20) == 0
    settles(lambda: position(arm) - start, [15, 0, 0], 1.0)


def test_a_circle_comes_back_to_its_end(arm):
    go(arm)
    code, pose = arm.get_position()
    assert code == 0
    through = [pose[0] + 20, pose[1] + 20, *pose[2:]]
    to = [pose[0] + 40, *pose[1:]]
    assert arm.move_circle(through, to, percent=50, speed=150, wait=True, timeout=20) == 0
    assert np.abs(position(arm) - through[:3]).max() < 45


def test_a_queued_move_is_paused_and_goes_on(arm):
    go(arm)
    assert arm.set_servo_angle(servo_id=1, angle=0.6, speed=0.5) == 0
    wait_until(lambda: arm.get_state() == (0, 1) and joints(arm)[0] > 0.15)
    assert arm.set_state(3) == 0
    wait_until(lambda: arm.get_state() == (0, 3))
    wait_until(lambda: np.abs(np.array(arm.get_joint_states()[1][1])).max() < 1e-2)
    here = joints(arm)[0]
    assert 0.1 < here < 0.55
    assert arm.get_cmdnum()[1] >= 1
    assert arm.set_state(0) == 0
    settles(lambda: joints(arm)[0], 0.6, 3e-3)
    wait_until(lambda: arm.get_cmdnum() == (0, 0))


def test_stopping_ends_a_wait_and_clears_the_queue(arm, link):
    other = link()
    go(arm)
    assert arm.set_servo_angle(servo_id=1, angle=1.5, speed=0.3) == 0
    assert arm.set_servo_angle(servo_id=1, angle=-1.5, speed=0.3) == 0
    wait_until(lambda: other.get_state() == (0, 1))
    other.emergency_stop()
    assert other.get_state() == (0, 4)
    wait_until(lambda: other.get_cmdnum() == (0, 0))
    assert arm.set_servo_angle(servo_id=1, angle=0.0, speed=0.3, wait=True, timeout=5) != 0


def test_servo_mode_follows_a_stream_of_joint_targets(arm):
    go(arm)
    change_mode(arm, 1)
    start, due = joints(arm), time.monotonic()
    for i in range(1, 81):
        assert arm.set_servo_angle_j([start[0] + 0.002 * i, *start[1:]]) == 0
        due += 0.01
        time.sleep(max(0.0, due - time.monotonic()))
    settles(lambda: joints(arm)[0], start[0] + 0.16, 3e-3)


def test_servo_mode_follows_tool_poses(arm):
    go(arm)
    change_mode(arm, 1)
    code, pose = arm.get_position()
    assert code == 0
    for i in range(1, 21):
        assert arm.set_servo_cartesian([pose[0] + 0.5 * i, *pose[1:]]) == 0
        time.sleep(0.01)
    settles(lambda: position(arm)[0], pose[0] + 10, 1.0)
    code, turned = arm.get_position_aa()
    assert code == 0
    for i in range(1, 21):
        assert arm.set_servo_cartesian_aa([turned[0] - 0.5 * i, *turned[1:]]) == 0
        time.sleep(0.01)
    settles(lambda: position(arm)[0], pose[0], 1.0)


def test_velocity_modes_move_at_the_velocity_and_stop_after_the_duration(arm):
    go(arm)
    change_mode(arm, 4)
    assert arm.vc_set_joint_velocity([0.3, 0, 0, 0, 0, 0, 0]) == 0
    wait_until(lambda: arm.get_joint_states()[1][1][0] == pytest.approx(0.3, abs=0.03))
    assert arm.vc_set_joint_velocity([0.0] * 7) == 0
    wait_until(lambda: abs(arm.get_joint_states()[1][1][0]) < 0.01)
    assert arm.vc_set_joint_velocity([-0.3, 0, 0, 0, 0, 0, 0], duration=0.3) == 0
    wait_until(lambda: arm.get_joint_states()[1][1][0] < -0.2)
    wait_until(lambda: abs(arm.get_joint_states()[1][1][0]) < 0.01)
    change_mode(arm, 5)
    start = position(arm)
    assert arm.vc_set_cartesian_velocity([0, 0, -40, 0, 0, 0]) == 0
    wait_until(lambda: position(arm)[2] < start[2] - 5)
    assert arm.vc_set_cartesian_velocity([0] * 6) == 0
    settles(lambda: position(arm)[:2], start[:2], 1.0)


def test_online_planning_takes_the_newest_target(arm):
    go(arm)
    change_mode(arm, 6)
    assert arm.set_servo_angle(servo_id=1, angle=0.6, speed=0.5) == 0
    wait_until(lambda: joints(arm)[0] > 0.15)
    assert arm.set_servo_angle(servo_id=1, angle=0.0, speed=0.5) == 0
    settles(lambda: joints(arm)[0], 0.0, 3e-3)
    change_mode(arm, 7)
    start = position(arm)
    assert arm.set_position(z=start[2] - 40, speed=100) == 0
    wait_until(lambda: position(arm)[2] < start[2] - 5)
    assert arm.set_position(z=start[2], speed=100) == 0
    settles(lambda: position(arm), start, 1.5)


def test_the_gripper_moves_and_waits(arm):
    assert arm.set_gripper_enable(True) == 0
    assert arm.set_gripper_mode(0) == 0
    assert arm.set_gripper_speed(5000) == 0
    for target in (300, 850):
        begun = time.monotonic()
        assert arm.set_gripper_position(target, wait=True, timeout=6) == 0
        assert time.monotonic() - begun < 4
        code, count = arm.get_gripper_position()
        assert code == 0
        assert count == pytest.approx(target, abs=12)
    assert arm.get_gripper_err_code() == (0, 0)
    assert arm.get_gripper_version() == (0, "3.4.5")
