"""Registers that move the arm (21 to 30, 81 to 83, 92, 93).

Listed in `sim.twin.registers`. Approximations: a relative move by rotation vector, an arc in tool coordinates and a
relative servo step start from the commanded pose at the moment of the call, not from where the queue will have led.
"""

import math
from collections.abc import Mapping
from struct import Struct

import numpy as np

from core.arrays import Floats
from core.errors import ContractError
from sim.twin.attitude import moved, on, rotvec_from_rpy, rpy_from_rotvec
from sim.twin.desk import OK, Answer, Desk, Handler
from sim.twin.face import Motion
from sim.twin.wire import F1, F3, F7, F9, U16, numbers, pose_from_wire

_F10, _F11, _F16, _F6, _F8I = Struct("<10f"), Struct("<11f"), Struct("<16f"), Struct("<6f"), Struct("<8fi")
_NO_IK, _JOINT_LIMIT, _BOUNDARY = 21, 23, 35
"""Errors that a move would raise."""
MM = 1e-3


def _motion(speed: float, acceleration: float, radius_mm: float = -1.0, unit: float = 1.0) -> Motion:
    if not (math.isfinite(speed) and math.isfinite(acceleration) and speed > 0 and acceleration > 0):
        raise ContractError(f"speed {speed} and acceleration {acceleration} must be above 0")
    radius = radius_mm * MM if math.isfinite(radius_mm) and radius_mm >= 0 else -1.0
    return Motion(speed=speed * unit, acceleration=acceleration * unit, radius=radius)


def _queued(number: int, checked: bool = False) -> Answer:
    return Answer(U16.pack(number & 0xFFFF) + (b"\0" if checked else b""), task=number)


def _verdict(code: int) -> Answer:
    return Answer(U16.pack(0) + bytes([code]))


def _commanded(desk: Desk) -> Floats:
    return desk.box.forward(desk.box.now().joint_target)


def _filled(values: Floats, present: Floats) -> Floats:
    return np.where(np.isfinite(values), values, present)


def _joint_verdict(desk: Desk, target: Floats) -> Answer:
    whole = _filled(target, desk.box.now().joint_target)
    return _verdict(_JOINT_LIMIT if desk.box.over_joint_limit(whole) else 0)


def _pose_verdict(desk: Desk, pose: Floats) -> Answer:
    whole = _filled(pose, _commanded(desk))
    if desk.box.over_tcp_limit(whole):
        return _verdict(_BOUNDARY)
    return _verdict(_NO_IK if desk.box.inverse(whole) is None else 0)


def _absolute(desk: Desk, six: tuple[float, ...], axis_angle: bool) -> Floats:
    pose = pose_from_wire(six)
    if axis_angle:
        present = _commanded(desk)
        pose[3:] = rpy_from_rotvec(_filled(pose[3:], rotvec_from_rpy(present[3:])))
    return pose


def _line(desk: Desk, params: bytes) -> Answer:
    """21: the layout with 10 numbers and 3 bytes, or the old one with 9 numbers."""
    if len(params) < 43:
        *six, speed, acceleration, _time = F9.unpack_from(params)
        check, radius, in_tool, axis_angle = params[36] if len(params) > 36 else 0, -1.0, False, False
        wide = len(params) > 36
    else:
        *six, speed, acceleration, _time, radius = _F10.unpack_from(params)
        in_tool, axis_angle, check = bool(params[40]), bool(params[41]), params[42]
        wide = True
    motion = _motion(speed, acceleration, radius, MM)
    return _go(desk, tuple(six), motion, in_tool=in_tool, axis_angle=axis_angle, check=check, wide=wide)


def _go(
    desk: Desk, six: tuple[float, ...], motion: Motion, *, in_tool: bool, axis_angle: bool, check: int, wide: bool
) -> Answer:
    if in_tool:
        pose = pose_from_wire([v if math.isfinite(v) else 0.0 for v in six])
        pose[3:] = rpy_from_rotvec(pose[3:]) if axis_angle else pose[3:]
    else:
        pose = _absolute(desk, six, axis_angle)
    if check:
        return _pose_verdict(desk, on(_commanded(desk), pose) if in_tool else pose)
    return _queued(desk.box.move_line(pose, motion, in_tool=in_tool), wide)


def _blended_line(desk: Desk, params: bytes) -> Answer:
    """22: old line with a radius."""
    *six, speed, acceleration, _time, radius = _F10.unpack_from(params)
    motion = _motion(speed, acceleration, radius, MM)
    return _go(
        desk, tuple(six), motion, in_tool=False, axis_angle=False, check=_byte(params, 40), wide=len(params) > 40
    )


def _tool_line(desk: Desk, params: bytes) -> Answer:
    """28: old line in tool coordinates."""
    *six, speed, acceleration, _time = F9.unpack_from(params)
    motion = _motion(speed, acceleration, -1.0, MM)
    return _go(desk, tuple(six), motion, in_tool=True, axis_angle=False, check=_byte(params, 36), wide=len(params) > 36)


def _line_aa(desk: Desk, params: bytes) -> Answer:
    """92: old line by rotation vector; bytes coord and relative."""
    *six, speed, acceleration, _time = F9.unpack_from(params)
    motion, in_tool, check = _motion(speed, acceleration, -1.0, MM), bool(_byte(params, 36)), _byte(params, 38)
    if _byte(params, 37) and not in_tool:
        return _relative_aa(desk, tuple(six), motion, check=check, wide=len(params) > 38)
    return _go(desk, tuple(six), motion, in_tool=in_tool, axis_angle=True, check=check, wide=len(params) > 38)


def _relative_aa(desk: Desk, six: tuple[float, ...], motion: Motion, *, check: int, wide: bool) -> Answer:
    step = np.nan_to_num(pose_from_wire(six), posinf=0.0, neginf=0.0)
    pose = moved(_commanded(desk), step[:3], step[3:])
    return _pose_verdict(desk, pose) if check else _queued(desk.box.move_line(pose, motion), wide)


def _joints(desk: Desk, params: bytes) -> Answer:
    """23 and 24: seven angles; the tenth number is a time or a radius."""
    *target, speed, acceleration, _time = _F10.unpack_from(params)
    return _go_joints(desk, np.array(target), _motion(speed, acceleration), _byte(params, 40), len(params) > 40)


def _blended_joints(desk: Desk, params: bytes) -> Answer:
    *target, speed, acceleration, radius = _F10.unpack_from(params)
    return _go_joints(desk, np.array(target), _motion(speed, acceleration, radius), _byte(params, 40), len(params) > 40)


def _go_joints(desk: Desk, target: Floats, motion: Motion, check: int, wide: bool) -> Answer:
    return _joint_verdict(desk, target) if check else _queued(desk.box.move_joints(target, motion), wide)


def _home(desk: Desk, params: bytes) -> Answer:
    speed, acceleration, _time = F3.unpack_from(params)
    if _byte(params, 12):
        return _verdict(0)
    return _queued(desk.box.move_home(_motion(speed, acceleration)), len(params) > 12)


def _pause(desk: Desk, params: bytes) -> Answer:
    (seconds,) = F1.unpack_from(params)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ContractError(f"pause is {seconds} s; it must not be below 0")
    return _queued(desk.box.pause(seconds))


def _circle(desk: Desk, params: bytes) -> Answer:
    """27: two poses, speed, acceleration, time, percent; then bytes coord, axis_angle, check."""
    values = _F16.unpack_from(params)
    in_tool, axis_angle = bool(_byte(params, 64)) and len(params) > 65, bool(_byte(params, 65))
    check = _byte(params, 66) if len(params) > 65 else _byte(params, 64)
    first, second = (_absolute(desk, values[i : i + 6], axis_angle) for i in (0, 6))
    if in_tool:
        here = _commanded(desk)
        first, second = on(here, first), on(here, second)
    numbers("arc [mm, rad]", [*first, *second, values[15]])
    if check:
        return _pose_verdict(desk, second)
    motion = _motion(values[12], values[13], -1.0, MM)
    return _queued(desk.box.move_circle(first, second, values[15] / 100.0, motion), len(params) > 64)


def _servo_joints(desk: Desk, params: bytes) -> Answer:
    desk.box.servo_joints(np.array(F7.unpack_from(params)))
    return OK


def _servo_pose(desk: Desk, params: bytes) -> Answer:
    """30: pose, speed, acceleration, and the tool flag as a float."""
    *six, _speed, _acceleration, tool = F9.unpack_from(params)
    desk.box.servo_pose(pose_from_wire(six), in_tool=tool == 1.0)
    return OK


def _servo_pose_aa(desk: Desk, params: bytes) -> Answer:
    """93: pose by rotation vector, speed, acceleration, tool flag; then a byte, relative."""
    *six, _speed, _acceleration, tool = _F8I.unpack_from(params)
    numbers("pose [mm, rad]", six)
    pose = pose_from_wire(six)
    if not tool and _byte(params, 36):
        pose = moved(_commanded(desk), pose[:3], pose[3:])
    else:
        pose[3:] = rpy_from_rotvec(pose[3:])
    desk.box.servo_pose(pose, in_tool=bool(tool))
    return OK


def _duration(params: bytes, offset: int) -> float:
    if len(params) < offset + 4:
        return 0.0
    (seconds,) = F1.unpack_from(params, offset)
    if not math.isfinite(seconds):
        raise ContractError(f"duration is {seconds} s; send a finite value")
    return max(float(seconds), 0.0)


def _joint_velocity(desk: Desk, params: bytes) -> Answer:
    velocity = numbers("joint velocity [rad/s]", F7.unpack_from(params))
    desk.box.joint_velocity(velocity, _duration(params, 29))
    return OK


def _tcp_velocity(desk: Desk, params: bytes) -> Answer:
    velocity = pose_from_wire(numbers("tool velocity [mm/s, rad/s]", _F6.unpack_from(params)).tolist())
    desk.box.tcp_velocity(velocity, in_tool=bool(_byte(params, 24)), duration_s=_duration(params, 25))
    return OK


def _relative(desk: Desk, params: bytes) -> Answer:
    """83: six or seven steps, speed, acceleration, time, radius; bytes joint, axis_angle [, check]."""
    *steps, speed, acceleration, _time, radius = _F11.unpack_from(params)
    in_joints, axis_angle, check, wide = _byte(params, 44), _byte(params, 45), _byte(params, 46), len(params) > 46
    step = np.nan_to_num(np.array(steps), posinf=0.0, neginf=0.0)
    if in_joints:
        motion = _motion(speed, acceleration, radius)
        if check:
            return _joint_verdict(desk, desk.box.now().joint_target + step)
        return _queued(desk.box.move_joints(step, motion, relative=True), wide)
    motion = _motion(speed, acceleration, radius, MM)
    if axis_angle:
        return _relative_aa(desk, tuple(steps[:6]), motion, check=check, wide=wide)
    pose = pose_from_wire(step[:6].tolist())
    if check:
        return _pose_verdict(desk, _commanded(desk) + pose)
    return _queued(desk.box.move_line(pose, motion, relative=True), wide)


def _byte(params: bytes, offset: int) -> int:
    return params[offset] if len(params) > offset else 0


MOTION: Mapping[int, Handler] = {
    21: _line, 22: _blended_line, 23: _joints, 24: _blended_joints, 25: _home, 26: _pause, 27: _circle, 28: _tool_line,
    29: _servo_joints, 30: _servo_pose, 81: _joint_velocity, 82: _tcp_velocity, 83: _relative, 92: _line_aa,
    93: _servo_pose_aa,
}  # fmt: skip
"""Handlers by function number."""
