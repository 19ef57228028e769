"""`regrasp bench soak`: the main job on the running robot for a long time; memory, handles and lateness must not grow.

Starts the same processes as `regrasp up`, lets the driver live episodes until the time is over, and looks at every
process now and then. A growth is a slope over the run, after a start in which everything is loaded and touched once.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil

from bridge.ros.environment import find_profile, node_environment
from core.arrays import Floats, in_range
from regrasp.graph import Graph, GraphFailed
from regrasp.live import CADENCE
from regrasp.loopback import free_port, own_address, own_domain
from regrasp.processes import Bringup, logs_below, table

LOOK_S = 5.0
"""Time between two looks [s]."""
WARM_SHARE = 0.25
"""Share of the run that counts as its start."""
MEMORY_MB = 15.0
"""Most that a process may have grown between the start's end and the run's end [MB]."""
HANDLES = 3
"""Most that its open files and threads may have grown."""
LATE_S = 300e-6
"""Most that the 99th percentile of the beat's lateness may have grown [s]."""
MANY = 10_000
"""Seeds the driver is given: more than it can live through."""


@dataclass(frozen=True, kw_only=True)
class BenchSoakConfig:
    """Run the main job for a long time and look for growth."""

    minutes: float = 15.0
    """How long, from the first episode on [min]."""
    seed: int = 22_000
    """First seed."""
    out: Path = Path("out/soak")
    """Folder for logs, recordings and soak.json."""
    domain: int = -1
    """ROS domain, 0 to 101; -1: one that follows from the process's number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One process at one instant."""

    t_s: float
    """Since the start [s]."""
    memory_mb: float
    """Resident [MB]."""
    handles: int
    """Open files."""
    threads: int
    cpu_s: float
    """Processor time spent so far [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """What a process did over a run."""

    process: str
    memory_mb: float
    """At the end [MB]."""
    memory_grown_mb: float
    """By the straight line through the looks after the start, from its beginning to its end [MB]."""
    handles_grown: float
    threads_grown: float
    cores: float
    """Processor time over time."""

    @property
    def ok(self) -> bool:
        """Whether nothing grew by more than it may."""
        return self.memory_grown_mb <= MEMORY_MB and max(self.handles_grown, self.threads_grown) <= HANDLES


def bench_soak(config: BenchSoakConfig) -> int:
    """Prints how every process and the beat developed; returns 1 when something grew or ended."""
    in_range("minutes", config.minutes, 0.5, 24 * 60.0)
    looks, problem = _watched(config)
    growths = [_growth(name, seen) for name, seen in sorted(looks.items()) if len(seen) > 8]
    for growth in growths:
        print(_line(growth), flush=True)
    late = _lateness(config.out)
    grown_s = _slope(late[:, 0], late[:, 1]) if len(late) > 3 else float("nan")
    print(_beat_line(late, grown_s))
    ok = not problem and bool(growths) and all(g.ok for g in growths) and len(late) > 3 and grown_s <= LATE_S
    print(problem or ("nothing grew" if ok else "something grew"))
    report = {"growth": [asdict(g) for g in growths], "late_grown_s": grown_s, "problem": problem, "ok": ok}
    (config.out / "soak.json").write_text(json.dumps(report, indent=1) + "\n")
    return int(not ok)


def _watched(config: BenchSoakConfig) -> tuple[Mapping[str, list[Look]], str]:
    with own_domain(config.domain) as domain:
        return _lived(config, domain)


def _lived(config: BenchSoakConfig, domain: int) -> tuple[Mapping[str, list[Look]], str]:
    given = Bringup(
        ip=own_address(), control_port=free_port(), domain=domain, out=config.out.absolute(), episodes=MANY,
        seed=config.seed,
    )  # fmt: skip
    logs = logs_below(given.out)
    environment = node_environment(os.environ, profile=find_profile(), log_dir=logs / "ros", domain=domain)
    looks: dict[str, list[Look]] = {}
    processes = table(given)
    with Graph(processes, namespace=given.namespace, environment=environment, logs=logs) as graph:
        graph.start()
        began = time.monotonic()
        while (t_s := time.monotonic() - began) < 60.0 * config.minutes:
            try:
                ended = graph.check()
            except GraphFailed as error:
                return looks, f"after {t_s:.0f} s: {error}"
            if ended is not None:
                return looks, f"after {t_s:.0f} s: {ended}"
            for process in processes:
                looks.setdefault(process.name, []).append(_look(graph.pid(process.name), t_s))
            time.sleep(LOOK_S)
    return looks, ""


def _look(pid: int, t_s: float) -> Look:
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return Look(
            t_s=t_s, memory_mb=process.memory_info().rss / 1e6, handles=process.num_fds(),
            threads=process.num_threads(), cpu_s=times.user + times.system,
        )  # fmt: skip


def _growth(name: str, seen: list[Look]) -> Growth:
    settled = [look for look in seen if look.t_s >= WARM_SHARE * seen[-1].t_s]
    t_s = np.array([look.t_s for look in settled])
    memory, handles, threads = (
        _slope(t_s, np.array([getattr(look, field) for look in settled], dtype=np.float64))
        for field in ("memory_mb", "handles", "threads")
    )
    spent = (seen[-1].cpu_s - seen[0].cpu_s) / max(seen[-1].t_s - seen[0].t_s, 1e-9)
    return Growth(
        process=name, memory_mb=seen[-1].memory_mb, memory_grown_mb=memory, handles_grown=handles,
        threads_grown=threads, cores=spent,
    )  # fmt: skip


def _slope(t: Floats, values: Floats) -> float:
    """Returns by how much the straight line through the values rises from its first to its last abscissa."""
    return float(np.polyfit(t, values, 1)[0] * (t[-1] - t[0])) if len(t) > 1 and t[-1] > t[0] else 0.0


def _lateness(out: Path) -> Floats:
    """Returns a row an episode, in order of time: when it ended [s], p99 of lateness [s], beats missed, beats."""
    files = sorted((out / CADENCE).glob("*.json"), key=lambda file: file.stat().st_mtime)
    read = [(file.stat().st_mtime, json.loads(file.read_text())) for file in files]
    return np.array([(t, c["lateness"]["p99_s"], c["missed"], c["beats"]) for t, c in read]).reshape(-1, 4)


def _line(growth: Growth) -> str:
    verdict = "ok" if growth.ok else "GREW"
    return (
        f"{growth.process:<14}{growth.memory_mb:>7.0f} MB {growth.memory_grown_mb:+6.1f} MB  "
        f"files {growth.handles_grown:+.1f}  threads {growth.threads_grown:+.1f}  {growth.cores:.2f} cores  {verdict}"
    )


def _beat_line(late: Floats, grown_s: float) -> str:
    if not len(late):
        return "beat: no episode was lived"
    return (
        f"beat: {len(late)} episodes, p99 lateness {_us(float(np.median(late[:, 1])))} us median, "
        f"{_us(float(late[:, 1].max()))} us worst, grown by {_us(grown_s)} us; "
        f"{int(late[:, 2].sum())} of {int(late[:, 3].sum())} beats missed"
    )


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:.0f}"
