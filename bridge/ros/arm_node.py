"""The arm node: the one process that owns the arm. Executable `arm`.

A second wall behind the runtime: it follows commands only while they keep coming and only from the measured pose, the
arm's own limits stand below it, and the emergency stop reaches the controller on a line of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.ros.arm_work import ArmPolicy, ArmWork, LinkedArm
from bridge.ros.node import SERVE_MARGIN_NS, Pace, Shell, opened
from bridge.ros.parameters import parameter
from bridge.ros.stop_ear import StopEar


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmNodeConfig:
    """Parameters of the arm node."""

    ip: str = parameter("192.168.1.213", says="Address of the control box.")
    rate_hz: float = parameter(100.0, says="Beats per second [Hz].", low=20.0, high=250.0)
    watchdog_s: float = parameter(0.1, says="Longest silence of the commands before it holds [s].", low=0.02, high=0.5)
    readonly: bool = parameter(False, says="Whether it only measures: never arms, never moves.")
    auto_clear: bool = parameter(True, says="Whether faults of the automatic class are cleared by rule.")
    clear_pause_s: float = parameter(0.5, says="Time before each automatic clearing [s].", low=0.1, high=10.0)
    link_pause_s: float = parameter(0.5, says="First pause between attempts to link again [s].", low=0.1, high=10.0)
    link_pause_longest_s: float = parameter(5.0, says="Longest pause between them [s].", low=0.1, high=60.0)
    priority: int = parameter(60, says="Real-time priority of the beat; 0 leaves it to the system.", low=0, high=90)


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
    return 0
