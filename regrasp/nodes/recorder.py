"""The process `recorder`: writes the episodes of other processes to disk. `python -m regrasp.nodes.recorder --help`.

It survives whoever hands it steps, serves one episode after another, prints `recorder ready SOCKET` when it listens,
and ends on SIGINT or SIGTERM after finishing what is open.
"""

import logging
import os
import selectors
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from bridge.sole import sole_owner
from core.arrays import in_range
from core.errors import ConfigError
from regrasp.nodes.entry import run_until_stopped
from regrasp.pictures import jpeg
from regrasp.record_session import RecordSession

log = logging.getLogger(__name__)

_TURN_S = 0.2
"""How soon a signal is noticed [s]."""
_MOST_SESSIONS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderConfig:
    """Write episodes that other processes on this machine hand over."""

    socket: Path = Path("/tmp/regrasp/recorder")
    """Path of the Unix socket."""
    free_mb: int = 200
    """An episode is not begun with less room on the disk [MB]."""
    niceness: int = 5
    """How far this process stands back behind others, 0 not at all, 19 the most."""

    def __post_init__(self) -> None:
        in_range("free_mb [MB]", self.free_mb, 0, 1e9)
        in_range("niceness", self.niceness, 0, 19)


class Recorder:
    """Serves sinks at a socket while it is open as a context manager; one thread, several episodes side by side.

    Args:
        config: Where, and with how much room.
    """

    def __init__(self, config: RecorderConfig) -> None:
        self._config = config
        self._open = ExitStack()
        self._sessions: dict[int, RecordSession] = {}

    def __enter__(self) -> Self:
        path = self._config.socket
        with ExitStack() as opened:
            opened.enter_context(sole_owner(path, "recorder"))
            self._listener = opened.enter_context(_listening(path))
            opened.callback(path.unlink, missing_ok=True)
            self._selector = opened.enter_context(selectors.DefaultSelector())
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._open = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for session in self._sessions.values():
            session.abort("the recorder was told to end")
            session.close()
        self._sessions.clear()
        self._open.close()

    def turn(self, timeout_s: float) -> None:
        """Does what there is to do, after waiting for it at most `timeout_s` [s]; call it for ever."""
        busy = [session.work() for session in self._sessions.values()]
        for key, _ in self._selector.select(0.0 if any(busy) else timeout_s):
            if key.fileobj is self._listener:
                self._welcome()
            else:
                self._sessions[key.fd].hear()
        for fd, session in list(self._sessions.items()):
            if session.over:
                self._selector.unregister(fd)
                self._sessions.pop(fd).close()

    def _welcome(self) -> None:
        link, _ = self._listener.accept()
        link.setblocking(False)
        if len(self._sessions) >= _MOST_SESSIONS:
            log.warning("more than %d sinks at once; one was turned away", _MOST_SESSIONS)
            link.close()
            return
        self._sessions[link.fileno()] = RecordSession(link, jpeg, free_mb=self._config.free_mb)
        self._selector.register(link, selectors.EVENT_READ)


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_MOST_SESSIONS)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen at {path}: {error}; choose a short path in a folder you own") from error
    return listener


def serve(config: RecorderConfig, stopped: Event) -> None:
    """Records until `stopped` is set; raises `ConfigError` when the socket cannot be had."""
    os.nice(config.niceness)
    with Recorder(config) as recorder:
        print(f"recorder ready {config.socket}", flush=True)
        while not stopped.is_set():
            recorder.turn(_TURN_S)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the process; returns its exit code.

    Args:
        argv: Arguments without the program's name; the process's own when None.
    """
    return run_until_stopped("recorder", RecorderConfig, serve, argv)


if __name__ == "__main__":
    sys.exit(main())
