"""Every fault of a twin in its own process, asked for over HTTP, shows on the wire, in the truth and in the trace."""

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

IP = f"127.{10 + os.getpid() // 250 % 200}.{1 + os.getpid() % 250}.4"
ERROR_BY_KIND = {
    "collision": 31, "end_effector": 19, "joint_limit": 23, "self_collision": 22, "servo": 12, "estop_button": 1
}  # fmt: skip


class Wire:
    """A client of the control port that speaks the protocol by itself, with a limit on every wait."""

    def __init__(self):
        self._socket = socket.create_connection((IP, 502), timeout=2.0)
        self._tid = 0

    def ask(self, fun, params=b""):
        """Returns status and payload of one request."""
        self._tid += 1
        self._socket.sendall(struct.pack(">HHHB", self._tid, 2, 1 + len(params), fun) + params)
        head = self._whole(6)
        body = self._whole(struct.unpack(">HHH", head)[2])
        assert struct.unpack(">HHH", head)[0] == self._tid
        assert body[0] == fun
        return body[1], body[2:]

    def _whole(self, count):
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionResetError("closed")
            data += more
        return data

    def state(self):
        return self.ask(13)[1][0]

    def error(self):
        return self.ask(15)[1][0]

    def make_ready(self, mode):
        self.ask(16)
        self.ask(11, bytes([8, 1]))
        self.ask(19, bytes([mode]))
        self.ask(12, bytes([0]))

    def servo(self, joints):
        return self.ask(29, struct.pack("<10f", *joints, 0, 0, 0))[0]

    def close(self):
        self._socket.close()


class Twin:
    """A twin process and its HTTP control."""

    def __init__(self):
        command = [sys.executable, "-m", "regrasp.cli", "twin", "--ip", IP, "--control-port", "0", "--seed", "3"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MUJOCO_GL": "osmesa"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert select.select([self.process.stdout], [], [], 60)[0], "the twin said nothing"
        self.line = self.process.stdout.readline()
        words = dict(word.split("=", 1) for word in self.line.split()[1:])
        self.url = words["control"]

    def get(self, path):
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            return answer.read(), answer.headers

    def state(self):
        return json.loads(self.get("/state")[0])

    def trace(self, since_ns):
        return [json.loads(line) for line in self.get(f"/trace?since_ns={since_ns}")[0].splitlines()]

    def post(self, path, **fields):
        return self.post_text(path, json.dumps(fields))

    def post_text(self, path, text):
        request = urllib.request.Request(f"{self.url}{path}", data=text.encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def refusal(self, path, text):
        with pytest.raises(urllib.error.HTTPError) as refused:
            self.post_text(path, text)
        with refused.value as answer:
            assert answer.code == 400
            return json.load(answer)["error"]

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        try:
            rest = self.process.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate(timeout=10)
            raise
        return self.process.returncode, rest


@pytest.fixture(scope="module")
def twin():
    running = Twin()
    yield running
    code, rest = running.end()
    assert (code, rest) == (0, ""), "it ends cleanly and says nothing but its one line"


@pytest.fixture
def wire(twin):
    twin.post("/reset", seed=3)
    client = Wire()
    yield client
    client.close()


def wait_until(done, limit_s=5.0):
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def jump(trace):
    """Returns the largest change of a joint target between two cycles [rad]."""
    return float(np.abs(np.diff([row["joint_target"] for row in trace], axis=0)).max())


def test_it_says_one_line_when_it_is_ready(twin):
    assert twin.line.startswith("ready ")
    assert f"ip={IP} " in twin.line


@pytest.mark.parametrize("kind", ERROR_BY_KIND)
def test_an_error_stops_a_streaming_arm_at_once_and_can_be_recovered(twin, wire, kind):
    wire.make_ready(1)
    began = time.monotonic_ns()
    joints = np.array(twin.state()["joints"])
    for k in range(20):
        assert wire.servo(joints + 0.003 * k) == 0
    before = time.monotonic_ns()
    twin.post("/fault", kind=kind)
    assert (wire.state(), wire.error()) == (4, ERROR_BY_KIND[kind])
    assert wire.servo(joints) & 0x50 == 0x50
    wait_until(lambda: len(twin.trace(before)) > 130)
    trace = twin.trace(began)
    assert jump(trace) < np.pi * 0.005 + 1e-6
    stopped = [row for row in trace if row["error"] == ERROR_BY_KIND[kind]]
    rest = [row["joint_target"] for row in stopped[-10:]]
    assert np.ptp(rest, axis=0).max() < 1e-4
    wire.make_ready(1)
    assert (wire.error(), wire.state() in (1, 2)) == (0, True)
    assert wire.servo(twin.state()["joints"]) == 0


def test_an_error_cannot_be_cleared_while_its_cause_lasts(twin, wire):
    twin.post("/fault", kind="estop_button", duration_s=0.4)
    wire.ask(16)
    assert wire.error() == 1
    assert wire.state() == 4
    until = time.monotonic() + 5
    while wire.error() and time.monotonic() < until:
        wire.ask(16)
    assert wire.error() == 0


def test_a_lost_mode_is_no_error_but_the_arm_stays(twin, wire):
    wire.make_ready(1)
    joints = np.array(twin.state()["joints"])
    twin.post("/fault", kind="mode_drop")
    now = twin.state()
    assert (now["mode"], now["error"]) == (0, 0)
    wire.servo(joints + 0.3)
    wait_until(lambda: twin.state()["state"] == 2)
    assert np.abs(np.array(twin.state()["joint_target"]) - joints).max() < 0.01


@pytest.mark.parametrize(("duration_s", "least_s", "most_s"), [(0.0, 0.12, 0.7), (0.5, 0.4, 1.2)])
def test_a_stall_makes_one_answer_late_and_nothing_is_lost(twin, wire, duration_s, least_s, most_s):
    began = time.monotonic()
    twin.post("/fault", kind="stall", duration_s=duration_s)
    wire.ask(13)
    assert least_s < time.monotonic() - began < most_s


def test_an_unplugged_cable_drops_clients_while_physics_goes_on(twin, wire):
    wait_until(lambda: twin.state()["state"] == 2)
    began = time.monotonic()
    before = twin.state()
    twin.post("/fault", kind="unplug", duration_s=0.6)
    with pytest.raises((ConnectionError, TimeoutError)):
        wire.ask(13)
    assert not answers(), "nobody gets in while it is out"
    wait_until(answers)
    assert time.monotonic() - began > 0.5
    after = twin.state()
    assert after["time_s"] - before["time_s"] > 0.4
    assert after["state"] == before["state"], "the box does not care about its cable"


def test_a_power_cycle_forgets_everything_and_takes_its_time(twin, wire):
    wire.ask(37, bytes([1]))
    wire.make_ready(1)
    began = time.monotonic()
    twin.post("/fault", kind="power_cycle")
    now = twin.state()
    assert (now["state"], now["error"], now["mode"], any(now["enabled"])) == (4, 0, 0, False)
    wait_until(answers, 6.0)
    assert time.monotonic() - began > 1.5
    after = twin.state()
    assert after["joints"] == pytest.approx(now["joints"], abs=3e-3)


def answers():
    try:
        client = Wire()
    except OSError:
        return False
    try:
        client.state()
    except OSError:
        return False
    finally:
        client.close()
    return True


def test_a_push_trips_the_collision_watch(twin, wire):
    wire.make_ready(1)
    wait_until(lambda: twin.state()["state"] == 2)
    twin.post("/push", body="hand", force_n=[0, 0, 120.0], duration_s=0.2)
    wait_until(lambda: twin.state()["error"] == 31)
    assert wire.state() == 4


def test_a_reset_lays_out_the_scene_of_its_seed_and_arms_a_failure(twin):
    first = twin.post("/reset", seed=11, injected="drop")
    scene = twin.state()
    assert first["instruction"] == scene["instruction"]
    assert first["roles"]["target"] in scene["objects"]
    assert (scene["error"], scene["injected_at"], scene["success"]) == (0, None, False)
    twin.post("/reset", seed=12)
    twin.post("/reset", seed=11, injected=None)
    again = twin.state()
    assert again["objects"][first["roles"]["goal"]] == scene["objects"][first["roles"]["goal"]]
    assert again["time_s"] < 1.0


def test_pictures_come_with_size_and_time_and_at_other_sizes(twin, wire):
    body, headers = twin.get("/frame/front")
    assert len(body) == int(headers["X-Width"]) * int(headers["X-Height"]) * 3 == 192 * 192 * 3
    assert abs(time.monotonic_ns() - int(headers["X-Capture-Ns"])) < 1e9
    assert np.frombuffer(body, np.uint8).std() > 10
    body, headers = twin.get("/frame/wrist?size=64")
    assert (len(body), headers["X-Fault"]) == (64 * 64 * 3, "none")


@pytest.mark.parametrize("fault", ["frozen", "black", "late"])
def test_a_broken_camera_looks_and_dates_its_pictures_as_it_should(twin, wire, fault):
    first = int(twin.get("/frame/front")[1]["X-Capture-Ns"])
    twin.post("/camera", camera="front", fault=fault, duration_s=20.0)
    asked = time.monotonic_ns()
    body, headers = twin.get("/frame/front")
    shown = int(headers["X-Capture-Ns"])
    assert headers["X-Fault"] == fault
    assert {"frozen": shown == first, "black": shown >= asked, "late": shown < asked}[fault]
    assert (not any(body)) == (fault == "black")
    assert twin.get("/frame/wrist")[1]["X-Fault"] == "none"
    twin.post("/camera", camera="front", fault="none")
    assert twin.get("/frame/front")[1]["X-Fault"] == "none"


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("/fault", '{"kind": "colision"}', "did you mean 'collision'"),
        ("/fault", '{"kind": "stall", "duration": 1}', "did you mean 'duration_s'"),
        ("/fault", '{"kind": "stall", "duration_s": -1}', "allowed [0"),
        ("/fault", '{"kind": "stall", "duration_s": "long"}', "send a number"),
        ("/fault", "{}", "'kind' is missing"),
        ("/fault", "kind", "not JSON"),
        ("/fault", "[]", "send an object"),
        ("/camera", '{"camera": "frnt", "fault": "black"}', "did you mean 'front'"),
        ("/camera", '{"camera": "front", "fault": "blak"}', "did you mean 'black'"),
        ("/push", '{"body": "hnad", "force_n": [0, 0, 1]}', "did you mean 'hand'"),
        ("/push", '{"body": "hand", "force_n": [0, 1]}', "expected (3,)"),
        ("/reset", '{"seed": 1, "injected": "dorp"}', "did you mean 'drop'"),
        ("/reset", '{"seed": 1, "injected": "jam"}', "failure mode of this task"),
        ("/reset", '{"seed": -1}', "whole numbers from 0"),
    ],
)
def test_what_nobody_knows_is_refused_with_the_nearest(twin, path, text, says):
    assert says in twin.refusal(path, text)


@pytest.mark.parametrize("path", ["/frame/frotn", "/frame/front?size=4000", "/trace?since_ns=now"])
def test_wrong_questions_are_refused(twin, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        twin.get(path)
    with refused.value as answer:
        assert answer.code == 400


def test_the_control_listens_on_loopback_only(twin):
    port = int(twin.url.rsplit(":", 1)[1])
    listening = subprocess.run(["cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout
    places = [line.split()[1] for line in listening.splitlines()[1:] if line.split()[3] == "0A"]
    assert f"0100007F:{port:04X}" in places
    assert f"00000000:{port:04X}" not in places


def test_physics_keeps_real_time(twin):
    before, began = twin.state(), time.monotonic()
    wait_until(lambda: time.monotonic() - began > 1.0)
    now = twin.state()
    passed, lost = time.monotonic() - began, now["lag"]["lost_s"] - before["lag"]["lost_s"]
    assert now["time_s"] - before["time_s"] == pytest.approx(passed - lost, abs=0.3)
    assert now["lag"]["busy"] < 1.0
