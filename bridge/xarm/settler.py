"""Brings an arm to rest beat by beat after `hold` was called once, beside whoever called it. Used by the arm."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)


class Settler:
    """A named thread that beats while there is something to bring to rest; runs while it is entered.

    Args:
        beat: One step towards rest; returns whether there are more.
        beat_s: Time between two steps [s].
    """

    def __init__(self, beat: Callable[[], bool], beat_s: float) -> None:
        self._beat, self._beat_s = beat, beat_s
        self._asked, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="xarm settler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._asked.set()
        self._thread.join(timeout=2.0)
        if self._thread.is_alive():
            log.warning("thread %s still waits for the box and was left behind", self._thread.name)

    def start(self) -> None:
        """Starts; returns at once. Does nothing while it is under way."""
        self._asked.set()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            due = time.monotonic() + self._beat_s
            while not self._over.is_set():
                time.sleep(max(0.0, due - time.monotonic()))
                if not self._beat():
                    break
                due = max(due, time.monotonic()) + self._beat_s
            if self._over.is_set():
                return
