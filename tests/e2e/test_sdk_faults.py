"""What a client of the unmodified xarm-python-sdk sees when the twin refuses, stops, stalls or goes away."""

import contextlib
import math
import socket
import threading
import time

import numpy as np
import pytest

from sdk_client import IP, TwinBox, change_mode, go, joints, make_ready, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated")  # the SDK's own logging


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


def test_a_collision_ends_a_wait(arm, twin):
    go(arm)
    bump = threading.Timer(0.4, twin.fault, ("collision",))
    bump.start()
    assert arm.set_servo_angle(servo_id=1, angle=1.5, speed=0.3, wait=True, timeout=10) in (-9, 1)
    bump.join(5)
    wait_until(lambda: arm.error_code == 31)
    assert arm.get_cmdnum() == (0, 0)
    make_ready(arm)


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


def test_a_stall_is_a_late_answer_not_a_lost_one(arm, twin):
    twin.fault("stall", duration_s=0.4)
    begun = time.monotonic()
    assert arm.get_state()[0] == 0
    assert 0.1 < time.monotonic() - begun < 1.5


def test_a_killed_twin_is_noticed_and_a_new_one_is_connected_to_again(link):
    ip = IP[:-1] + "6"
    first = TwinBox(ip, "v2.6.0")
    arm = link(ip)
    assert arm.connected
    first.process.kill()
    first.stop()
    wait_until(lambda: not arm.connected)
    assert arm.get_state()[0] == -1
    second = TwinBox(ip, "v2.6.0")
    try:
        arm.connect()
        assert arm.connected
        make_ready(arm)
    finally:
        second.stop()
