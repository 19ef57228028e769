"""`regrasp doctor`: is this machine ready, and what to do when not."""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import ConfigError
from regrasp.artifacts import find_models
from regrasp.doctor import checks
from regrasp.doctor_arm import arm_checks
from regrasp.doctor_check import Check, exit_code, format_checks
from regrasp.doctor_machine import check_clock, check_realtime, check_shared_memory
from regrasp.doctor_robot import check_box_ports, check_calibration, check_twin_ports
from regrasp.doctor_ros import ros_checks
from regrasp.processes import TWIN_IP


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Check that this machine is ready, with a remedy for what is not. Nothing is changed, nothing moves."""

    robot: Literal["none", "twin", "xarm"] = "none"
    """What is to be brought up: nothing but `regrasp run`, a twin, or an arm; decides what is required."""
    ip: str = ""
    """Address of the control box; the twin's is 127.0.0.2 when not given."""
    control_port: int = 8700
    """Loopback port of the twin's HTTP control."""
    calibration: Path | None = None
    """Calibration bundle of a real cell."""
    models: Path | None = None
    """Folder of trained models; the shipped ones when not given."""
    vlm_url: str = ""
    """Root of an OpenAI-compatible endpoint to look for."""


def doctor(config: DoctorConfig) -> int:
    """Prints every check; returns 1 when a required one fails.

    Raises:
        ConfigError: A real arm is asked for without its address, or there are no models.
    """
    if config.robot == "xarm" and not config.ip:
        raise ConfigError("a real arm needs its control box's address: --ip 192.168.1.xxx")
    needed = config.robot != "none"
    found = [
        *checks(find_models(config.models).root, config.vlm_url),
        check_realtime(),
        check_shared_memory(needed=needed),
        check_clock(),
        *ros_checks(os.environ, needed=needed),
        *robot_checks(config),
    ]
    print(format_checks(found))
    return exit_code(found)


def robot_checks(config: DoctorConfig) -> Sequence[Check]:
    """Returns what is found of the robot that is to be brought up, and of its cell."""
    if config.robot == "none":
        return ()
    if config.robot == "twin":
        return (check_twin_ports(config.ip or TWIN_IP, config.control_port),)
    cell = check_calibration(config.calibration, datetime.date.today())
    ports = check_box_ports(config.ip)
    return (ports, *(arm_checks(config.ip) if ports.ok else ()), cell)
