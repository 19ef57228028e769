"""Registers of the force sensor (150 and 200 to 212).

Listed in `sim.twin.registers`. The sensor reads the simulated external wrench while it is switched on; admittance and
force control are kept and read back but move nothing; identification of loads answers "execution failed".
"""

from collections.abc import Mapping

from core.errors import ContractError
from sim.twin.desk import OK, Answer, Desk, Handler
from sim.twin.face import BoxState
from sim.twin.wire import F6, U16

_RATE_HZ = 200


def wrench(now: BoxState) -> bytes:
    """Returns the 24 bytes of the sensor [N, N m], zero while it is off."""
    return F6.pack(*now.wrench.tolist()) if now.settings.ft_enabled else bytes(24)


def _wrench(desk: Desk, _params: bytes) -> Answer:
    return Answer(wrench(desk.box.now()))


def _set_mode(desk: Desk, params: bytes) -> Answer:
    if not params or params[0] > 2:
        raise ContractError(f"force mode is {params[:1]!r}; allowed 0 to 2")
    desk.drawer.force_mode = params[0]
    return OK


def _mode(desk: Desk, _params: bytes) -> Answer:
    return Answer(bytes([desk.drawer.force_mode]))


def _identify(_desk: Desk, params: bytes) -> Answer:
    return Answer(bytes(40 if params[:1] == b"\0" else 16), invalid=True)


def _failed(_desk: Desk, _params: bytes) -> Answer:
    return Answer(invalid=True)  # a simulated sensor has no load or zero to set


def _admittance(desk: Desk, params: bytes) -> Answer:
    desk.drawer.admittance_axes = _exactly(params, 79)[:7]
    desk.drawer.admittance = params[7:79]
    return OK


def _admittance_only(desk: Desk, params: bytes) -> Answer:
    desk.drawer.admittance = _exactly(params, 72)
    return OK


def _admittance_axes(desk: Desk, params: bytes) -> Answer:
    desk.drawer.admittance_axes = _exactly(params, 7)
    return OK


def _force_pid(desk: Desk, params: bytes) -> Answer:
    desk.drawer.force_pid = _exactly(params, 96)
    return OK


def _force_axes(desk: Desk, params: bytes) -> Answer:
    desk.drawer.force_axes = _exactly(params, 55)
    return OK


def _config(desk: Desk, _params: bytes) -> Answer:
    """212: 280 bytes; the sensor has no mass, no offset."""
    drawer, on = desk.drawer, desk.box.now().settings.ft_enabled
    head = bytes([drawer.force_mode, on, 0, 0]) + U16.pack(_RATE_HZ) + bytes(44)
    return Answer(head + drawer.admittance_axes + drawer.admittance + drawer.force_axes + drawer.force_pid)


def _exactly(params: bytes, size: int) -> bytes:
    if len(params) < size:
        raise ContractError(f"got {len(params)} bytes; {size} are needed")
    return params[:size]


FORCE: Mapping[int, Handler] = {
    150: _wrench, 200: _wrench, 202: _set_mode, 203: _mode, 204: _identify, 205: _failed, 206: _failed,
    207: _admittance, 208: _force_pid, 209: _force_axes, 210: _admittance_only, 211: _admittance_axes, 212: _config,
}  # fmt: skip
"""Handlers by function number; 201, the switch, is one of the settings."""
