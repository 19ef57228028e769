"""`regrasp twin`: the simulated control box as a process, for the unmodified SDK and for the whole stack."""

from dataclasses import dataclass

from regrasp.task_registry import find_task
from sim.twin.process import TwinOptions, run_twin


@dataclass(frozen=True, kw_only=True)
class TwinConfig:
    """Run a simulated control box with a cell behind it, in real time; Ctrl-C ends it."""

    ip: str = "127.0.0.2"
    """Loopback address of the wire: ports 502 and 30001 to 30003."""
    firmware: str = "v2.6.0"
    """Which box it claims to be: v1.5.0, v2.6.0 or v2.7.103."""
    control_port: int = 8700
    """Port of the HTTP control on 127.0.0.1; 0 takes a free one."""
    task: str = "fruit_on_plate"
    """What is on the table."""
    seed: int = 0
    """Seed of the first scene; POST /reset makes others."""
    realtime: bool = False
    """Ask for SCHED_FIFO."""


def twin(config: TwinConfig) -> int:
    """Runs the twin until SIGINT or SIGTERM; returns the exit code."""
    task = find_task(config.task).make()
    run_twin(
        task,
        TwinOptions(
            ip=config.ip, firmware=config.firmware, control_port=config.control_port, seed=config.seed,
            realtime=config.realtime,
        ),
    )  # fmt: skip
    return 0
