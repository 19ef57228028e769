"""`regrasp bench ipc`: how long an image and a state take to another process, through the ring and by other ways."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bridge.ros.environment import find_profile, node_environment
from core.errors import RegraspError
from regrasp.bench_ipc_ends import IpcFigures, Latency, has_ros
from regrasp.loopback import own_domain
from runtime.record.codec import loads

IMAGE_P50_S, IMAGE_P99_S, STATE_P50_S = 150e-6, 350e-6, 150e-6
"""Targets through the ring on a machine of this class [s]."""
_START_S = 90.0
"""Longest time besides the sending [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchIpcConfig:
    """Send images and states to another process by every way there is, in turns; exit code 1 when the ring loses."""

    rounds: int = 6
    """Turns of each way, half a second each."""
    priority: int = 50
    """Of SCHED_FIFO, where permitted."""


def bench_ipc(config: BenchIpcConfig) -> int:
    """Measures and prints; returns 1 when the ring lost an image or was not the fastest way."""
    before = os.getloadavg()[0]
    figures = _measured(config)
    print(
        f"{figures.scheduler}, load average {before:.1f} to {os.getloadavg()[0]:.1f}, cores {os.cpu_count()}; one way,"
    )
    print("60 Hz; images of 921600 bytes, states of 258 bytes; from right before sending until it can be read")
    for warning in figures.warnings:
        print(f"warning: {warning}")
    for one in figures.latencies:
        print(_row(one, _of(figures, "ring", one.size)))
    if not figures.ros:
        print("ros 2: not measured, rclpy is not installed")
    return _verdict(figures)


def _measured(config: BenchIpcConfig) -> IpcFigures:
    with tempfile.TemporaryDirectory(prefix="regrasp-ipc-") as folder, own_domain() as domain:
        command = [sys.executable, "-m", "regrasp.bench_ipc_ends", "--folder", folder]
        command += ["--rounds", str(config.rounds), "--priority", str(config.priority)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=_environment(folder, domain), check=False,
            timeout=_START_S + 10 * config.rounds,
        )  # fmt: skip
    if done.returncode:
        raise RegraspError(f"the measuring process ended with code {done.returncode}: {done.stderr.strip()[-800:]}")
    return loads(IpcFigures, done.stdout.strip().splitlines()[-1])


def _environment(folder: str, domain: int) -> dict[str, str]:
    """Returns the environment of both ends: with ROS 2, the project's own profile."""
    base = os.environ | {"OMP_NUM_THREADS": "1"}
    if not has_ros():
        return base
    return node_environment(base, profile=find_profile(), log_dir=Path(folder), domain=domain)


def _of(figures: IpcFigures, way: str, size: str) -> Latency:
    return next(one for one in figures.latencies if (one.way, one.size) == (way, size))


def _row(one: Latency, ring: Latency) -> str:
    times = "  ".join(f"{name} {t_s * 1e6:7.0f}" for name, t_s in _times(one))
    against = f"{one.p50_s / ring.p50_s:5.1f}x / {one.p99_s / ring.p99_s:5.1f}x the ring"
    return f"{one.size:<6} {one.way:<15} {times} us  {one.received:4d} of {one.sent}  {against}"


def _times(one: Latency) -> tuple[tuple[str, float], ...]:
    return ("p50", one.p50_s), ("p99", one.p99_s), ("worst", one.worst_s)


def _verdict(figures: IpcFigures) -> int:
    image, state = _of(figures, "ring", "vga"), _of(figures, "ring", "state")
    others = [one for one in figures.latencies if one.way in ("zmq ipc", "ros 2") and one.size == "vga"]
    met = image.p50_s <= IMAGE_P50_S and image.p99_s <= IMAGE_P99_S and state.p50_s <= STATE_P50_S
    wanted = "/".join(f"{t_s * 1e6:.0f}" for t_s in (IMAGE_P50_S, IMAGE_P99_S, STATE_P50_S))
    found = "met" if met else "NOT met now"
    print(f"targets of the ring, image p50/p99, state p50, {wanted} us: {found}; the exit code does not depend on them")
    whole = image.received == image.sent and state.received == state.sent
    fastest = all(image.p50_s < one.p50_s for one in others if one.received)
    print(f"the ring lost {image.sent - image.received} images; fastest at p50: {'yes' if fastest else 'NO'}")
    return 0 if whole and fastest else 1
