"""Registers of servos, tool board, gripper and digital lines (101 to 107, 123 to 147, 240, 241).

Listed in `sim.twin.registers`. Servo parameters, delayed and position-triggered outputs are not simulated: reads of
servo parameters give 0, the others answer "execution failed". Inputs are not connected and read 0.
"""

from collections.abc import Mapping
from struct import Struct

from core.errors import ContractError
from sim.twin import gripper_bus
from sim.twin.desk import INVALID, OK, Answer, Desk, Handler
from sim.twin.face import BoxState
from sim.twin.wire import S32, U16

_READ, _WRITE = Struct(">BH"), Struct("<f")
_BAUD_READ, _BAUD_WRITE, _REBOOT = 0x0A0B, 0x1A0B, 0x0607
_TOOL_OUTPUT = 0x0A15
_SERVO_FAULT = 11
"""Code of a servo that failed, over-current; the state beside it is 3."""


def servo_codes(now: BoxState) -> bytes:
    """Returns state and code of servos 1 to 7 and of the tool, 16 bytes."""
    codes = bytearray(16)
    if 11 <= now.error <= 17:
        codes[2 * (now.error - 11) : 2 * (now.error - 11) + 2] = bytes([3, _SERVO_FAULT])
    if now.gripper_error:
        codes[14:] = bytes([3, now.gripper_error & 0xFF])
    return bytes(codes)


def _servo_codes(desk: Desk, _params: bytes) -> Answer:
    return Answer(servo_codes(desk.box.now()))


def _servo_read(_desk: Desk, params: bytes) -> Answer:
    _READ.unpack_from(params)
    return Answer(S32.pack(0))


def _failed(_desk: Desk, _params: bytes) -> Answer:
    return INVALID


def _rtu(desk: Desk, params: bytes) -> Answer:
    """124: host, then a Modbus RTU request; only the tool's line has anybody on it."""
    if not params:
        raise ContractError("the host's number is missing")
    answer = gripper_bus.exchange(desk, params[1:]) if params[0] == gripper_bus.TOOL_HOST else b""
    return Answer(params[:1] + answer)


def _tool_error(desk: Desk, _params: bytes) -> Answer:
    return Answer(bytes([0, desk.box.now().gripper_error & 0xFF]))


def _read16(desk: Desk, params: bytes) -> Answer:
    """128: host, address."""
    host, address = _READ.unpack_from(params)
    if host == gripper_bus.SLAVE:
        return _old_read(desk, address, 1)
    if address == _BAUD_READ and host in desk.drawer.baud:
        return Answer(S32.pack(desk.drawer.baud[host]))
    return Answer(S32.pack(0))


def _read32(desk: Desk, params: bytes) -> Answer:
    host, address = _READ.unpack_from(params)
    return _old_read(desk, address, 2) if host == gripper_bus.SLAVE else Answer(S32.pack(0))


def _old_read(desk: Desk, address: int, count: int) -> Answer:
    data = gripper_bus.registers(desk, address, count) if gripper_bus.answers(desk) else None
    return Answer(bytes(4), invalid=True) if data is None else Answer(data.rjust(4, b"\0"))


def _write(desk: Desk, params: bytes) -> Answer:
    """127 and 129: host, address, value as a float."""
    host, address = _READ.unpack_from(params)
    (value,) = _WRITE.unpack_from(params, _READ.size)
    if not abs(value) < 2**31:
        raise ContractError(f"value is {value}; allowed are 32-bit integers")
    if host == gripper_bus.SLAVE:
        return OK if gripper_bus.answers(desk) and gripper_bus.put(desk, address, int(value)) else INVALID
    if address == _BAUD_WRITE and host in desk.drawer.baud:
        desk.drawer.baud[host] = int(value)
    elif address == _TOOL_OUTPUT:
        desk.drawer.tool_outputs = _masked(desk.drawer.tool_outputs, int(value) & 0xFFFF)
    elif address != _REBOOT:
        return INVALID
    return OK


def _masked(old: int, word: int) -> int:
    mask, bits = word >> 8, word & 0xFF
    return (old & ~mask) | (bits & mask)


def _inputs(_desk: Desk, _params: bytes) -> Answer:
    return Answer(U16.pack(0))


def _set_outputs(desk: Desk, params: bytes) -> Answer:
    """134: mask and bits of outputs 0 to 7, then of 8 to 15 when given."""
    (word,) = U16.unpack_from(params)
    low, high = desk.drawer.box_outputs & 0xFF, desk.drawer.box_outputs >> 8
    low = _masked(low, word)
    if len(params) >= 4:
        high = _masked(high, *U16.unpack_from(params, 2))
    desk.drawer.box_outputs = high << 8 | low
    return OK


def _set_analog(index: int) -> Handler:
    def handle(desk: Desk, params: bytes) -> Answer:
        (value,) = U16.unpack_from(params)
        desk.drawer.box_analog[index] = min(value, 4095)
        return OK

    return handle


def _set_function(offset: int) -> Handler:
    def handle(desk: Desk, params: bytes) -> Answer:
        if len(params) < 2 or params[0] > 15:
            raise ContractError(f"line and function are {params!r}; lines are 0 to 15")
        line = params[0] if params[0] < 8 else params[0] + 8
        desk.drawer.box_io_functions[offset + line] = params[1]
        return OK

    return handle


def lines(desk: Desk) -> bytes:
    """Returns the 50 bytes that tell all lines of the control box: state, error, 8 words, 32 functions."""
    drawer = desk.drawer
    words = (0, 0, 0, drawer.box_outputs, 0, 0, *drawer.box_analog)
    return bytes(2) + b"".join(U16.pack(w) for w in words) + bytes(drawer.box_io_functions)


def _lines(desk: Desk, _params: bytes) -> Answer:
    return Answer(lines(desk))


def _reset_outputs(desk: Desk, params: bytes) -> Answer:
    if len(params) < 2 or params[0] > 1:
        raise ContractError(f"kind and switch are {params!r}; kinds are 0 and 1")
    desk.drawer.reset_outputs[params[0]] = bool(params[1])
    return OK


def _bytes(payload: bytes) -> Handler:
    def handle(_desk: Desk, _params: bytes) -> Answer:
        return Answer(payload)

    return handle


def _timeout(key: int) -> Handler:
    def handle(desk: Desk, params: bytes) -> Answer:
        (milliseconds,) = U16.unpack_from(params)
        desk.drawer.common[key] = S32.pack(milliseconds)
        return OK

    return handle


TOOL: Mapping[int, Handler] = {
    101: _failed, 102: _servo_read, 103: _failed, 104: _servo_read, 105: _failed, 106: _servo_codes, 107: _servo_read,
    123: _timeout(4), 124: _rtu, 125: _tool_error, 127: _write, 128: _read16, 129: _write, 130: _read32,
    131: _inputs, 132: _inputs, 133: _inputs, 134: _set_outputs, 135: _set_analog(0), 136: _set_analog(1),
    137: _set_function(0), 138: _set_function(8), 139: _lines, 140: _bytes(bytes(6)), 141: _bytes(bytes(2)),
    142: _failed, 143: _failed, 144: _failed, 145: _failed, 146: _reset_outputs, 147: _failed,
    240: _timeout(5), 241: _rtu,
}  # fmt: skip
"""Handlers by function number."""
