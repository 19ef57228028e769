"""Registers of tool, load, limits and on-box safety (31 to 40, 47 to 53, 58 to 60, 66 to 68, 70, 73 to 80).

Listed in `sim.twin.registers`. Those in `RESETS` abort motion on the real box; their status byte tells how the box was
before. Source: UFACTORY user manual, "system reset".
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from struct import Struct

import numpy as np

from core.errors import ContractError
from core.kinematics import LINK_POS_M, LINK_ROLL_RAD
from sim.twin.desk import INVALID, OK, Answer, Desk, Handler
from sim.twin.face import Settings
from sim.twin.wire import (
    F1,
    F3,
    F4,
    F6,
    F14,
    S16X6,
    S32X6,
    clipped_s16,
    numbers,
    pose_from_wire,
)

_F2, _F28 = Struct("<2f"), Struct("<28f")
_MAX = 1e9
MM = 1e-3
RESETS = frozenset({35, 36, 37, 38, 51, 73})
"""Functions after which the real box is no longer ready."""

Change = Callable[[Settings, bytes], Settings]


def _number(params: bytes) -> float:
    (value,) = F1.unpack_from(params)
    if not 0 < value < _MAX:
        raise ContractError(f"value is {value}; it must be above 0 and below {_MAX:g}")
    return float(value)


def _level(params: bytes, low: int, high: int) -> int:
    if not params or not low <= params[0] <= high:
        raise ContractError(f"level is {params[:1]!r}; allowed {low} to {high}")
    return params[0]


def _tcp_offset(settings: Settings, params: bytes) -> Settings:
    values = numbers("tool offset [mm, rad]", F6.unpack_from(params))
    return replace(settings, tcp_offset=pose_from_wire(values.tolist()))


def _load(settings: Settings, params: bytes) -> Settings:
    values = numbers("load [kg, mm]", F4.unpack_from(params))
    if values[0] < 0:
        raise ContractError(f"load is {values[0]} kg; it must not be below 0")
    return replace(settings, load_kg=float(values[0]), load_com=values[1:] * MM)


def _gravity(settings: Settings, params: bytes) -> Settings:
    return replace(settings, gravity=numbers("gravity", F3.unpack_from(params)))


def _world_offset(settings: Settings, params: bytes) -> Settings:
    values = numbers("world offset [mm, rad]", F6.unpack_from(params))
    return replace(settings, world_offset=pose_from_wire(values.tolist()))


def _boundary(settings: Settings, params: bytes) -> Settings:
    """52: x max, x min, y max, y min, z max, z min, whole millimetres."""
    edges = np.array(S32X6.unpack_from(params), dtype=np.float64).reshape(3, 2) * MM
    high, low = edges.max(axis=1), edges.min(axis=1)
    return replace(settings, fence_low=low, fence_high=high)


def _joint_range(settings: Settings, params: bytes) -> Settings:
    values = numbers("joint range [rad]", F14.unpack_from(params)).reshape(7, 2)
    return replace(settings, reduced_joint_range=values)


CHANGES: Mapping[int, Change] = {
    31: lambda s, p: replace(s, tcp_jerk=_number(p) * MM),
    32: lambda s, p: replace(s, tcp_acceleration=_number(p) * MM),
    33: lambda s, p: replace(s, joint_jerk=_number(p)),
    34: lambda s, p: replace(s, joint_acceleration=_number(p)),
    35: _tcp_offset,
    36: _load,
    37: lambda s, p: replace(s, collision_sensitivity=_level(p, 0, 5)),
    38: lambda s, p: replace(s, teach_sensitivity=_level(p, 1, 5)),
    47: lambda s, p: replace(s, reduced_tcp_speed=_number(p) * MM),
    48: lambda s, p: replace(s, reduced_joint_speed=_number(p)),
    50: lambda s, p: replace(s, reduced=bool(_level(p, 0, 1))),
    51: _gravity,
    52: _boundary,
    58: _joint_range,
    59: lambda s, p: replace(s, fence=bool(_level(p, 0, 1))),
    60: lambda s, p: replace(s, collision_rebound=bool(_level(p, 0, 1))),
    66: lambda s, p: replace(s, allow_approximate=bool(_level(p, 0, 1))),
    73: _world_offset,
    77: lambda s, p: replace(s, self_collision=bool(_level(p, 0, 1))),
    79: lambda s, p: replace(s, simulation=bool(_level(p, 0, 1))),
    80: lambda s, p: replace(s, continuous_cartesian=bool(_level(p, 0, 1))),
    201: lambda s, p: replace(s, ft_enabled=bool(_level(p, 0, 1))),
}
"""How each function changes the settings."""


def _changing(fun: int, change: Change) -> Handler:
    def handle(desk: Desk, params: bytes) -> Answer:
        changed = change(desk.box.now().settings, params)
        desk.box.configure(changed, resets=fun in RESETS)
        return OK

    return handle


def _factory(desk: Desk, _params: bytes) -> Answer:
    desk.box.configure(desk.factory, resets=True)
    return OK


def _saved(_desk: Desk, _params: bytes) -> Answer:
    return OK  # settings of the twin live as long as its process; there is nothing to write


def _reduced(desk: Desk, _params: bytes) -> Answer:
    return Answer(bytes([desk.box.now().settings.reduced]))


def boundary_mm(settings: Settings) -> tuple[int, ...]:
    """Returns x max, x min, y max, y min, z max, z min in whole millimetres, inside 16 bits."""
    edges = zip(settings.fence_high.tolist(), settings.fence_low.tolist(), strict=True)
    return tuple(clipped_s16(1e3 * value) for pair in edges for value in pair)


def _reduced_states(desk: Desk, _params: bytes) -> Answer:
    """53: 79 bytes."""
    s = desk.box.now().settings
    return Answer(
        bytes([s.reduced])
        + S16X6.pack(*boundary_mm(s))
        + _F2.pack(s.reduced_tcp_speed / MM, s.reduced_joint_speed)
        + F14.pack(*s.reduced_joint_range.ravel().tolist())
        + bytes([s.fence, s.collision_rebound])
    )


def _dh(_desk: Desk, _params: bytes) -> Answer:
    """67: offset, d, alpha, a of each joint, modified Denavit-Hartenberg [rad, mm]."""
    rows = []
    for pos, roll in zip(LINK_POS_M, LINK_ROLL_RAD, strict=True):
        along = float(pos[2] * math.cos(roll) - pos[1] * math.sin(roll))
        rows += [0.0, along / MM, float(roll), float(pos[0]) / MM]
    return Answer(_F28.pack(*rows))


def _set_dh(_desk: Desk, _params: bytes) -> Answer:
    return Answer(b"\0", invalid=True)  # the simulated arm's links do not change


def _report_torque(_desk: Desk, params: bytes) -> Answer:
    return OK if _level(params, 0, 1) == 0 else INVALID  # motor currents are not simulated


def _count_reset(desk: Desk, _params: bytes) -> Answer:
    desk.drawer.counter = 0
    return OK


def _count_up(desk: Desk, _params: bytes) -> Answer:
    desk.drawer.counter = (desk.drawer.counter + 1) & 0xFFFFFFFF
    return OK


def _tool_model(desk: Desk, params: bytes) -> Answer:
    """78: up to six floats, then the kind of tool."""
    if not params or len(params) % 4 != 1 or len(params) > 25:
        raise ContractError(f"tool model has {len(params)} bytes; up to six floats and one byte are needed")
    desk.drawer.tool_model = params[:-1].ljust(24, b"\0")
    desk.box.configure(replace(desk.box.now().settings, tool_model=params[-1]), resets=False)
    return OK


SETTINGS: Mapping[int, Handler] = {
    **{fun: _changing(fun, change) for fun, change in CHANGES.items()},
    39: _factory, 40: _saved, 49: _reduced, 53: _reduced_states, 67: _dh, 68: _set_dh, 70: _report_torque,
    74: _count_reset, 75: _count_up, 78: _tool_model,
}  # fmt: skip
"""Handlers by function number."""
