"""A twin in a process of its own, and what a person does with the SDK. Used by the tests of the SDK on the twin."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

IP = f"127.{10 + os.getpid() // 250 % 200}.{1 + os.getpid() % 250}.3"
BENT = [0.1, -0.2, 0.0, 0.9, 0.0, 1.1, 0.0]
"""Joint positions with the tool straight down, away from every limit [rad]."""


class TwinBox:
    """A twin process and its HTTP control."""

    def __init__(self, ip, firmware):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.ip = ip
        command = [sys.executable, "-m", "regrasp.cli", "twin", "--ip", ip, "--firmware", firmware, "--realtime"]
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
