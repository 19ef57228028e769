"""Registers of identity, state and mode (1 to 19, 69).

Listed in `sim.twin.registers`.
"""

from collections.abc import Mapping

from core.errors import ContractError
from sim.twin.desk import INVALID, OK, Answer, Desk, Handler
from sim.twin.wire import U16


def _version(desk: Desk, _params: bytes) -> Answer:
    return Answer(desk.identity.version_text.encode().ljust(40, b"\0"))


def _serials(desk: Desk, _params: bytes) -> Answer:
    return Answer(f"{desk.identity.arm_serial}\0{desk.identity.box_serial}\0".encode().ljust(40, b"\0"))


def _zero(_desk: Desk, _params: bytes) -> Answer:
    return Answer(b"\0")


def _approximate(desk: Desk, _params: bytes) -> Answer:
    return Answer(bytes([desk.box.now().settings.allow_approximate]))


def _system(_desk: Desk, _params: bytes) -> Answer:
    return INVALID  # the twin is switched off and on by its HTTP control, not by a client


def _enable(desk: Desk, params: bytes) -> Answer:
    joint, on = _two(params)
    if not 1 <= joint <= 8:
        raise ContractError(f"joint is {joint}; allowed 1 to 7, or 8 for all")
    desk.box.enable(joint, bool(on))
    return OK


def _set_state(desk: Desk, params: bytes) -> Answer:
    desk.box.set_state(_one(params))
    return OK


def _state(desk: Desk, _params: bytes) -> Answer:
    return Answer(bytes([desk.box.now().state]))


def _queued(desk: Desk, _params: bytes) -> Answer:
    return Answer(U16.pack(min(desk.box.now().queued, 0xFFFF)))


def _faults(desk: Desk, _params: bytes) -> Answer:
    now = desk.box.now()
    return Answer(bytes([now.error, now.warning]))


def _clear_error(desk: Desk, _params: bytes) -> Answer:
    desk.box.clear_error()
    return OK


def _clear_warning(desk: Desk, _params: bytes) -> Answer:
    desk.box.clear_warning()
    return OK


def _set_mode(desk: Desk, params: bytes) -> Answer:
    mode = _one(params)
    if not desk.identity.has_mode(mode):
        raise ContractError(f"mode is {mode}; firmware {desk.identity.name} does not have it")
    desk.box.set_mode(mode)
    return OK


def _moving(desk: Desk, _params: bytes) -> Answer:
    return Answer(bytes([desk.box.now().state == 1]))


def _one(params: bytes) -> int:
    if not params:
        raise ContractError("one byte is missing")
    return params[0]


def _two(params: bytes) -> tuple[int, int]:
    if len(params) < 2:
        raise ContractError(f"got {len(params)} bytes; two are needed")
    return params[0], params[1]


STATE: Mapping[int, Handler] = {
    1: _version, 2: _serials, 3: _zero, 5: _zero, 7: _approximate, 10: _system, 11: _enable, 12: _set_state,
    13: _state, 14: _queued, 15: _faults, 16: _clear_error, 17: _clear_warning, 18: _enable, 19: _set_mode, 69: _moving,
}  # fmt: skip
"""Handlers by function number."""
