"""The doctor asks a control box through the SDK, sets nothing, and says what it found."""

import json
import os
from urllib.request import Request, urlopen

import pytest

from bridge.xarm.config import BoxSafety
from regrasp.doctor_arm import arm_checks, check_identity, check_safety, check_state
from regrasp.doctor_check import exit_code
from regrasp.graph import Graph
from regrasp.loopback import free_port
from regrasp.processes import Bringup, table

IP = f"127.{10 + os.getpid() // 250 % 200}.{os.getpid() % 250 + 1}.9"


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    given = Bringup(ip=IP, control_port=free_port())
    logs = tmp_path_factory.mktemp("logs")
    with Graph(table(given), namespace="/xarm", environment=dict(os.environ), logs=logs) as graph:
        graph.start("twin")
        yield f"http://127.0.0.1:{given.control_port}"


def told(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data, headers={"Content-Type": "application/json"}), timeout=10.0) as answer:
        return json.loads(answer.read())


def test_a_healthy_box_is_read_and_left_as_it_was(box, capsys):
    before = told(f"{box}/state")
    identity, state, safety = arm_checks(IP)
    assert identity.ok
    assert "7 axes, firmware 2.6.0" in identity.found
    assert state.ok
    assert not safety.ok
    assert not safety.required
    assert "reduced mode off" in safety.found
    after = told(f"{box}/state")
    assert before["mode"] == after["mode"]
    assert before["state"] == after["state"]
    assert capsys.readouterr().out == ""


def test_an_error_of_the_box_is_named_with_who_may_clear_it(box):
    told(f"{box}/fault", {"kind": "estop_button"})
    state = arm_checks(IP)[1]
    assert exit_code([state]) == 1
    assert "error" in state.found
    assert "clearing: operator" in state.found


def test_a_box_that_is_not_there_is_one_finding():
    found = arm_checks("127.0.0.250")
    assert [one.ok for one in found] == [False]
    assert "check power" in found[0].remedy


@pytest.mark.parametrize(
    ("firmware", "axes", "ok"), [((1, 5, 0), 7, False), ((2, 6, 0), 6, False), ((2, 7, 103), 7, True)]
)
def test_an_old_firmware_and_another_arm_are_refused(firmware, axes, ok):
    assert check_identity(firmware, axes, "X").ok is ok


def test_settings_of_the_box_that_are_ours_pass():
    assert check_safety(BoxSafety()).ok


def test_an_unknown_error_is_for_a_person():
    assert "operator" in check_state(4, 99).found
