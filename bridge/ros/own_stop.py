"""The supervisor's own way to stop the controller: a second connection, kept open, used by nothing else."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

from bridge.ros.arm_rules import Backoff
from bridge.worker import Threaded
from core.errors import DeviceError, RegraspError

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0


class StopLine(Protocol):
    """A connection that can stop the controller, linked by entering it."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def stop(self) -> object:
        """Stops; returns when the controller was read back as stopped, else raises `DeviceError`."""
        ...


class OwnStop:
    """Opens a stop line in a thread of its own, as soon as it is known where to; stops when told to.

    Args:
        line: Makes a stop line to an address.
    """

    def __init__(self, line: Callable[[str], StopLine]) -> None:
        self._make = line
        self._errand = Threaded[bool, bool](self._do, "stop line", stop_s=3.0)
        self._pauses = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._links = ExitStack()
        self._line: StopLine | None = None
        self._ip, self._busy, self._wants_stop = "", False, False
        self.state = "no address"
        """How it is, in words."""

    def __enter__(self) -> Self:
        self._errand.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._errand.stop():
            self._links.close()

    def aim(self, ip: str) -> None:
        """Tells where the control box is; the first address counts."""
        if ip and not self._ip:
            self._ip, self.state = ip, f"not linked to {ip} yet"

    def stop(self) -> None:
        """Wants the controller stopped; tried until it is proven."""
        self._wants_stop = True
        self._pauses.reset()
        self.state = "stopping the controller"

    def tend(self, t_ns: int) -> None:
        """Moves on at `t_ns` [ns]: links, stops, tries again; never waits."""
        if self._busy:
            self._finish()
        wanted = self._wants_stop or self._line is None
        if not self._busy and self._ip and wanted and self._pauses.due(t_ns):
            self._busy = True
            self._errand.submit(self._wants_stop)

    def _finish(self) -> None:
        try:
            stopped = self._errand.poll()
        except RegraspError as error:
            self._busy = False
            self.state = f"{'NOT STOPPED' if self._wants_stop else 'not linked'}: {error}"
            log.error("stop line: %s", self.state)
            return
        if stopped is None:
            return
        self._busy = False
        self._pauses.reset()
        if stopped:
            self._wants_stop = False
            log.warning("stop line: the controller is stopped")
        self.state = "the controller is stopped" if stopped else "linked"

    def _do(self, stop: bool) -> bool:
        """Runs in the thread: links when needed, then stops when asked; returns whether it stopped.

        A stop over a line that broke unnoticed is tried again at once over a new one.
        """
        if stop and self._line is not None:
            try:
                self._line.stop()
            except DeviceError as error:
                log.error("stop line: %s; linking again", error)
                self._drop()
            else:
                return True
        try:
            self._line = self._line or self._links.enter_context(self._make(self._ip))
            if stop:
                self._line.stop()
        except DeviceError:
            self._drop()
            raise
        return stop

    def _drop(self) -> None:
        self._line = None
        self._links.close()
