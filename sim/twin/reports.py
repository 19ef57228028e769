"""Report frames that the box pushes: 30003 (87 or 135 bytes), 30001 (145 bytes), 30002 (587 bytes).

Called by `sim.twin.server` at 100 and 5 Hz. Not simulated, and constant: motor temperatures (25 degrees C), voltages
(48 V), currents (0), force-sensor load identification, monitored devices.
Source: the layout that xarm-python-sdk 1.18.4 reads.
"""

from struct import Struct

from core.arrays import Floats
from core.kinematics import XARM7
from sim.twin.attitude import rotvec_from_rpy
from sim.twin.desk import Desk
from sim.twin.face import BoxState, Settings
from sim.twin.registers_force import wrench
from sim.twin.registers_settings import boundary_mm
from sim.twin.registers_tool import lines, servo_codes
from sim.twin.wire import F3, F4, S16X6, pose_to_wire

PLAIN, WITH_FORCE, NORMAL, RICH = 87, 135, 145, 587
"""Lengths [bytes]."""
_HEAD, _F20, _F12, _F8, _F16 = Struct(">IBH"), *(Struct(f"<{n}f") for n in (20, 12, 8, 16))
_U32, _U16X7 = Struct(">I"), Struct(">7H")
MM = 1e-3
TCP_SPEED_MM_S, TCP_ACC_MIN_MM_S2, JOINT_SPEED_MIN, JOINT_ACC_MIN = (0.1, 1000.0), 1.0, 0.0001, 0.01
"""Lowest and highest tool speed, lowest accelerations; clients clamp by them."""
ROTATION_JERK, ROTATION_ACC = 2.3, 2.7
"""[rad/s^3], [rad/s^2]; told, not simulated."""
TEMPERATURE_C, CENTIVOLTS = 25, 4800
ARM_TYPE, AXES, MASTER, SLAVE = 7, 7, 0xAA, 0x55


def real(desk: Desk, now: BoxState) -> bytes:
    """Returns a frame of port 30003; boxes before the force sensor send the shorter one."""
    if not desk.identity.has_force_sensor:
        return _base(now, PLAIN)
    return _base(now, WITH_FORCE) + 2 * wrench(now)


def normal(_desk: Desk, now: BoxState) -> bytes:
    """Returns a frame of port 30001."""
    return _base(now, NORMAL) + _faults_and_load(now)


def rich(desk: Desk, now: BoxState) -> bytes:
    """Returns a frame of port 30002."""
    return b"".join(
        (
            _base(now, RICH),
            _faults_and_load(now),
            bytes([ARM_TYPE, AXES, MASTER, SLAVE, 0, 0]),
            desk.identity.version_text.encode()[:29].ljust(30, b"\0"),
            _limits(now.settings),
            servo_codes(now),
            bytes([TEMPERATURE_C] * 7),
            _F8.pack(now.tcp_speed / MM, *now.joint_vel.tolist()),
            _U32.pack(desk.drawer.counter),
            pose_to_wire(now.settings.world_offset),
            bytes(desk.drawer.reset_outputs),
            bytes([now.settings.simulation, now.settings.self_collision, now.settings.tool_model]),
            desk.drawer.tool_model,
            _U16X7.pack(*[CENTIVOLTS] * 7),
            bytes(28),
            lines(desk),
            2 * wrench(now),
            b"\0",
            F3.pack(*rotvec_from_rpy(now.pose[3:]).tolist()),
            _safety(now.settings),
            _U32.pack(0),
            bytes([now.settings.ft_enabled]),
            bytes(8),
        )
    )


def _base(now: BoxState, size: int) -> bytes:
    x, y, z, roll, pitch, yaw = now.pose.tolist()
    return _HEAD.pack(size, now.mode << 4 | now.state, min(now.queued, 0xFFFF)) + _F20.pack(
        *now.joint_pos.tolist(), x / MM, y / MM, z / MM, roll, pitch, yaw, *now.joint_effort.tolist()
    )


def _faults_and_load(now: BoxState) -> bytes:
    s = now.settings
    return (
        bytes([_bits(now.released), _bits(now.enabled), now.error, now.warning])
        + pose_to_wire(s.tcp_offset)
        + _load(s)
        + bytes([s.collision_sensitivity, s.teach_sensitivity])
        + F3.pack(*s.gravity.tolist())
    )


def _load(s: Settings) -> bytes:
    return F4.pack(s.load_kg, *(s.load_com / MM).tolist())


def _limits(s: Settings) -> bytes:
    """Tool: jerk, accelerations, speeds; joints: the same; rotation: jerk, acceleration."""
    tool = (s.tcp_jerk / MM, TCP_ACC_MIN_MM_S2, s.tcp_acceleration / MM, *TCP_SPEED_MM_S)
    fastest: Floats = XARM7.joint_vel_max
    joints = (s.joint_jerk, JOINT_ACC_MIN, s.joint_acceleration, JOINT_SPEED_MIN, float(fastest.max()))
    return _F12.pack(*tool, *joints, ROTATION_JERK, ROTATION_ACC)


def _safety(s: Settings) -> bytes:
    flags = s.reduced | s.fence << 1 | s.allow_approximate << 3 | s.continuous_cartesian << 4
    return (
        bytes([flags, s.reduced])
        + S16X6.pack(*boundary_mm(s))
        + _F16.pack(s.reduced_tcp_speed / MM, s.reduced_joint_speed, *s.reduced_joint_range.ravel().tolist())
        + bytes([s.fence, s.collision_rebound])
    )


def _bits(flags: tuple[bool, ...]) -> int:
    return sum(1 << i for i, flag in enumerate(flags) if flag)
