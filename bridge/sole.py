"""Keeps a second server off a socket's path, which the operating system would let it take over without a word."""

import fcntl
from contextlib import ExitStack
from pathlib import Path

from core.errors import ConfigError


def sole_owner(socket: Path, what: str) -> ExitStack:
    """Returns a context that holds the path for this process until it is left, or the process ends in any way.

    Args:
        socket: Path of a socket; its folder is made, a file `.lock` beside it stays.
        what: Who would own it, for the error.

    Raises:
        ConfigError: Another process holds it.
    """
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    held = ExitStack()
    file = held.enter_context(socket.with_name(f"{socket.name}.lock").open("w"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        held.close()
        raise ConfigError(f"another {what} already serves at {socket}; stop it first") from error
    return held
