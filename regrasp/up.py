"""`regrasp up`: the whole stack of a robot from one command, on machines without ROS's launch tools too."""

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from types import FrameType

from bridge.ros.environment import find_profile, node_environment
from core.errors import ConfigError
from regrasp.bringup import Process
from regrasp.graph import Graph, GraphFailed
from regrasp.processes import Bringup, logs_below, table

LOOK_EVERY_S = 0.1
"""How often it looks whether all are there, and what they said [s]."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end it in order; a shell's `&` would have switched the first off."""
FAILED = 1
_LOGGED = re.compile(r"[-\d]+ [:,\d]+ (?P<level>[A-Z]+) \S+ (?P<text>.*)")
"""A line of Python's logging as the nodes set it up."""
NO_ROS = (
    "no rclpy here: install regrasp with its extra, `pip install 'regrasp[ros]'` (Linux on x86_64), or source your ROS "
    "first: `source /opt/ros/jazzy/setup.bash`"
)


@dataclass(frozen=True, kw_only=True)
class UpConfig(Bringup):
    """Bring up the whole stack of a robot: the processes of launch/robot.launch.py, without ROS's launch tools."""


def up(config: UpConfig) -> int:
    """Starts the stack and keeps watch until the driver is done or somebody ends it; returns the exit code.

    Raises:
        ConfigError: The settings cannot be combined, or the middleware's profile is missing.
    """
    if find_spec("rclpy") is None:
        raise ConfigError(NO_ROS)
    processes = table(config)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"up {time.monotonic() - began:6.1f} s  {line}", flush=True)

    with _terminable():
        return _run(config, processes, say)


def _run(config: UpConfig, processes: tuple[Process, ...], say: Callable[[str], None]) -> int:
    logs = logs_below(config.out)
    environment = node_environment(
        os.environ, profile=find_profile(), log_dir=logs / "ros", domain=None if config.domain < 0 else config.domain
    )
    files = [str(config.params)] if config.params else []
    say(f"{len(processes)} processes, ROS domain {environment.get('ROS_DOMAIN_ID', '0')}, logs in {logs}")
    graph = Graph(processes, namespace=config.namespace, environment=environment, logs=logs, files=files, say=say)
    with graph:
        try:
            graph.start()
            return _watch(graph, processes)
        except GraphFailed as error:
            say(f"stopping: {error}")
            return FAILED
        except KeyboardInterrupt:
            say("stopping: the runtime first, then the rest")
            raise
        finally:
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
            graph.stop()
            say("all processes have ended")


def _watch(graph: Graph, processes: Sequence[Process]) -> int:
    """Shows what the processes say until one ends that ends all; returns its exit code."""
    while True:
        ended = graph.check()
        for process in processes:
            for line in filter(None, (_heard(line, process) for line in graph.news(process.name))):
                print(f"{process.name} | {line}", flush=True)
        if ended is not None:
            return ended.code if ended.code >= 0 else FAILED
        time.sleep(LOOK_EVERY_S)


def _heard(line: str, process: Process) -> str:
    """Returns what the console shows of a line in a log, "" when nothing: what goes on, and every error."""
    logged = _LOGGED.match(line)
    if logged is None:
        return line if process.spoken and process.parameters is None else ""
    return logged["text"] if process.spoken or logged["level"] == "ERROR" else ""


@contextmanager
def _terminable() -> Iterator[None]:
    """Lets SIGTERM and a closed terminal stop the stack as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001, the interpreter's call
        raise KeyboardInterrupt(f"signal {number}")

    before = {number: signal.signal(number, end) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
