"""Registers of common parameters and of details about errors (232 to 234).

Listed in `sim.twin.registers`. Parameters are kept and read back; nothing simulated depends on them. Details of errors
are not simulated: they answer "execution failed".
"""

from collections.abc import Mapping

from core.errors import ContractError
from sim.twin.desk import OK, Answer, Desk, Handler

FLOATS_OR_BYTES = frozenset({1, 6, 7, 12, 14, 26})
"""Keys whose values are floats or bytes; those of the others are 32-bit numbers, read in another byte order."""
INFO_SIZE: Mapping[int, int] = {1: 1, 2: 1, 50: 4, 101: 9, 102: 5, 103: 29, 104: 5, 105: 8, 106: 29, 107: 9}
"""Bytes of an answer of register 234, by key."""
KNOWN_INFO = frozenset({1, 2, 50})
"""Power over ethernet, identification running, seconds recorded: none, no, 0."""


def _put(desk: Desk, params: bytes) -> Answer:
    """232: key and value."""
    if len(params) < 2 or params[0] not in desk.drawer.common:
        raise ContractError(f"key and value are {params!r}; keys are {sorted(desk.drawer.common)}")
    key, value = params[0], params[1:]
    if len(value) > 64 or (key != 26 and len(value) % 4):
        raise ContractError(f"value of key {key} has {len(value)} bytes; whole 32-bit numbers are needed")
    desk.drawer.common[key] = value if key in FLOATS_OR_BYTES else _swapped(value)
    return OK


def _swapped(value: bytes) -> bytes:
    """Returns 32-bit numbers big-endian: they are written little-endian and read big-endian."""
    return b"".join(value[i : i + 4][::-1] for i in range(0, len(value), 4))


def _get(desk: Desk, params: bytes) -> Answer:
    """233: key."""
    value = desk.drawer.common.get(params[0]) if params else None
    return Answer(bytes(4), invalid=True) if value is None else Answer(value)


def _info(_desk: Desk, params: bytes) -> Answer:
    """234: key."""
    key = params[0] if params else 0
    return Answer(bytes(INFO_SIZE.get(key, 4)), invalid=key not in KNOWN_INFO)


PARAMETERS: Mapping[int, Handler] = {232: _put, 233: _get, 234: _info}
"""Handlers by function number."""
