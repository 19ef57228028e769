"""What a control box says of itself: identity, error, safety settings. Asked by the SDK; nothing is set or moved."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO

from bridge.xarm.config import FIRST_FIRMWARE, BoxSafety, XArmConfig
from bridge.xarm.faults import fault
from bridge.xarm.link import Line
from bridge.xarm.safety import describe_safety, read_safety
from core.errors import DeviceError
from regrasp.doctor_check import Check

REPORT_S = 3.0
"""Longest wait for a report, which comes five times a second [s]."""
AXES = 7


def arm_checks(ip: str) -> Sequence[Check]:
    """Returns what the control box at `ip` says; a single finding when it cannot be asked."""
    config = XArmConfig(ip=ip, readonly=True, connect_attempts=1)
    try:
        with redirect_stdout(StringIO()):  # the SDK prints what it finds as well
            with Line(config, reports="rich") as line:
                state, code = line.fresh(REPORT_S).state, line.error_code()
                firmware = tuple(int(part) for part in line.api.version_number[:3])
                serial = line.asked("read the serial number", line.api.get_robot_sn)
                identity = check_identity(firmware, int(line.api.axis), str(serial))
            safety = check_safety(read_safety(config))
        return (identity, check_state(state, code), safety)
    except DeviceError as error:
        return (Check(name="arm", ok=False, found=str(error), remedy=error.remedy),)


def check_identity(firmware: tuple[int, ...], axes: int, serial: str) -> Check:
    """Checks that this is an arm and a firmware that are spoken to."""
    known = firmware >= FIRST_FIRMWARE
    oldest = ".".join(map(str, FIRST_FIRMWARE))
    return Check(
        name="arm", ok=known and axes == AXES,
        found=f"{axes} axes, firmware {'.'.join(map(str, firmware))}, serial {serial}",
        remedy=f"this project drives an xArm 7 with firmware {oldest} or newer; UFACTORY Studio updates it",
    )  # fmt: skip


def check_state(state: int, code: int) -> Check:
    """Checks that the controller has no error; its state is shown."""
    if not code:
        return Check(name="arm state", ok=True, found=f"no error, state {state}", remedy="")
    known = fault(code)
    return Check(
        name="arm state", ok=False, found=f"error {code}: {known.meaning} (clearing: {known.clearing}), state {state}",
        remedy=known.remedy,
    )  # fmt: skip


def check_safety(read: BoxSafety) -> Check:
    """Compares the box's own safety settings with ours, which the arm node sets and proves before it moves."""
    wrong = [difference.partition(" is ")[0] for difference in BoxSafety().differences(read)]
    told = describe_safety(read).items()
    return Check(
        name="box safety", ok=not wrong, found="; ".join(f"{key} {value}" for key, value in told),
        remedy=f"{', '.join(wrong)} are not ours; the arm node sets them, and reads them back, before it moves",
        required=False,
    )  # fmt: skip
