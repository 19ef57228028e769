"""The control box's own safety settings: set, then read back on a connection of their own, before anything moves.

Called by the arm when it links and before it arms. Source: UFACTORY xArm user manual; values of reduced mode count only
after reduced mode is switched on again.
"""

import numpy as np

from bridge.xarm import units
from bridge.xarm.config import BoxSafety, XArmConfig
from bridge.xarm.limits import WallLimits
from bridge.xarm.link import Line
from bridge.xarm.stop_line import STOPPED
from core.errors import DeviceFault

_REPORT_S = 6.0
"""Longest wait for a rich report, which comes five times a second; the SDK tries a failed report port every 2 s [s]."""
_DONE = (0, 2)
"""Codes of a setting that was taken: fine, or fine while a warning is pending."""
_TAKEN = (0, 2, 9)
"""Codes after which only the reading back tells: these also say that the arm is not ready to move, which is no news."""


def apply_safety(line: Line, config: XArmConfig) -> None:
    """Sets everything the configuration wants, and leaves the controller stopped.

    Args:
        line: To the box.
        config: What is wanted.

    Raises:
        DeviceError: A setting was refused.
    """
    box, api = config.box, line.api
    low, high = units.millimetres(box.fence_low), units.millimetres(box.fence_high)
    corners = [value for pair in zip(high, low, strict=True) for value in pair]
    line.told(
        "set the reduced tool speed", lambda: int(api.set_reduced_max_tcp_speed(box.tcp_speed * 1000)), fine=_DONE
    )
    line.told("set the reduced joint speed", lambda: int(api.set_reduced_max_joint_speed(box.joint_speed)), fine=_DONE)
    line.told("set the fence", lambda: int(api.set_reduced_tcp_boundary(corners)), fine=_DONE)
    line.told("set the joint range", lambda: int(api.set_reduced_joint_range(_ranges(config.wall))), fine=_DONE)
    line.told("switch the fence", lambda: list(api.set_fence_mode(box.fence)), fine=_DONE)
    line.told("switch reduced mode", lambda: int(api.set_reduced_mode(box.reduced)), fine=_DONE)
    load = box.load_kg, units.millimetres(box.load_com)
    line.told("set the load", lambda: int(api.set_tcp_load(*load)), fine=_TAKEN)
    offset = [*units.millimetres(box.tcp_offset[:3]), *box.tcp_offset[3:]]
    line.told("set the tool offset", lambda: int(api.set_tcp_offset(offset, wait=False)), fine=_TAKEN)
    sensitivity = box.collision_sensitivity
    line.told("set the collision sensitivity", lambda: int(api.set_collision_sensitivity(sensitivity)), fine=_TAKEN)
    if config.force_sensor:
        line.told("switch the force sensor on", lambda: int(api.set_ft_sensor_enable(1)), fine=_DONE)
    line.told("stay stopped", lambda: int(api.set_state(STOPPED)))


def read_safety(config: XArmConfig) -> BoxSafety:
    """Returns what the box says its settings are, read on a connection that is closed again.

    Raises:
        DeviceError: It could not be reached or did not report.
    """
    with Line(config, reports="rich") as line:
        reduced = line.asked("read reduced mode", line.api.get_reduced_states)
        line.fresh(_REPORT_S)
        line.fresh(_REPORT_S)
        weight, centre = line.api.tcp_load
        offset, sensitivity = line.api.tcp_offset, int(line.api.collision_sensitivity)
    on, corners, tcp_mm_s, joint_rad_s, _, fence = reduced[:6]
    low, high = units.metres(corners[1::2]), units.metres(corners[0::2])
    at, turned = units.metres(offset[:3]), offset[3:]
    return BoxSafety(
        reduced=bool(on),
        tcp_speed=float(tcp_mm_s) / 1000,
        joint_speed=float(joint_rad_s),
        fence=bool(fence),
        fence_low=(float(low[0]), float(low[1]), float(low[2])),
        fence_high=(float(high[0]), float(high[1]), float(high[2])),
        collision_sensitivity=sensitivity,
        load_kg=float(weight),
        load_com=(centre[0] / 1000, centre[1] / 1000, centre[2] / 1000),
        tcp_offset=(float(at[0]), float(at[1]), float(at[2]), turned[0], turned[1], turned[2]),
    )


def prove_safety(config: XArmConfig) -> BoxSafety:
    """Returns the settings that were read back, which are all as wanted.

    Raises:
        DeviceFault: One is not.
        DeviceError: They could not be read.
    """
    read = read_safety(config)
    wrong = config.box.differences(read)
    if wrong:
        raise DeviceFault(
            f"safety settings of the box differ: {'; '.join(wrong)}",
            device=config.device,
            remedy="find out who changed them, then link again to set them; nothing moves until they are as wanted",
        )
    return read


def describe_safety(box: BoxSafety) -> dict[str, str]:
    """Returns the settings for people, by name with unit."""
    return {
        "safety reduced mode": "on" if box.reduced else "off",
        "safety tool speed [m/s]": f"{box.tcp_speed:.3f}",
        "safety joint speed [rad/s]": f"{box.joint_speed:.3f}",
        "safety fence": "on" if box.fence else "off",
        "safety fence low [m]": " ".join(f"{value:.3f}" for value in box.fence_low),
        "safety fence high [m]": " ".join(f"{value:.3f}" for value in box.fence_high),
        "safety collision sensitivity": str(box.collision_sensitivity),
        "safety load [kg]": f"{box.load_kg:.3f}",
        "safety tool offset [m, rad]": " ".join(f"{value:.3f}" for value in box.tcp_offset),
    }


def _ranges(wall: WallLimits) -> list[float]:
    """Returns the joint range of reduced mode, a little wider than the wall, which should act first."""
    margin = 0.01
    pairs = zip(np.array(wall.joint_low) - margin, np.array(wall.joint_high) + margin, strict=True)
    return [float(value) for pair in pairs for value in pair]
