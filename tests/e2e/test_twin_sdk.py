"""The unmodified xarm-python-sdk does to the twin, a process of its own, what it does to a control box."""

import contextlib
import json
import math
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # the SDK's own logging
IP = f"127.{10 + os.getpid() // 250 % 200}.{1 + os.getpid() % 250}.3"
BENT = [0.1, -0.2, 0.0, 0.9, 0.0, 1.1, 0.0]
"""Joint positions with the tool straight down, away from every limit [rad]."""


class Twin:
    """A twin process and its HTTP control."""

    def __init__(self, ip, firmware):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.ip = ip
        command = [sys.executable, "-m", "regrasp.cli", "twin", "--ip", ip, "--firmware", firmware]
        self.process = subprocess.Popen(
            [*command, "--control-port", str(self.port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MUJOCO_GL": "osmesa"},
        )  # fmt: skip
        self._await_ready()

    def _await_ready(self):
        said, until = "", time.monotonic() + 60
        while time.monotonic() < until and self.process.poll() is None:
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                line = self.process.stdout.readline()
                said += line
                if re.search(r"\bready\b", line):
                    return
        self.process.kill()
        pytest.fail(f"the twin did not get ready: {said}")

    def fault(self, kind, duration_s=0.0):
        body = json.dumps({"kind": kind, "duration_s": duration_s}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/fault", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.status == 200

    def truth(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/state", timeout=5) as answer:
            return json.load(answer)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def sdk(tmp_path_factory):
    """The SDK's class; it logs under HOME and sets a time limit for all new sockets of this process."""
    home = os.environ.get("HOME")
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    from xarm.wrapper import XArmAPI  # noqa: PLC0415

    yield XArmAPI
    socket.setdefaulttimeout(None)
    if home is not None:
        os.environ["HOME"] = home


@pytest.fixture(scope="module")
def twin():
    running = Twin(IP, "v2.6.0")
    yield running
    running.stop()


@pytest.fixture
def link(sdk):
    """Connects clients that are closed at the end of the test."""
    opened = []

    def connect(ip=IP, **how):
        arm = sdk(ip, forbid_uds=True, is_radian=True, **how)
        opened.append(arm)
        return arm

    yield connect
    for arm in opened:
        arm.disconnect()
    wait_until(lambda: not any(arm.connected for arm in opened))


@pytest.fixture
def arm(twin, link):
    """A client of a box that is ready in mode 0, with nothing wrong."""
    client = link()
    make_ready(client)
    yield client
    client.set_state(4)


def make_ready(arm, mode=0):
    """Enables everything in the documented order, and waits until the client knows."""
    assert arm.clean_error() in (0, 1, 2)
    assert arm.clean_warn() in (0, 1, 2)
    assert arm.motion_enable(True) == 0
    change_mode(arm, mode)


def change_mode(arm, mode):
    assert arm.set_mode(mode) == 0
    assert arm.set_state(0) == 0
    wait_until(lambda: arm.mode == mode and arm.get_state() == (0, 2) and arm.state == 2 and arm.error_code == 0)


def wait_until(condition, seconds=6.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.005)


def settles(read, wanted, within):
    """Waits until what is read is what is wanted: the arm follows its target a few hundredths of a second behind."""
    until = time.monotonic() + 3.0
    while not np.allclose(read(), wanted, atol=within):
        assert time.monotonic() < until, f"{read()} is not within {within} of {wanted}"
        time.sleep(0.005)


def go(arm, target=BENT, speed=1.0):
    """Moves to joint positions in mode 0 and stands still there."""
    assert arm.set_servo_angle(angle=target, speed=speed, wait=True, timeout=20) == 0
    settles(lambda: joints(arm), target, 3e-3)
    settles(lambda: arm.get_joint_states()[1][1], np.zeros(7), 5e-3)


def joints(arm):
    code, angles = arm.get_servo_angle()
    assert code == 0
    return np.array(angles)


def position(arm):
    code, pose = arm.get_position()
    assert code == 0
    return np.array(pose[:3])


def test_a_client_connects_and_learns_who_it_talks_to(arm):
    assert arm.connected
    assert arm.version_number == (2, 6, 0)
    assert arm.axis == 7
    assert arm.get_robot_sn()[0] == 0
    wait_until(lambda: arm.get_state() == (0, 2))
    assert arm.get_err_warn_code() == (0, [0, 0])


def test_a_client_without_reports_streams_and_reads(arm, link):
    change_mode(arm, 1)
    blind = link(enable_report=False, check_robot_sn=True)
    assert blind.sn.startswith("XS1303")
    here = joints(blind)
    assert blind.set_servo_angle_j([here[0] + 0.01, *here[1:]]) == 0
    settles(lambda: joints(blind)[0], here[0] + 0.01, 3e-3)


def test_heartbeats_are_swallowed(arm, link):
    steady = link(enable_heartbeat=True)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 1.2 and steady.get_state() == (0, 2))


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


def test_kinematics_agree_with_the_manual_and_with_each_other(arm):
    make_ready(arm)
    assert arm.set_tcp_offset([0, 0, 0, 0, 0, 0]) == 0
    assert arm.set_state(0) == 0
    expected = [262.2122, 115.1862, 106.8620, 2.965921, 0.435673, -0.804720]
    code, pose = arm.get_forward_kinematics([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert code == 0
    assert np.allclose(pose, expected, atol=1e-3)
    code, angles = arm.get_inverse_kinematics(pose)
    assert code == 0
    again = arm.get_forward_kinematics(angles)[1]
    assert np.allclose(again[:3], pose[:3], atol=0.1)
    assert arm.get_inverse_kinematics([5000, 0, 0, 0, 0, 0]) == (10, [])
    assert arm.is_joint_limit([0, 3.0, 0, 0, 0, 0, 0]) == (0, True)
    assert arm.is_tcp_limit(pose) == (0, False)


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


def test_on_box_safety_reads_back_as_it_was_set(arm):
    ranges = [-6, 6, -2, 2, -6, 6, -0.1, 3.9, -6, 6, -1.6, 3.1, -6, 6]
    assert arm.set_reduced_max_tcp_speed(250) == 0
    assert arm.set_reduced_max_joint_speed(1.5) == 0
    assert arm.set_reduced_tcp_boundary([800, -100, 700, -700, 1000, -50]) == 0
    assert arm.set_reduced_joint_range(ranges) == 0
    assert arm.set_reduced_mode(True) == 0
    assert arm.set_fence_mode(True) in (0, [0])
    assert arm.set_collision_rebound(True) in (0, [0])
    code, states = arm.get_reduced_states()
    assert code == 0
    assert states[:2] == [1, [800, -100, 700, -700, 1000, -50]]
    assert states[2:4] == pytest.approx([250, 1.5])
    assert states[4] == pytest.approx(ranges)
    assert states[5:] == [1, 1]
    assert arm.get_reduced_mode() == (0, 1)
    assert arm.set_reduced_mode(False) == 0
    assert arm.set_fence_mode(False) in (0, [0])
    assert arm.set_collision_rebound(False) in (0, [0])
    for level in (5, 3):
        assert arm.set_collision_sensitivity(level) == 0
        wait_until(lambda level=level: arm.collision_sensitivity == level)


def test_tool_offset_and_load_show_in_reports_and_in_poses(arm):
    go(arm)
    bare = position(arm)
    assert arm.set_tcp_offset([0, 0, 172, 0, 0, 0]) == 0
    assert arm.set_state(0) == 0
    assert arm.set_tcp_load(0.82, [0, 0, 48]) in (0, 9)
    assert arm.set_state(0) == 0
    wait_until(lambda: arm.tcp_offset == [0, 0, 172, 0, 0, 0] and arm.tcp_load == [0.82, [0, 0, 48]])
    assert np.allclose(bare - position(arm), [0, 0, 172], atol=1)
    assert arm.set_tcp_offset([0, 0, 0, 0, 0, 0]) == 0
    assert arm.set_state(0) == 0
    wait_until(lambda: arm.tcp_offset == [0] * 6)


@pytest.mark.parametrize(("kind", "reports"), [("rich", 3), ("normal", 3), ("real", 60)])
def test_reports_come_by_callback_with_the_exact_angles(arm, link, kind, reports):
    other, heard = link(report_type=kind), []
    assert other.register_report_location_callback(heard.append, report_cartesian=True, report_joints=True)
    begun = time.monotonic()
    wait_until(lambda: len(heard) >= reports)
    assert time.monotonic() - begun < 2.0
    assert np.allclose(heard[-1]["joints"], joints(arm), atol=2e-3)
    assert other.release_report_location_callback(heard.append) in (True, False)


def test_a_target_out_of_range_is_refused_by_the_client_and_error_23_of_the_box(arm, link):
    change_mode(arm, 1)
    here = joints(arm)
    beyond = [here[0], 3.0, *here[2:]]
    assert arm.set_servo_angle_j(beyond) == -8
    assert arm.get_err_warn_code() == (0, [0, 0])
    careless = link(check_joint_limit=False)
    assert careless.set_servo_angle_j(beyond) in (0, 1)
    wait_until(lambda: arm.get_err_warn_code()[1][0] == 23)
    assert arm.get_state() == (0, 4)
    assert arm.set_servo_angle_j(list(joints(arm))) == 1
    assert np.abs(joints(arm) - here).max() < math.radians(1)
    make_ready(arm)
    assert arm.get_err_warn_code() == (0, [0, 0])


def test_a_collision_is_error_31_seen_by_callback_and_the_recipe_clears_it(arm, twin):
    heard = []
    assert arm.register_error_warn_changed_callback(heard.append)
    change_mode(arm, 1)
    twin.fault("collision")
    wait_until(lambda: any(item["error_code"] == 31 for item in heard))
    assert arm.error_code == 31
    assert arm.get_state() == (0, 4)
    assert arm.set_servo_angle_j(list(joints(arm))) == 1
    held = joints(arm)
    make_ready(arm, mode=1)
    assert np.abs(joints(arm) - held).max() < math.radians(1)
    assert arm.set_servo_angle_j(list(joints(arm))) == 0


def test_what_the_client_reads_is_what_is_true(arm, twin):
    go(arm)
    truth = twin.truth()
    assert np.allclose(joints(arm), truth["joints"], atol=2e-3)
    assert np.allclose(position(arm), 1e3 * np.array(truth["pose"][:3]), atol=1.0)
    code, (_, speeds, efforts) = arm.get_joint_states()
    assert code == 0
    assert np.abs(speeds).max() < 0.02
    assert np.allclose(efforts, truth["joint_effort"], atol=1.0)


def test_an_unplugged_cable_is_noticed_and_connected_to_again(arm, twin):
    twin.fault("unplug", duration_s=1.0)
    wait_until(lambda: not arm.connected)
    assert arm.get_state()[0] == -1

    def plugged_in():
        with socket.socket() as probe:
            probe.settimeout(0.5)
            probe.connect((twin.ip, 502))
            probe.sendall(bytes.fromhex("00010002000101"))
            with contextlib.suppress(OSError):
                return bool(probe.recv(1))
            return False

    wait_until(plugged_in)
    arm.connect()
    assert arm.connected
    make_ready(arm)


def test_a_collision_ends_a_wait(arm, twin):
    go(arm)
    bump = threading.Timer(0.4, twin.fault, ("collision",))
    bump.start()
    assert arm.set_servo_angle(servo_id=1, angle=1.5, speed=0.3, wait=True, timeout=10) in (-9, 1)
    bump.join(5)
    wait_until(lambda: arm.error_code == 31)
    assert arm.get_cmdnum() == (0, 0)
    make_ready(arm)


def test_two_clients_see_the_same_arm(arm, link):
    other = link()
    go(arm)
    assert np.allclose(joints(other), joints(arm), atol=1e-3)
    assert other.get_state() == arm.get_state() == (0, 2)


def test_force_sensor_switches_on_and_reads(arm):
    assert arm.set_ft_sensor_enable(1) == 0
    code, wrench = arm.get_ft_sensor_data()
    assert (code, len(wrench)) == (0, 6)
    assert arm.get_ft_sensor_mode() == (0, 0)
    assert arm.get_ft_sensor_error() == (0, 0)
    assert arm.set_ft_sensor_enable(0) == 0
    assert arm.get_ft_sensor_data() == (0, [0.0] * 6)


def test_a_stall_is_a_late_answer_not_a_lost_one(arm, twin):
    twin.fault("stall", duration_s=0.4)
    begun = time.monotonic()
    assert arm.get_state()[0] == 0
    assert 0.1 < time.monotonic() - begun < 1.5


@pytest.mark.parametrize("firmware", ["v1.5.0", "v2.7.103"])
def test_the_other_firmwares_connect_move_and_answer(firmware, link):
    ip = IP[:-1] + ("4" if firmware == "v1.5.0" else "5")
    running = Twin(ip, firmware)
    try:
        arm = link(ip)
        make_ready(arm)
        assert arm.version == firmware or firmware in arm.version
        go(arm, speed=2.0)
        x, y, z, *turn = arm.get_position()[1]
        assert arm.set_position(x, y, z - 10, *turn, wait=True, timeout=20) == 0
        settles(lambda: position(arm), [x, y, z - 10], 1.0)
        assert arm.get_inverse_kinematics(arm.get_position()[1])[0] == 0
    finally:
        running.stop()


def test_a_killed_twin_is_noticed_and_a_new_one_is_connected_to_again(link):
    ip = IP[:-1] + "6"
    first = Twin(ip, "v2.6.0")
    arm = link(ip)
    assert arm.connected
    first.process.kill()
    first.stop()
    wait_until(lambda: not arm.connected)
    assert arm.get_state()[0] == -1
    second = Twin(ip, "v2.6.0")
    try:
        arm.connect()
        assert arm.connected
        make_ready(arm)
    finally:
        second.stop()


def test_joint_targets_are_answered_within_a_millisecond_while_physics_runs(twin):
    """The median of the best of up to four short runs: other work on the machine only ever adds to it."""
    script, medians = Path(__file__).parent / "sdk_latency.py", []
    while len(medians) < 4 and min(medians, default=np.inf) > 1.0:
        done = subprocess.run(
            [sys.executable, script, twin.ip, "150"], capture_output=True, text=True, timeout=50, check=False
        )
        assert done.returncode == 0, done.stderr
        medians.append(json.loads(done.stdout)["servo_j_ms"]["p50"])
    assert min(medians) <= 1.0, f"medians of servo_j [ms]: {medians}"
