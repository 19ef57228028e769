"""What register handlers work with: the box, its identity, and the drawer of values that only the wire remembers.

Made by `sim.twin.server`, given to every handler in `sim.twin.registers_*`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sim.twin.face import Box, Settings
from sim.twin.identity import Identity

BAUD_2M = 11
"""Index of 2 Mbaud, the gripper's, in the list of baud rates."""
COMMON_DEFAULTS: Mapping[int, bytes] = MappingProxyType(
    {1: b"\x9a\x99\x99\x3f", **{k: bytes(4) for k in (2, 3, 4, 5, 11, 13, 24, 25)}, 6: bytes(24), 7: bytes(56),
     12: bytes(24), 14: bytes(24), 15: bytes(8), 16: bytes(8), 26: bytes(4)}
)  # fmt: skip
"""Common parameters by key; key 1 is the linear speed limit factor, 1.2 as fp32, the rest are zero until set."""


@dataclass(slots=True, kw_only=True)
class Drawer:
    """Values that clients write and read back, with nothing simulated behind them."""

    counter: int = 0
    baud: dict[int, int] = field(default_factory=lambda: {9: BAUD_2M, 11: BAUD_2M})
    """Index of the baud rate by RS485 host: 9 tool, 11 box."""
    box_outputs: int = 0
    """Digital outputs of the control box, bit by output."""
    box_analog: list[int] = field(default_factory=lambda: [0, 0])
    """Analog outputs of the control box, 0 to 4095 for 0 to 10 V."""
    box_io_functions: bytearray = field(default_factory=lambda: bytearray(32))
    """8 inputs, 8 outputs, 8 more inputs, 8 more outputs."""
    tool_outputs: int = 0
    reset_outputs: bytearray = field(default_factory=lambda: bytearray(2))
    """Whether outputs of box and tool are reset by a stop."""
    tool_model: bytes = bytes(24)
    """Parameters of the collision model of the tool, six fp32."""
    force_mode: int = 0
    """0 off, 1 admittance, 2 force control; kept, not simulated."""
    admittance_axes: bytes = bytes(7)
    admittance: bytes = bytes(72)
    force_axes: bytes = bytes(55)
    force_pid: bytes = bytes(96)
    common: dict[int, bytes] = field(default_factory=lambda: dict(COMMON_DEFAULTS))
    gripper_told_ns: int = 0
    """When the gripper was last given a target, on the box's clock."""


@dataclass(slots=True, kw_only=True)
class Desk:
    """All that a handler may touch."""

    box: Box
    identity: Identity
    factory: Settings
    """Settings when the box was switched on."""
    drawer: Drawer = field(default_factory=Drawer)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers, beside the status byte."""

    payload: bytes = b""
    invalid: bool = False
    """The result is of no use: status bit `NO_USE`."""
    task: int = 0
    """Number of the queued command, 0 when none."""


NO_USE = 0x08
"""Status bit: the result is of no use."""
OK, INVALID = Answer(), Answer(invalid=True)
Handler = Callable[[Desk, bytes], Answer]


def status(box: Box) -> int:
    """Returns the status byte: 0x40 error, 0x20 warning, 0x10 cannot move."""
    error, warning, can_move = box.standing()
    return (0x40 if error else 0) | (0x20 if warning else 0) | (0 if can_move else 0x10)
