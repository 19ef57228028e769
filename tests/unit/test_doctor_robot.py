"""What the doctor says of ROS, of the machine's timing and of the robot, before anything moves."""

import datetime
import os
import socket
from dataclasses import replace

import pytest

from calibration.bundle import write_bundle
from core.errors import ConfigError
from regrasp.doctor_check import exit_code
from regrasp.doctor_command import DoctorConfig, doctor, robot_checks
from regrasp.doctor_machine import check_clock, check_realtime, check_shared_memory
from regrasp.doctor_robot import PORTS, check_box_ports, check_calibration, check_twin_ports
from regrasp.doctor_ros import check_discovery, check_node, check_profile, ros_checks
from sim.cameras import calibration_bundle

TODAY = datetime.date(2026, 11, 20)


@pytest.fixture
def ip():
    """An address of this machine that no other run of the tests uses."""
    return f"127.{10 + os.getpid() // 250 % 200}.{os.getpid() % 250 + 1}.7"


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_ros_here_can_make_a_node_with_our_profile_on_this_machine_alone(domain):
    found = ros_checks({**os.environ, "ROS_DOMAIN_ID": str(domain)}, needed=True)
    assert [one.name for one in found if not one.ok] == []
    assert "rmw_fastrtps_cpp" in found[0].found
    assert found[2].found == f"domain {domain}, LOCALHOST"


def test_a_machine_without_ros_is_told_how_to_get_it():
    found = check_node({"PATH": os.environ["PATH"], "PYTHONPATH": "", "RMW_IMPLEMENTATION": "rmw_nothing"}, needed=True)
    assert not found.ok
    assert "no node can be made" in found.found
    assert "pip install" in found.remedy


@pytest.mark.parametrize(
    ("environment", "word", "required"),
    [
        ({"ROS_DOMAIN_ID": "102", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "0..101", True),
        ({"ROS_DOMAIN_ID": "x", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, "0..101", True),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, "whoever is on the network", False),
    ],
)
def test_a_domain_that_does_not_exist_and_an_open_network_are_named(environment, word, required):
    found = check_discovery(environment, needed=True)
    assert not found.ok
    assert word in found.remedy
    assert found.required is required


def test_a_profile_that_is_missing_fails_and_another_one_is_a_note(tmp_path):
    other, ours = tmp_path / "other.xml", tmp_path / "ours.xml"
    assert exit_code([check_profile(str(other), ours, needed=True)]) == 1
    other.write_text("<dds/>")
    found = check_profile(str(other), ours, needed=True)
    assert not found.ok
    assert exit_code([found]) == 0
    assert "unset FASTRTPS_DEFAULT_PROFILES_FILE" in found.remedy


def test_realtime_is_tried_and_its_lateness_measured():
    found = check_realtime()
    assert "wakes late by p50" in found.found
    assert found.ok is found.found.startswith("SCHED_FIFO")
    assert found.ok or "rtprio" in found.remedy
    assert not found.required


def test_shared_memory_that_is_too_small_names_how_a_container_gets_more(tmp_path):
    assert check_shared_memory(needed=True).found.endswith("/dev/shm")
    found = check_shared_memory(tmp_path / "none", needed=True)
    assert exit_code([found]) == 1
    assert "--shm-size" in found.remedy


def test_the_clock_is_asked_and_never_required():
    found = check_clock()
    assert found.found in ("synchronised", "not synchronised", "the kernel does not say")
    assert not found.required


def test_ports_of_a_twin_are_free_until_somebody_takes_one(ip, free_port):
    assert check_twin_ports(ip, free_port).ok
    with socket.create_server((ip, PORTS[1])):
        found = check_twin_ports(ip, free_port)
    assert not found.ok
    assert f"{ip}:{PORTS[1]}" in found.found
    assert "another twin" in found.remedy


def test_a_box_that_does_not_answer_is_named_by_port(ip):
    with socket.create_server((ip, PORTS[2])):
        found = check_box_ports(ip)
    assert not found.ok
    assert str(PORTS[0]) in found.found
    assert str(PORTS[2]) not in found.found


def test_a_calibration_is_required_to_be_there_and_should_be_young(tmp_path):
    assert not check_calibration(None, TODAY).ok
    assert not check_calibration(tmp_path / "none.json", TODAY).ok
    file = tmp_path / "cell.json"
    for day, ok, required in (("2026-11-01", True, False), ("2026-01-01", False, False), ("2027-01-01", False, True)):
        file.unlink(missing_ok=True)
        write_bundle(file, replace(calibration_bundle(64), measured_on=day))
        found = check_calibration(file, TODAY)
        assert (found.ok, found.required) == (ok, required), found
        assert "days old" in found.found


def test_a_real_arm_needs_its_address():
    with pytest.raises(ConfigError, match="--ip"):
        doctor(DoctorConfig(robot="xarm"))


def test_without_a_robot_nothing_of_it_is_looked_at():
    assert robot_checks(DoctorConfig()) == ()
