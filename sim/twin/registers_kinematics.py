"""Registers that measure or compute poses and joints (41 to 46, 55, 76, 91).

Listed in `sim.twin.registers`.
"""

from collections.abc import Mapping
from struct import Struct

import numpy as np

from core.arrays import Floats
from core.errors import ContractError
from sim.twin.attitude import rotvec_from_rpy, rpy_from_rotvec, seen_from
from sim.twin.desk import Answer, Desk, Handler
from sim.twin.wire import F6, F7, numbers, pose_from_wire, pose_to_wire

_F12 = Struct("<12f")


def _pose(desk: Desk, _params: bytes) -> Answer:
    return Answer(pose_to_wire(desk.box.now().pose))


def _pose_aa(desk: Desk, _params: bytes) -> Answer:
    return Answer(pose_to_wire(_with_rotvec(desk.box.now().pose)))


def _joints(desk: Desk, params: bytes) -> Answer:
    """42: positions, then velocities and efforts as far as asked for."""
    now = desk.box.now()
    if not params:
        return Answer(F7.pack(*now.joint_pos.tolist()))
    blocks = params[0] & 0x0F
    if not 1 <= blocks <= 3 or (params[0] > 0x0F and not desk.identity.joint_state_flags):
        raise ContractError(f"number of blocks is {params[0]}; allowed 1 to 3")
    parts = (now.joint_pos, now.joint_vel, now.joint_effort)[:blocks]
    return Answer(b"".join(F7.pack(*part.tolist()) for part in parts))


def _inverse(desk: Desk, params: bytes) -> Answer:
    pose = pose_from_wire(numbers("pose [mm, rad]", F6.unpack_from(params)).tolist())
    found = desk.box.inverse(pose)
    return Answer(bytes(28), invalid=True) if found is None else Answer(F7.pack(*found.tolist()))


def _forward(desk: Desk, params: bytes) -> Answer:
    return Answer(pose_to_wire(desk.box.forward(numbers("joints [rad]", F7.unpack_from(params)))))


def _over_joint_limit(desk: Desk, params: bytes) -> Answer:
    return Answer(bytes([desk.box.over_joint_limit(numbers("joints [rad]", F7.unpack_from(params)))]))


def _over_tcp_limit(desk: Desk, params: bytes) -> Answer:
    pose = pose_from_wire(numbers("pose [mm, rad]", F6.unpack_from(params)).tolist())
    return Answer(bytes([desk.box.over_tcp_limit(pose)]))


def _effort(desk: Desk, _params: bytes) -> Answer:
    return Answer(F7.pack(*desk.box.now().joint_effort.tolist()))


def _difference(_desk: Desk, params: bytes) -> Answer:
    """76: the second pose in the frame of the first; two bytes say whether rotation vectors come in and go out."""
    values = numbers("poses [mm, rad]", _F12.unpack_from(params)).tolist()
    if len(params) < 50:
        raise ContractError(f"got {len(params)} bytes; 50 are needed")
    first, second = pose_from_wire(values[:6]), pose_from_wire(values[6:])
    if params[48]:
        first[3:], second[3:] = rpy_from_rotvec(first[3:]), rpy_from_rotvec(second[3:])
    result = seen_from(first, second)
    return Answer(pose_to_wire(_with_rotvec(result) if params[49] else result))


def _with_rotvec(pose: Floats) -> Floats:
    return np.concatenate([pose[:3], rotvec_from_rpy(pose[3:])])


KINEMATICS: Mapping[int, Handler] = {
    41: _pose, 42: _joints, 43: _inverse, 44: _forward, 45: _over_joint_limit, 46: _over_tcp_limit, 55: _effort,
    76: _difference, 91: _pose_aa,
}  # fmt: skip
"""Handlers by function number."""
