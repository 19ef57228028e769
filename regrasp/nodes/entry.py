"""How a process without a ROS node begins and ends. Called by the executables of this folder."""

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from threading import Event
from types import FrameType
from typing import TypeVar

import tyro

from core.errors import RegraspError

DONE, WRONG_USE = 0, 2

C = TypeVar("C")


def run_until_stopped(
    name: str, config: type[C], serve: Callable[[C, Event], None], argv: Sequence[str] | None
) -> int:  # fmt: skip
    """Reads the flags and serves until SIGINT or SIGTERM; exit codes: 0 done, 2 wrong use.

    Args:
        name: Of the process.
        config: Dataclass of its flags.
        serve: Serves until the event is set.
        argv: Arguments without the program's name; the process's own when None.
    """
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {name} %(levelname)s %(message)s")
    stopped = Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop)
    try:
        serve(tyro.cli(config, prog=name, args=argv), stopped)
    except RegraspError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return WRONG_USE
    return DONE
