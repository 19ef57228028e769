"""The processes of a running robot: one table, from which `regrasp up` and `launch/robot.launch.py` both start them.

Pure data and pure functions; nothing here starts, reads or waits. `regrasp.processes` holds the table itself.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from core.errors import ConfigError

Parameter = bool | int | float | str
"""What a parameter of a ROS node can be here."""
RESTARTS = 3
"""How often one process is started again in a run."""
ROS_PACKAGE = "runtime"
"""Whose executables the nodes are; every process has one of its own name in lib/runtime."""


class OnExit(StrEnum):
    """What it means when a process ends by itself."""

    STOPS = "stops"
    """Nothing works without it: all others are stopped."""
    ENDS = "ends"
    """The job is done: all others are stopped, and its exit code is that of the whole."""
    RESTARTS = "restarts"
    """The others hold and wait: it is started again, a few times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process to be."""

    name: str
    """Of the node, of its log file and of its executable in lib/runtime."""
    purpose: str
    """What it does, for people."""
    module: str
    """Run as `python -m module`."""
    arguments: tuple[str, ...] = ()
    """Words after the module."""
    parameters: Mapping[str, Parameter] | None = None
    """Of a ROS node; None: it is no node and takes no ROS arguments."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of its own, where the user has not set them."""
    after: tuple[str, ...] = ()
    """Processes that have to be ready before this one starts."""
    ready: str = ""
    """Words of the line it prints when others may build on it; "": as soon as it runs."""
    patience_s: float = 60.0
    """Longest time until it is ready, on a busy machine [s]."""
    on_exit: OnExit = OnExit.STOPS
    stop_rank: int = 1
    """Lower ranks are told to stop, and have stopped, before higher ones are told."""
    spoken: bool = False
    """Whether its lines are shown on the console as well; its errors are in any case."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "environment", MappingProxyType(dict(self.environment)))
        if self.parameters is not None:
            object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))


def command(process: Process, namespace: str, *, files: Iterable[str] = ()) -> list[str]:
    """Returns the command line of a process.

    Args:
        process: Which one.
        namespace: ROS namespace of every node.
        files: ROS parameter files; the process's own parameters win over them.
    """
    words = [sys.executable, "-m", process.module, *process.arguments]
    if process.parameters is None:
        return words
    named = [word for file in files for word in ("--params-file", file)]
    own = [word for key, value in process.parameters.items() for word in ("-p", f"{key}:={json.dumps(value)}")]
    return [*words, "--ros-args", "-r", f"__ns:={namespace}", *named, *own]


def in_start_order(table: Iterable[Process]) -> tuple[Process, ...]:
    """Returns the processes, each behind those it comes after; else in the order given.

    Raises:
        ConfigError: One waits for a process that is not in the table, or for itself.
    """
    waiting, ordered = list(table), list[Process]()
    while waiting:
        done = {one.name for one in ordered}
        free = [one for one in waiting if done.issuperset(one.after)]
        if not free:
            raise ConfigError(f"process {waiting[0].name} waits for {', '.join(waiting[0].after)}, which never starts")
        ordered.append(free[0])
        waiting.remove(free[0])
    return tuple(ordered)


def stop_ranks(table: Iterable[Process]) -> tuple[tuple[str, ...], ...]:
    """Returns the names of the processes in the groups in which they are stopped, first group first."""
    ranks: dict[int, list[str]] = {}
    for process in table:
        ranks.setdefault(process.stop_rank, []).append(process.name)
    return tuple(tuple(ranks[rank]) for rank in sorted(ranks))
