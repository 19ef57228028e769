"""Sleeping until another process writes a word of shared memory. Called by `bridge.ring`.

A futex has no owner, no name and no state of its own: whoever is killed leaves nothing locked and nothing behind, and
one call wakes any number of sleepers. A named semaphore would need one per reader, and somebody to remove it.
"""

import ctypes
import errno
import os
import platform

from core.errors import ConfigError

_SYSCALLS = {"x86_64": 202, "aarch64": 98}
"""Number of the call. Source: Linux, arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h."""
_WAIT, _WAKE = 0, 1
_EVERYBODY = 2**31 - 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


def wait_word(address: int, seen: int, timeout_s: float) -> None:
    """Sleeps while the word at `address` is `seen`, at most `timeout_s`; may return early for no reason.

    Args:
        address: Of a 4-byte word in memory that both processes map.
        seen: What the word was when the caller last looked, [0, 2^32).
        timeout_s: Longest sleep, on the monotonic clock [s].
    """
    seconds, rest = divmod(max(0.0, timeout_s), 1.0)
    limit = _Timespec(int(seconds), int(rest * 1e9))
    _futex(address, _WAIT, seen, ctypes.byref(limit))


def wake_word(address: int) -> None:
    """Wakes everybody who sleeps on the word at `address`."""
    _futex(address, _WAKE, _EVERYBODY, None)


def _futex(address: int, operation: int, value: int, limit: object) -> None:
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise ConfigError(f"no futex number for {platform.machine()}; allowed: {', '.join(_SYSCALLS)}")
    word = ctypes.c_void_p(address)
    failed = _LIBC.syscall(ctypes.c_long(number), word, operation, ctypes.c_uint32(value), limit, None, 0) < 0
    error = ctypes.get_errno()
    if failed and error not in (errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT):
        raise OSError(error, f"futex at {address:#x}: {os.strerror(error)}")
