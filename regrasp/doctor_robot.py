"""Is the control box there, or the place for its twin free, and is the cell measured? Reads only; nothing moves."""

import datetime
import socket
from pathlib import Path

from calibration.bundle import age_days, read_bundle
from core.errors import RegraspError
from regrasp.doctor_check import Check

PORTS = (502, 30001, 30002, 30003)
"""Of the control box: commands, and reports at three rates."""
CONNECT_S = 2.0
"""How long a control box may take to accept a connection [s]."""
OLDEST_CALIBRATION_DAYS = 30
"""Cameras get bumped; measuring again takes minutes."""
IN_USE = "another twin runs there: stop it, or choose another address, e.g. --ip 127.0.0.3"
NOT_ALLOWED = (
    "ports below 1024 are not for this user: `sudo sysctl -w net.ipv4.ip_unprivileged_port_start=502` "
    "(lasts until the next start; /etc/sysctl.d keeps it)"
)


def check_twin_ports(ip: str, control_port: int) -> Check:
    """Checks that a twin could answer at `ip`, and its HTTP control on loopback."""
    places = [*((ip, port) for port in PORTS), ("127.0.0.1", control_port)]
    faults = {place: fault for place in places if (fault := _binding_fault(*place))}
    denied = any("ermission" in fault for fault in faults.values())
    listed = "; ".join(f"{host}:{port} {fault}" for (host, port), fault in faults.items())
    return Check(
        name="twin ports", ok=not faults, found=listed or f"{', '.join(map(str, PORTS))} free at {ip}",
        remedy=NOT_ALLOWED if denied else IN_USE,
    )  # fmt: skip


def check_box_ports(ip: str) -> Check:
    """Checks that the control box accepts connections."""
    faults = {port: fault for port in PORTS if (fault := _connecting_fault(ip, port))}
    return Check(
        name="box ports", ok=not faults,
        found="; ".join(f"{port} {fault}" for port, fault in faults.items()) or f"{ip} accepts connections",
        remedy="check power, cable and address; box and this machine must be in one subnet. Reports go to a few "
        "clients only: close UFACTORY Studio",
    )  # fmt: skip


def check_calibration(file: Path | None, today: datetime.date) -> Check:
    """Checks that the cell was measured, well, and not too long ago."""
    remedy = "measure the cell again and give --calibration FILE"
    if file is None:
        return Check(name="calibration", ok=False, found="none given", remedy=remedy)
    try:
        bundle = read_bundle(file)
    except RegraspError as error:
        return Check(name="calibration", ok=False, found=str(error), remedy=remedy)
    age = age_days(bundle, today)
    return Check(
        name="calibration", ok=0 <= age <= OLDEST_CALIBRATION_DAYS,
        found=f"{bundle.cell}, {age} days old, held-out error {bundle.held_out_error_px:.2f} px",
        remedy=f"{remedy}; it should be at most {OLDEST_CALIBRATION_DAYS} days old", required=age < 0,
    )  # fmt: skip


def _binding_fault(ip: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((ip, port))
        except OSError as error:
            return str(error.strerror or error)
    return ""


def _connecting_fault(ip: str, port: int) -> str:
    try:
        with socket.create_connection((ip, port), timeout=CONNECT_S):
            return ""
    except OSError as error:
        return str(error.strerror or error)
