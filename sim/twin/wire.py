"""Frames of the control port and the numbers inside them: byte orders and millimetres end here.

Called by `sim.twin.server` (frames) and by the register handlers (numbers). A request is
`tid u16 | prot u16 | len u16 | fun u8 | params`, a reply has a status byte after `fun`; `len` counts what follows it.
Header and 16-bit numbers are big-endian, floats little-endian.
Source: UFACTORY private protocol, as the xarm-python-sdk 1.18.4 speaks it.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

import numpy as np

from core.arrays import Floats
from core.errors import ContractError

MODBUS, KEEP_ALIVE, PRIVATE, SUPERVISED = 0, 1, 2, 3
"""Protocol numbers: standard Modbus TCP, heartbeat, private, private with supervision."""
FEEDBACK = 0xFF
"""Function number of a frame that the box sends unasked."""

HEAD = Struct(">HHH")
REPLY = Struct(">HHHBB")
FEEDBACK_FRAME = Struct(">HHHBBBBHBQ")
U16, S16X6, S32, S32X6 = Struct(">H"), Struct(">6h"), Struct(">i"), Struct("<6i")
F1, F3, F4, F6, F7, F9, F14 = (Struct(f"<{n}f") for n in (1, 3, 4, 6, 7, 9, 14))


class Frame(NamedTuple):
    """One request."""

    tid: int
    prot: int
    fun: int
    """Function number; the unit number in standard Modbus."""
    params: bytes


class OutOfStep(ContractError):
    """The bytes are not frames of this protocol."""


def frames(buffer: bytearray) -> Iterator[Frame]:
    """Takes all whole requests off the front of `buffer`; what is left is the beginning of the next.

    Raises:
        OutOfStep: The stream holds something else; the connection is of no more use.
    """
    while len(buffer) >= HEAD.size:
        tid, prot, length = HEAD.unpack_from(buffer)
        if prot > SUPERVISED:
            raise OutOfStep(f"protocol number is {prot}; allowed 0 to {SUPERVISED}")
        end = HEAD.size + length
        if len(buffer) < end:
            return
        body = bytes(buffer[HEAD.size : end])
        del buffer[:end]
        if body:
            yield Frame(tid, prot, body[0], body[1:])


def reply(frame: Frame, status: int, payload: bytes) -> bytes:
    """Returns the bytes that answer `frame`; they echo its tid, protocol and function."""
    return REPLY.pack(frame.tid, frame.prot, 2 + len(payload), frame.fun, status) + payload


def modbus_refusal(frame: Frame) -> bytes:
    """Returns the standard Modbus answer "function not supported"."""
    function = frame.params[0] if frame.params else 0
    return HEAD.pack(frame.tid, MODBUS, 3) + bytes([frame.fun, function | 0x80, 1])


LARGEST = 1e6
"""Above this no length, angle or speed of an arm is meant, in whatever unit of the wire."""


def numbers(name: str, values: Sequence[float]) -> Floats:
    """Returns finite numbers as an array.

    Raises:
        ContractError: One of them is NaN, infinite or absurdly large.
    """
    if not all(abs(value) <= LARGEST for value in values):
        raise ContractError(f"{name} is {tuple(values)}; allowed are numbers up to {LARGEST:g}")
    return np.array(values, dtype=np.float64)


def pose_from_wire(values: Sequence[float]) -> Floats:
    """Returns a pose (6,) [m, rad] of six wire numbers [mm, rad]; open ones stay infinite."""
    x, y, z, *turn = values
    return np.array([x * 1e-3, y * 1e-3, z * 1e-3, *turn], dtype=np.float64)


def pose_to_wire(pose: Floats) -> bytes:
    """Returns the 24 bytes [mm, rad] of a pose (6,) [m, rad]."""
    x, y, z, roll, pitch, yaw = pose.tolist()
    return F6.pack(x * 1e3, y * 1e3, z * 1e3, roll, pitch, yaw)


def clipped_s16(value: float) -> int:
    """Returns a number as the nearest 16-bit integer."""
    return int(min(max(round(value), -32768), 32767))
