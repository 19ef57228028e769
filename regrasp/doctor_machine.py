"""Can this machine keep time with a robot? What the doctor checks of its kernel, memory and clock."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

from regrasp.doctor_check import Check

SHARED_MEMORY = Path("/dev/shm")
SHARED_MEMORY_GB = 0.5
"""What a running robot takes there: 32 MiB a process for the middleware, and rings of images [GB]."""
TIMEOUT_S = 30.0
_PROBE = """
from bridge.realtime import enter_realtime
report = enter_realtime()
print(report.line(), *report.warnings, sep="\\n")
raise SystemExit(not report.realtime)
"""
_TIME_ERROR = 5
"""What adjtimex returns of a clock that follows nothing. Source: Linux, include/uapi/linux/timex.h."""
_TIMEX_BYTES = 512
"""More than struct timex takes on any machine."""


def check_realtime() -> Check:
    """Checks whether this user may run the beat at a real-time priority, by doing it, and how late it then wakes.

    A robot does run without: a beat that is missed holds the arm. A loaded machine then misses many.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    measured, *warnings = done.stdout.strip().splitlines() or [f"cannot be tried: {done.stderr.strip()[-200:]}"]
    return Check(
        name="realtime", ok=done.returncode == 0, found=measured,
        remedy=" ".join(warnings) or "install regrasp again, then look once more", required=False,
    )  # fmt: skip


def check_shared_memory(folder: Path = SHARED_MEMORY, *, needed: bool) -> Check:
    """Checks the room for the middleware's and the cameras' shared memory."""
    free = shutil.disk_usage(folder).free / 1e9 if folder.is_dir() else 0.0
    return Check(
        name="shm", ok=free >= SHARED_MEMORY_GB, found=f"{free:.1f} GB free at {folder}",
        remedy=f"free {SHARED_MEMORY_GB} GB there; a container is given it with --shm-size=1g, or --ipc=host",
        required=needed,
    )  # fmt: skip


def check_clock() -> Check:
    """Checks that the system's clock follows a reference; ages and deadlines here never depend on it, logs do."""
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))  # all zeros: changes nothing
    found = "the kernel does not say" if state < 0 else "not synchronised" if state == _TIME_ERROR else "synchronised"
    return Check(
        name="clock", ok=found == "synchronised", found=found,
        remedy="`sudo apt-get install chrony`: else times in recordings do not match those of other machines",
        required=False,
    )  # fmt: skip
