"""A connection that is used for nothing but stopping, so that nothing else can be in its way. Called by the arm."""

import threading
import time
from types import TracebackType
from typing import Self

from bridge.xarm.config import XArmConfig
from bridge.xarm.link import Line
from core.errors import DeviceError, DeviceFault

STOPPED = 4
"""The controller's word for stopped."""
_TRIES = 5


class StopLine:
    """Stops the controller and proves it. Safe to call from any thread.

    Args:
        config: How to link.
    """

    def __init__(self, config: XArmConfig) -> None:
        self._config = config
        self._line = Line(config)
        self._one = threading.Lock()

    def __enter__(self) -> Self:
        self._line.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._line.__exit__(kind, error, tb)

    def stop(self) -> float:
        """Stops; returns how long it took until the controller was read back as stopped [s].

        Raises:
            DeviceError: It could not be reached, or never said that it stopped.
        """
        with self._one:
            began, trouble = time.perf_counter(), None
            for _ in range(_TRIES):
                try:
                    self._line.told("stop", lambda: int(self._line.api.set_state(STOPPED)))
                    if self.read_state() == STOPPED:
                        return time.perf_counter() - began
                except DeviceError as error:
                    trouble = error
            raise trouble or DeviceFault(
                f"told to stop {_TRIES} times and never read back as stopped",
                device=self._config.device,
                remedy="press the emergency stop button",
            )

    def probe(self) -> None:
        """Proves that the line works, without stopping anything; raises `DeviceError` when it does not."""
        if self._one.acquire(blocking=False):
            try:
                self.read_state()
            finally:
                self._one.release()

    def read_state(self) -> int:
        """Returns the controller's state, asked for now."""
        return int(self._line.asked("read the state", self._line.api.get_state))
