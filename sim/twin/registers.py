"""All functions of the control port: which handler answers which number.

Called by `sim.twin.server`. Functions 253 and 254 (feedback) belong to a connection and are the server's.
"""

from collections.abc import Mapping
from struct import error as too_short

from core.errors import ContractError
from sim.twin.desk import NO_USE, Answer, Desk, Handler, status
from sim.twin.registers_force import FORCE
from sim.twin.registers_kinematics import KINEMATICS
from sim.twin.registers_motion import MOTION
from sim.twin.registers_parameters import PARAMETERS
from sim.twin.registers_settings import RESETS, SETTINGS
from sim.twin.registers_state import STATE
from sim.twin.registers_tool import TOOL

REGISTERS: Mapping[int, Handler] = {**STATE, **MOTION, **SETTINGS, **KINEMATICS, **TOOL, **FORCE, **PARAMETERS}
"""Handlers by function number."""
BAD_PARAMETER, UNKNOWN = 12, 13
"""Warnings of the box."""


def answer(desk: Desk, fun: int, params: bytes) -> tuple[int, Answer]:
    """Answers one request.

    Args:
        desk: The box and what the wire remembers.
        fun: Function number.
        params: What follows it.

    Returns:
        The status byte and the answer. A function that makes the box not ready answers with the status from before.
    """
    handler = REGISTERS.get(fun)
    if handler is None or not desk.identity.knows(fun):
        return _refused(desk, UNKNOWN)
    before = status(desk.box)
    try:
        result = handler(desk, params)
    except (ContractError, too_short):
        return _refused(desk, BAD_PARAMETER)
    code = before if fun in RESETS else status(desk.box)
    return code | (NO_USE if result.invalid else 0), result


def _refused(desk: Desk, warning: int) -> tuple[int, Answer]:
    """Zeros go with it, as a client that reads numbers needs them to see the status."""
    desk.box.warn(warning)
    return status(desk.box) | NO_USE, Answer(bytes(28))
