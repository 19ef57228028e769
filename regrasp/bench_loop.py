"""`regrasp bench loop`: how well this machine keeps a 100 Hz beat while models run and pictures are rendered.

The beat runs in its own process, beside a policy server that never rests and a renderer that never rests: first half
of the comparison without real-time scheduling, then the run that counts with it, then the other half.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import RegraspError
from regrasp.bench_beat import BeatRun
from regrasp.bringup import Process
from regrasp.graph import Graph
from runtime.record.codec import loads

P99_S = 500e-6
"""Target of the 99th percentile of lateness with real-time scheduling [s]."""
_COMPARED = 1 / 3
"""Share of the time that is measured again without real-time scheduling."""
_START_S = 120.0
"""Longest time a beat process may take besides beating [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchLoopConfig:
    """Keep the 100 Hz beat under load and say how well; exit code 1 when it is not kept."""

    seconds: float = 60.0
    """How long the beat is kept with real-time scheduling [s]."""
    compare: bool = True
    """Whether the beat is also kept without real-time scheduling, half of it before and half after."""
    priority: int = 50
    """Of SCHED_FIFO."""
    task: str = "fruit_on_plate"
    """Name of the task."""
    models: Path | None = None
    """Folder of trained models; this checkout's when not given."""


def bench_loop(config: BenchLoopConfig) -> int:
    """Measures and prints; returns 1 when the beat was late beyond the target or a late command was not marked."""
    with tempfile.TemporaryDirectory(prefix="regrasp-bench-") as folder:
        endpoint, prefix = f"ipc://{folder}/policy", f"bench-loop-{os.getpid()}"
        environment = os.environ | {"OMP_NUM_THREADS": "1", "LP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        table = _load(config, endpoint, prefix)
        with Graph(table, namespace="/bench", environment=environment, logs=Path(folder) / "logs") as graph:
            graph.start()
            flags = ["--endpoint", endpoint, "--ring-prefix", prefix, "--task", config.task, *_models(config)]
            runs = [
                (realtime, _beat(flags, config, realtime=realtime, seconds=seconds, environment=environment))
                for realtime, seconds in _plan(config)
            ]
            graph.check()
    counted = next(run for realtime, run in runs if realtime)
    return verdict(counted, [run for realtime, run in runs if not realtime])


def _plan(config: BenchLoopConfig) -> Sequence[tuple[bool, float]]:
    counts = (True, config.seconds)
    other = (False, config.seconds * _COMPARED / 2)
    return (other, counts, other) if config.compare else (counts,)


def _load(config: BenchLoopConfig, endpoint: str, prefix: str) -> tuple[Process, ...]:
    models = _models(config)
    return (
        Process(
            name="policy_server", purpose="never rests", module="regrasp.nodes.policy_server",
            arguments=("--endpoint", endpoint, *models), ready="policy_server ready",
        ),
        Process(
            name="scenery", purpose="renders without rest", module="regrasp.bench_scenery",
            arguments=("--ring-prefix", prefix, "--task", config.task), ready="scenery ready",
        ),
    )  # fmt: skip


def _models(config: BenchLoopConfig) -> tuple[str, ...]:
    return () if config.models is None else ("--models", str(config.models))


def _beat(
    flags: Sequence[str], config: BenchLoopConfig, *, realtime: bool, seconds: float, environment: dict[str, str]
) -> BeatRun:
    """Runs one process that beats, prints its line, and returns what it found."""
    command = [sys.executable, "-m", "regrasp.bench_beat", *flags, "--seconds", str(seconds)]
    command += ["--priority", str(config.priority), "--realtime" if realtime else "--no-realtime"]
    before = os.getloadavg()[0]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=seconds + _START_S, check=False
    )
    if done.returncode:
        raise RegraspError(f"the beat process ended with code {done.returncode}: {done.stderr.strip()[-800:]}")
    run = loads(BeatRun, done.stdout.strip().splitlines()[-1])
    print(f"{run.report.line()}; {run.answers} chunks answered; load average {before:.1f} to {os.getloadavg()[0]:.1f}")
    for name, times in sorted(run.report.stages.items(), key=lambda item: -item[1].total_s):
        p50, p99, worst = (f"{t_s * 1e3:8.3f}" for t_s in (times.p50_s, times.p99_s, times.worst_s))
        print(f"    {name:<9} p50 {p50}  p99 {p99}  worst {worst} ms")
    for warning in run.report.warnings:
        print(f"    warning: {warning}")
    return run


def verdict(counted: BeatRun, compared: Sequence[BeatRun]) -> int:
    """Prints whether the beat was kept and returns the exit code.

    Args:
        counted: The run that asked for real-time scheduling.
        compared: Those that did not.
    """
    p99_s = counted.report.lateness.p99_s
    unmarked = sum(run.unmarked for run in (counted, *compared))
    if compared:
        slowest_s = max(run.report.lateness.p99_s for run in compared)
        print(f"p99 without real-time scheduling {slowest_s * 1e6:.0f} us, with it {p99_s * 1e6:.0f} us")
    print(f"commands sent late: {counted.report.late_sends} marked; {unmarked} not marked in all runs")
    if not counted.realtime:
        print("no permission for real-time scheduling: the target of p99 does not apply; see the warnings above")
    kept = not counted.realtime or p99_s <= P99_S
    print(f"target p99 {P99_S * 1e6:.0f} us: {'kept' if kept else 'NOT KEPT'}; cores {os.cpu_count()}")
    return 0 if kept and unmarked == 0 else 1
