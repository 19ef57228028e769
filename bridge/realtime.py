"""Makes a process keep time: real-time scheduling, locked memory, no garbage collection. Called by nodes with a beat.

Call `enter_realtime` first in a process, before `rclpy.init`: threads inherit the scheduling of the one that starts
them, and a DDS thread of the normal class that holds Python's interpreter lock would hold up the beat for as long as
any other process has the core. Load what takes seconds inside `unhurried`; call `freeze_garbage` once all is built.
Processes started from here inherit the scheduling too: models and encoders must be started from elsewhere.
"""

import ctypes
import gc
import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from core.errors import ConfigError

_LIBC = ctypes.CDLL(None, use_errno=True)
_LOCK_CURRENT, _LOCK_FUTURE, _LOCK_ON_FAULT = 1, 2, 4
"""MCL_*: pages stay once they were touched. Without ON_FAULT every thread's whole stack would be filled at its start.

Source: Linux, include/uapi/asm-generic/mman.h."""
_SET_TIMER_SLACK, _GET_TIMER_SLACK = 29, 30
"""PR_*TIMERSLACK. Source: Linux, include/uapi/linux/prctl.h."""
_USUAL_SLACK_NS = 50_000
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""M_* of mallopt. Source: glibc, malloc/malloc.h."""
_KEPT_BYTES = 32 << 20
"""Blocks up to this are taken from memory that the process has touched before: an image costs no page faults."""
_LIMITS = "/etc/security/limits.d/90-regrasp.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """How late this process wakes from sleeps with an absolute deadline."""

    wakes: int
    period_s: float
    p50_s: float
    """Median [s]."""
    p99_s: float
    """99th percentile [s]."""
    worst_s: float
    """Largest [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealtimeReport:
    """What the system granted."""

    scheduler: str
    """E.g. "SCHED_FIFO 50" or "SCHED_OTHER"."""
    memory_locked: bool
    timer_slack_ns: int
    """How much later than asked the kernel may wake a thread of the normal class [ns]."""
    cpus: tuple[int, ...]
    """Cores it may run on."""
    jitter: Jitter
    """Measured right after."""
    warnings: tuple[str, ...]
    """What was refused, what that costs, and the remedy."""

    @property
    def realtime(self) -> bool:
        """Whether the real-time scheduling class was granted."""
        return self.scheduler.startswith("SCHED_FIFO")

    def line(self) -> str:
        """Returns all of it for people, in one line."""
        memory = "memory locked" if self.memory_locked else "memory not locked"
        late = self.jitter
        return (
            f"{self.scheduler}, {memory}, cores {','.join(map(str, self.cpus))}; "
            f"wakes late by p50 {late.p50_s * 1e6:.0f}, p99 {late.p99_s * 1e6:.0f}, worst {late.worst_s * 1e6:.0f} us "
            f"({late.wakes} wakes)"
        )


def enter_realtime(priority: int = 50, *, cpus: Sequence[int] | None = None, probe_s: float = 0.3) -> RealtimeReport:
    """Gives the calling thread, and all that it starts, real-time scheduling as far as this user may.

    Never fails for lack of permission: what was refused is a warning in the report, with the measured consequence.

    Args:
        priority: Of SCHED_FIFO, 1 to 99; 50 is above everything of the normal class, below kernel threads of 99.
        cpus: Cores to stay on; None: all.
        probe_s: How long the wake-ups are measured afterwards [s].

    Raises:
        ConfigError: A priority or core that does not exist.
    """
    low, high = os.sched_get_priority_min(os.SCHED_FIFO), os.sched_get_priority_max(os.SCHED_FIFO)
    if not low <= priority <= high:
        raise ConfigError(f"real-time priority {priority}; allowed: {low} to {high}")
    if cpus is not None:
        _stay_on(cpus)
    _prctl(_SET_TIMER_SLACK, 1)
    _keep_freed_memory()
    slow, unlocked = _schedule(priority), _lock_memory()
    jitter = measure_jitter(probe_s)
    measured = f" (measured now: wakes late by p99 {jitter.p99_s * 1e3:.2f} ms, worst {jitter.worst_s * 1e3:.2f} ms)"
    return RealtimeReport(
        scheduler="SCHED_OTHER" if slow else f"SCHED_FIFO {priority}",
        memory_locked=not unlocked,
        timer_slack_ns=_prctl(_GET_TIMER_SLACK, 0),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        jitter=jitter,
        warnings=tuple(text for text in (slow and slow + measured, unlocked) if text),
    )


def leave_realtime() -> None:
    """Puts the calling thread back: normal scheduling, usual timer slack, memory unlocked, garbage collected.

    For a process that goes on with other work, and first thing in a child that a real-time process started. Cores
    and the allocator stay as they were told to be.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    _prctl(_SET_TIMER_SLACK, _USUAL_SLACK_NS)
    _LIBC.munlockall()
    gc.unfreeze()
    gc.enable()


@contextmanager
def unhurried() -> Iterator[None]:
    """Lends the calling thread normal scheduling, for loading models and other long work of a real-time process.

    Real-time work of seconds starves the core, until the kernel takes the core away from all real-time work for 50 ms
    of every second: other processes' beats would miss. Threads started inside stay normal.
    """
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def freeze_garbage() -> None:
    """Collects once, then never again: all that lives now is left alone, cycles made later are not freed.

    A full collection over a million objects takes 0.2 to 0.5 s. Call it when everything is built, before the beat.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


def measure_jitter(seconds: float, *, period_s: float = 0.005) -> Jitter:
    """Returns how late the calling thread wakes now, on this machine, with its present scheduling.

    Args:
        seconds: How long to measure [s].
        period_s: Of the deadlines [s].
    """
    late, due = [], time.monotonic_ns()
    for _ in range(max(1, round(seconds / period_s))):
        due += round(period_s * 1e9)
        time.sleep(max(0, due - time.monotonic_ns()) * 1e-9)
        late.append(max(0, time.monotonic_ns() - due) * 1e-9)
    p50, p99 = np.percentile(late, [50, 99])
    return Jitter(wakes=len(late), period_s=period_s, p50_s=float(p50), p99_s=float(p99), worst_s=max(late))


def _stay_on(cpus: Sequence[int]) -> None:
    present = set(range(os.cpu_count() or 1))
    if not cpus or not set(cpus) <= present:
        raise ConfigError(f"cores {sorted(cpus)}; allowed: some of {sorted(present)}")
    os.sched_setaffinity(0, cpus)


def _schedule(priority: int) -> str:
    """Asks for SCHED_FIFO; returns why not, "" when granted."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return (
            "no permission for SCHED_FIFO, beats wait for whatever else runs; remedy: put '@realtime - rtprio 90' into "
            f"{_LIMITS}, 'sudo groupadd -f realtime; sudo usermod -aG realtime $USER', log in again"
        )
    return ""


def _lock_memory() -> str:
    """Locks memory; returns why not, "" when granted."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    privileged = os.geteuid() == 0
    if not privileged and limit != resource.RLIM_INFINITY:  # a lock within a limit makes later allocations fail
        return (
            f"memory not locked: the limit is {limit} bytes, a page fault may cost milliseconds when memory is short; "
            f"remedy: put '@realtime - memlock unlimited' into {_LIMITS}, log in again"
        )
    if _LIBC.mlockall(_LOCK_CURRENT | _LOCK_FUTURE | _LOCK_ON_FAULT) != 0:
        return f"memory not locked: {os.strerror(ctypes.get_errno())}; remedy: grant CAP_IPC_LOCK"
    return ""


def _keep_freed_memory() -> None:
    """Asks the allocator to give nothing back to the system; without glibc there is nobody to ask."""
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_TRIM_THRESHOLD, -1)
        _LIBC.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)


def _prctl(option: int, value: int) -> int:
    return int(_LIBC.prctl(ctypes.c_int(option), ctypes.c_ulong(value), 0, 0, 0))
