"""The two processes of `regrasp bench ipc`: one sends when it is told to, the other receives and measures.

The receiver starts the sender and tells it on its standard input what to send next, so that all ways take turns in
the same minute on the same machine. It prints one JSON line, an `IpcFigures`. Both ask for real-time scheduling.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import IO, Literal

import numpy as np
import tyro

from bridge.realtime import RealtimeReport, enter_realtime, freeze_garbage
from regrasp.bench_ipc_links import SHAPES, Receiver, RingReceiver, RingSender, Sender, ZmqReceiver, ZmqSender, paced
from runtime.record.codec import dumps

WARM = 5
"""First images of each turn, not counted."""
_HZ = 60.0
_PATIENCE_S = 1.0
"""An image that takes longer is counted as lost [s]."""
_FIRST_S = 20.0
"""How long the very first image of a way may take: ends find each other then [s]."""
_ENDS = {"ring": "ring", "ring, in place": "ring", "zmq ipc": "zmq", "ros 2": "ros"}
"""By way: the sender it hears."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IpcConfig:
    """Measure all ways, in turns."""

    folder: str
    """For sockets; its name makes the rings' names."""
    end: Literal["receiver", "sender"] = "receiver"
    rounds: int = 6
    """Turns of each way."""
    frames: int = 30
    """Images a turn that count."""
    priority: int = 50
    """Of SCHED_FIFO."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One way and one size."""

    way: str
    size: str
    sent: int
    received: int
    p50_s: float
    """From right before it was sent until it could be read [s]; NaN when nothing arrived."""
    p99_s: float
    worst_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IpcFigures:
    """All ways and sizes."""

    scheduler: str
    warnings: tuple[str, ...]
    ros: bool
    """Whether rclpy could be imported."""
    latencies: tuple[Latency, ...]


def has_ros() -> bool:
    """Returns whether the way over ROS 2 can be measured here."""
    return find_spec("rclpy") is not None


def measure(config: IpcConfig) -> IpcFigures:
    """Starts the sender, receives from it by every way in turns, and returns the figures."""
    with _sender_process(config) as orders, ExitStack() as opened:
        realtime = enter_realtime(config.priority)
        ways = [way for way in _ENDS if way != "ros 2" or has_ros()]
        ends = {(w, s): opened.enter_context(_receiver(w, s, config.folder)) for w in ways for s in SHAPES}
        freeze_garbage()
        seen: dict[tuple[str, str], list[float]] = {end: [] for end in ends}
        for _ in range(config.rounds):
            for (way, size), end in ends.items():
                orders.write(f"{_ENDS[way]} {size} {config.frames + WARM}\n".encode())
                orders.flush()
                seen[way, size] += _hear(end, config.frames)
    return _figures(config, realtime, seen)


def send(config: IpcConfig, orders: Iterator[str]) -> None:
    """Sends what each order says, `WAY SIZE COUNT`, until there are no more."""
    with ExitStack() as opened:
        enter_realtime(config.priority)
        ways = [way for way in dict.fromkeys(_ENDS.values()) if way != "ros" or has_ros()]
        ends = {(w, s): opened.enter_context(_sender(w, s, config.folder)) for w in ways for s in SHAPES}
        rng = np.random.default_rng(0)
        images = {s: [rng.integers(0, 255, shape, np.uint8) for _ in range(8)] for s, shape in SHAPES.items()}
        freeze_garbage()
        print("sender ready", flush=True)
        for order in orders:
            way, size, count = order.split()
            paced(ends[way, size], images[size], int(count), _HZ)


def _hear(end: Receiver, frames: int) -> list[float]:
    """Returns the latency of every image of one turn that counts and arrived [s]."""
    while end.receive(0.0) is not None:  # what a turn before lost and this way delivered late
        pass
    found, patience_s = [], _FIRST_S
    for number in range(frames + WARM):
        t_ns = end.receive(patience_s)
        if t_ns is None:
            break
        patience_s = _PATIENCE_S
        if number >= WARM:
            found.append((time.monotonic_ns() - t_ns) * 1e-9)
    return found


def _receiver(way: str, size: str, folder: str) -> Receiver:
    if way == "ros 2":
        made: Receiver = import_module("regrasp.bench_ipc_ros").RosReceiver(_topic(folder, size))
        return made
    if way == "zmq ipc":
        return ZmqReceiver(f"ipc://{folder}/{size}")
    return RingReceiver(_topic(folder, size), in_place=way == "ring, in place")


def _sender(way: str, size: str, folder: str) -> Sender:
    if way == "ros":
        made: Sender = import_module("regrasp.bench_ipc_ros").RosSender(_topic(folder, size))
        return made
    if way == "zmq":
        return ZmqSender(f"ipc://{folder}/{size}")
    return RingSender(_topic(folder, size), SHAPES[size])


def _topic(folder: str, size: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in f"bench{folder}_{size}")


@contextmanager
def _sender_process(config: IpcConfig) -> Iterator[IO[bytes]]:
    """Starts the sender before this process has real-time scheduling to hand down; yields what takes its orders."""
    command = [sys.executable, "-m", "regrasp.bench_ipc_ends", "--folder", config.folder, "--end", "sender"]
    command += ["--priority", str(config.priority)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.stdin
        finally:
            process.stdin.close()
            try:
                process.wait(10.0)
            except subprocess.TimeoutExpired:
                process.kill()


def _figures(config: IpcConfig, realtime: RealtimeReport, seen: dict[tuple[str, str], list[float]]) -> IpcFigures:
    sent = config.rounds * config.frames
    latencies = [_latency(way, size, sent, times) for (way, size), times in seen.items()]
    return IpcFigures(
        scheduler=realtime.scheduler, warnings=realtime.warnings, ros=has_ros(), latencies=tuple(latencies)
    )


def _latency(way: str, size: str, sent: int, times: list[float]) -> Latency:
    p50, p99, worst = np.percentile(times or [np.nan], [50, 99, 100]).tolist()
    return Latency(way=way, size=size, sent=sent, received=len(times), p50_s=p50, p99_s=p99, worst_s=worst)


def main() -> int:
    """Runs one end; returns its exit code."""
    config = tyro.cli(IpcConfig)
    if config.end == "sender":
        send(config, iter(sys.stdin.readline, ""))
    else:
        print(dumps(measure(config)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
