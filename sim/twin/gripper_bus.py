"""The gripper at the end of the arm's RS485 line: Modbus RTU frames without checksum, tunnelled by the box.

Called by `sim.twin.registers_tool`. Positions are counted 0 (closed) to 850 (open); the stroke is 84 mm.
Source: UFACTORY xArm Gripper manual, register table.
"""

from struct import Struct

from sim.twin.desk import BAUD_2M, Desk
from sim.twin.face import BoxState

SLAVE = 8
TOOL_HOST, BOX_HOST = 9, 11
STROKE_M, OPEN_COUNT = 0.084, 850
FIRMWARE = (3, 4, 5)
"""From 3.4.3 on clients wait by the status register."""
STARTING_NS = 200_000_000
"""How long after a new target the status says "moving" whatever happens; clients wait to see it once [ns]."""

STATUS, ERROR, ENABLE, MODE, CLEAR, SPEED, TARGET, POSITION = 0x0, 0xF, 0x100, 0x101, 0x109, 0x303, 0x700, 0x702
VERSION = 0x0801
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE = 1, 2, 3
_READ, _WRITE = 3, 16
_HEAD, _S32 = Struct(">BBHH"), Struct(">i")
_LINE_FAULTS = frozenset({19, 28})
"""Errors of the box under which the gripper does not answer."""


def answers(desk: Desk) -> bool:
    """Whether the gripper hears the box: right baud rate, no fault of the line."""
    return desk.drawer.baud[TOOL_HOST] == BAUD_2M and desk.box.now().error not in _LINE_FAULTS


def exchange(desk: Desk, request: bytes) -> bytes:
    """Returns the gripper's answer to a Modbus RTU request, "" when nobody answers; both without checksum."""
    if len(request) < 2 or request[0] != SLAVE or not answers(desk):
        return b""
    function = request[1]
    if len(request) < _HEAD.size:
        return bytes([SLAVE, function | 0x80, _ILLEGAL_VALUE])
    _, _, address, count = _HEAD.unpack_from(request)
    if function == _READ:
        return _read(desk, address, count)
    if function == _WRITE:
        return _write(desk, address, count, request[7:])
    return bytes([SLAVE, function | 0x80, _ILLEGAL_FUNCTION])


def _read(desk: Desk, address: int, count: int) -> bytes:
    data = registers(desk, address, count)
    if data is None:
        return bytes([SLAVE, _READ | 0x80, _ILLEGAL_ADDRESS])
    return bytes([SLAVE, _READ, len(data)]) + data


def _write(desk: Desk, address: int, count: int, data: bytes) -> bytes:
    if len(data) != 2 * count or count not in (1, 2):
        return bytes([SLAVE, _WRITE | 0x80, _ILLEGAL_VALUE])
    value = int.from_bytes(data, "big", signed=count == 2)
    if not put(desk, address, value):
        return bytes([SLAVE, _WRITE | 0x80, _ILLEGAL_ADDRESS])
    return _HEAD.pack(SLAVE, _WRITE, address, count)


def registers(desk: Desk, address: int, count: int) -> bytes | None:
    """Returns the bytes of `count` registers from `address`, None where the gripper has none."""
    now = desk.box.now()
    if (address, count) == (POSITION, 2):
        return _S32.pack(count_from_opening(now.gripper_opening_m))
    if count != 1:
        return None
    known = {STATUS: _status(desk, now), ERROR: now.gripper_error}
    known.update({VERSION + i: part for i, part in enumerate(FIRMWARE)})
    return known[address].to_bytes(2, "big") if address in known else None


def put(desk: Desk, address: int, value: int) -> bool:
    """Writes a register; False where the gripper has none, or none that the twin simulates (its zero point)."""
    if address == ENABLE:
        desk.box.gripper_enable(bool(value))
    elif address == SPEED:
        desk.box.gripper_speed(float(value))
    elif address == CLEAR:
        desk.box.gripper_clear()
    elif address == TARGET:
        desk.drawer.gripper_told_ns = desk.box.now().t_ns
        desk.box.gripper_move(opening_from_count(value))
    else:
        return address == MODE and value == 0
    return True


def opening_from_count(count: int) -> float:
    """Returns the opening between the pads [m] of a position count."""
    return min(max(count / OPEN_COUNT, 0.0), 1.0) * STROKE_M


def count_from_opening(opening_m: float) -> int:
    """Returns the position count of an opening between the pads [m]."""
    return round(opening_m / STROKE_M * OPEN_COUNT)


def _status(desk: Desk, now: BoxState) -> int:
    told = desk.drawer.gripper_told_ns
    if now.gripper_moving or (told and now.t_ns - told < STARTING_NS):
        return 1
    return 2 if now.gripper_holds else 0
