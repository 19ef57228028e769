"""A system clock that is set forward by an hour under a running robot: a row of the fault bench.

The machine's own clock is never touched: a few lines of C (`step_clock.c`) are put before the C library of every
process of that robot. They are compiled when the row is run; without a compiler the row fails and says so.
"""

import os
import subprocess
import tempfile
from pathlib import Path

from core.errors import ConfigError
from regrasp.fault_rig import Rig
from regrasp.fault_rows import After, Row

STEP_S = 3600
"""How far the clock is set [s]."""
_FOLDER = Path(tempfile.gettempdir()) / f"regrasp-clock-{os.getpid()}"
_SOURCE = Path(__file__).with_name("step_clock.c")
_LIBRARY, _OFFSET = _FOLDER / "step_clock.so", _FOLDER / "offset"


def build() -> None:
    """Compiles what stands before the C library.

    Raises:
        ConfigError: There is no C compiler, or it refuses.
    """
    _FOLDER.mkdir(exist_ok=True)
    try:
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", str(_LIBRARY), str(_SOURCE)],
            check=True, capture_output=True, timeout=60.0,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(
            f"no stepped clock: {error}; install a C compiler (Debian: gcc) and run this row again"
        ) from error
    _OFFSET.write_text("0")


def _step(rig: Rig) -> None:
    rig.robot.spin(0.0)
    _OFFSET.write_text(str(STEP_S))


def _restore(rig: Rig) -> None:
    rig.robot.spin(0.0)
    _OFFSET.write_text("0")


CLOCK = (
    Row(group="clock", name="system clock +1 h, then back", inject=_step, hold_s=None, after=After.NO_HOLD,
        undo=_restore, build=build,
        environment={"LD_PRELOAD": str(_LIBRARY), "REGRASP_CLOCK": str(_OFFSET)}),
)  # fmt: skip
