"""The arm node: the one process that owns the arm. Executable `arm`.

A second wall behind the runtime: it follows commands only while they keep coming and only from the measured pose, the
arm's own limits stand below it, and the emergency stop reaches the controller on a line of its own.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bridge.realtime import enter_realtime, freeze_garbage
from bridge.ros.arm_work import ArmPolicy, ArmWork, LinkedArm
from bridge.ros.node import LOG_FORMAT, SERVE_MARGIN_NS, Pace, Shell, opened
from bridge.ros.parameters import parameter
from bridge.ros.stop_ear import StopEar
from bridge.xarm.arm import XArm
from bridge.xarm.config import BoxSafety, XArmConfig
from bridge.xarm.limits import WallLimits
from core.errors import ConfigError, RegraspError

log = logging.getLogger(__name__)

PRIORITY = 60
"""Of SCHED_FIFO, where the user may: above the runtime, whose commands it checks."""
DONE, WRONG_USE = 0, 2
_BOX, _WALL = BoxSafety(), WallLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmNodeConfig:
    """Parameters of the arm node."""

    ip: str = parameter("192.168.1.213", says="Address of the control box.")
    simulated: bool = parameter(False, says="Whether a twin is meant; an address beyond this machine is refused then.")
    motion: str = parameter("servo", says="Mode 1, or online planning (mode 6).", choices=("servo", "online"))
    rate_hz: float = parameter(100.0, says="Beats per second [Hz].", low=30.0, high=250.0)
    watchdog_s: float = parameter(0.1, says="Longest silence of the commands before it holds [s].", low=0.02, high=0.5)
    readonly: bool = parameter(False, says="Whether it only measures: never arms, never moves.")
    auto_clear: bool = parameter(True, says="Whether faults of the automatic class are cleared by rule.")
    clear_pause_s: float = parameter(1.0, says="Time before each automatic clearing [s].", low=0.1, high=10.0)
    clearings: int = parameter(5, says="Automatic clearings before a person is needed.", low=0, high=20)
    link_pause_s: float = parameter(0.5, says="First pause between attempts to link again [s].", low=0.1, high=10.0)
    link_pause_longest_s: float = parameter(5.0, says="Longest pause between them [s].", low=0.1, high=60.0)
    stop_cooldown_s: float = parameter(0.5, says="How long a stop stays latched at least [s].", low=0.1, high=60.0)
    gripper: bool = parameter(True, says="Whether there is an xArm Gripper.")
    force_sensor: bool = parameter(False, says="Whether there is a force-torque sensor at the flange.")
    tcp_speed: float = parameter(_WALL.tcp_speed, says="Highest speed of the tool [m/s].", low=0.02, high=1.0)
    joint_speed: float = parameter(_WALL.joint_speed, says="Highest joint speed [rad/s].", low=0.05, high=3.1)
    workspace_low: tuple[float, ...] = parameter(
        _WALL.workspace_low, says="Lower corner of the tool's box, in base, x y z [m].", low=-1.0, high=1.0
    )
    workspace_high: tuple[float, ...] = parameter(
        _WALL.workspace_high, says="Upper corner of the tool's box [m].", low=-1.0, high=1.5
    )
    table_height_m: float = parameter(_WALL.table_height_m, says="Table top in base [m].", low=-1.0, high=1.0)
    fence_low: tuple[float, ...] = parameter(
        _BOX.fence_low, says="Lower corner of the fence in the control box [m], wider than the tool's box.",
        low=-1.5, high=1.5,
    )  # fmt: skip
    fence_high: tuple[float, ...] = parameter(
        _BOX.fence_high, says="Upper corner of that fence [m].", low=-1.5, high=2.0
    )
    collision_sensitivity: int = parameter(_BOX.collision_sensitivity, says="Of the control box.", low=1, high=5)
    load_kg: float = parameter(_BOX.load_kg, says="Mass of the tool and what it carries [kg].", low=0.0, high=3.5)
    load_com: tuple[float, ...] = parameter(
        _BOX.load_com, says="Its centre of mass beyond the flange, x y z [m].", low=-0.5, high=0.5
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmDevice:
    """An arm and its second way to be stopped."""

    arm: LinkedArm
    stop: Callable[[], None]
    """Stops the controller and returns when that was read back; called from another thread than `arm`."""


def serve_arm(config: ArmNodeConfig, shell: Shell, device: ArmDevice) -> None:
    """Beats until the process is asked to end."""
    policy = ArmPolicy(
        readonly=config.readonly,
        watchdog_s=config.watchdog_s,
        auto_clear=config.auto_clear,
        clear_pause_s=config.clear_pause_s,
        link_pause_s=(config.link_pause_s, config.link_pause_longest_s),
    )
    pace = Pace(1.0 / config.rate_hz)
    with (
        StopEar(shell, device.stop) as ear,
        ArmWork(shell, device.arm, ear, pace=pace, policy=policy, hardware=config.ip) as work,
    ):
        shell.attach(work)
        freeze_garbage()
        while shell.running:
            now = pace.wait()
            work.beat(now)
            shell.pulse(now)
            shell.serve_until(pace.due_ns - SERVE_MARGIN_NS)
        shell.rest()


def run_arm(args: Sequence[str], device: Callable[[ArmNodeConfig], ArmDevice]) -> int:
    """Runs the node's process with the arm that `device` makes of its parameters.

    Args:
        args: The process's arguments, the program's name first.
        device: Makes the arm; it is linked when the node is configured.

    Returns:
        Exit code 0.

    Raises:
        ConfigError: A parameter is unknown or wrong.
    """
    with opened("arm", ArmNodeConfig, args) as (shell, config):
        serve_arm(config, shell, device(config))
    return DONE


def xarm_config(config: ArmNodeConfig) -> XArmConfig:
    """Returns what an xArm is told by the node's parameters.

    Raises:
        ConfigError: A twin was meant, at an address beyond this machine; or a corner has not three numbers.
    """
    wall = replace(
        _WALL,
        tcp_speed=config.tcp_speed,
        joint_speed=config.joint_speed,
        workspace_low=_corner("workspace_low", config.workspace_low),
        workspace_high=_corner("workspace_high", config.workspace_high),
        table_height_m=config.table_height_m,
    )
    box = replace(
        _BOX,
        fence_low=_corner("fence_low", config.fence_low),
        fence_high=_corner("fence_high", config.fence_high),
        collision_sensitivity=config.collision_sensitivity,
        load_kg=config.load_kg,
        load_com=_corner("load_com", config.load_com),
    )
    made = XArmConfig(
        ip=config.ip,
        motion="online" if config.motion == "online" else "servo",
        readonly=config.readonly,
        rate_hz=config.rate_hz,
        wall=wall,
        box=box,
        force_sensor=config.force_sensor,
        gripper=config.gripper,
        stop_cooldown_s=config.stop_cooldown_s,
        clearings=config.clearings,
    )
    if config.simulated and not made.simulated:
        raise ConfigError(
            f"a twin was meant, but {config.ip} is not on this machine; give 127.x.x.x or simulated:=false"
        )
    return made


def xarm_device(config: ArmNodeConfig) -> ArmDevice:
    """Returns the xArm that the node's parameters describe, not linked yet."""
    arm = XArm(xarm_config(config))
    return ArmDevice(arm=arm, stop=arm.stop)


def _corner(name: str, values: tuple[float, ...]) -> tuple[float, float, float]:
    if len(values) != 3:
        raise ConfigError(f"parameter {name} is {values}; allowed: three numbers, x y z [m]")
    return values


def main() -> int:
    """Runs the process; returns its exit code."""
    realtime = enter_realtime(PRIORITY)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    log.info("%s", realtime.line())
    for warning in realtime.warnings:
        log.warning("%s", warning)
    try:
        return run_arm(sys.argv, xarm_device)
    except RegraspError as error:
        print(f"arm: {error}", file=sys.stderr)  # noqa: T201, the process's answer
        return WRONG_USE


if __name__ == "__main__":
    sys.exit(main())
