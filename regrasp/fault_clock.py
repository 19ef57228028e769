"""A system clock that is set forward by an hour under a running robot: rows of the fault bench.

The machine's own clock is never touched: libfaketime (Debian: `faketime`) is put before the C library of every process.
"""

import os
import tempfile
from pathlib import Path

from core.errors import ConfigError
from regrasp.fault_rig import Rig
from regrasp.fault_rows import After, Row

STEP = "+3600"
"""How far the clock is set [s], in libfaketime's words."""
_PLACES = ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")
_FILE = Path(tempfile.gettempdir()) / f"regrasp-clock-{os.getpid()}"


def _library() -> str:
    return next((place for place in _PLACES if Path(place).exists()), "")


def _step(rig: Rig) -> None:
    """Sets the clock of every process forward; refuses when it cannot."""
    if not _library():
        raise ConfigError("libfaketime is not installed; `sudo apt-get install faketime`, then run this row again")
    rig.robot.spin(0.0)
    _FILE.write_text(f"{STEP}\n")


def _restore(rig: Rig) -> None:
    rig.robot.spin(0.0)
    _FILE.unlink(missing_ok=True)


CLOCK = (
    Row(group="clock", name="system clock +1 h", inject=_step, hold_s=None, after=After.NO_HOLD, undo=_restore,
        environment={"LD_PRELOAD": _library(), "FAKETIME": "+0", "FAKETIME_TIMESTAMP_FILE": str(_FILE),
                     "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}),
)  # fmt: skip
"""Without libfaketime the row fails and says so: what was not tried is not as expected."""
