"""The file behind a ring of images: its layout, who owns it, and how stale ones are swept. Called by `bridge.ring`.

Files are mapped by hand and not through `multiprocessing.shared_memory`: until Python 3.13 that registers every
attachment with a resource tracker, which removes a ring that still is in use when any one reader exits.

A writer holds an exclusive `flock` on its file from before the file has a name; the kernel releases it whatever ends
the writer. A file that can be locked is therefore stale.
"""

import fcntl
import mmap
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import ArtifactError, ConfigError, ContractError

FOLDER = Path("/dev/shm")
_PREFIX = "regrasp-ring-"
_MAGIC = int.from_bytes(b"rgrasp_1", "little")
"""Last character: version of the layout."""
_HEADER, _SLOT_HEADER, _ALIGN = 128, 64, 64
"""Bytes; one cache line or more, so that no two words that change together share one with the pixels."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Word(IntEnum):
    """Words of the header, 8 bytes each."""

    MAGIC = 0
    GENERATION = 1
    """When the writer started, on the monotonic clock [ns]."""
    HEIGHT = 2
    WIDTH = 3
    SLOTS = 4
    PID = 5
    """Process of the writer."""
    COUNT = 6
    """Frames written."""
    CLOSED = 7
    """1 when nothing more will be written here."""
    WAKE = 8
    """Changes, in its lower half, whenever a reader should look."""


class SlotWord(IntEnum):
    """Words in front of each image."""

    SEQUENCE = 0
    """2 n + 1 while frame n is written, 2 n + 2 once it is whole."""
    T_NS = 1


class RingMap:
    """A mapped ring.

    Args:
        fd: Of a whole ring file; may be closed afterwards.
        writable: Whether this process is the writer.

    Raises:
        ArtifactError: Not a ring, or one of another version.
    """

    def __init__(self, fd: int, *, writable: bool) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self._memory = mmap.mmap(fd, 0, flags=mmap.MAP_SHARED, prot=protection)
        _touch(self._memory, writable=writable)
        self.words: NDArray[np.uint64] = np.frombuffer(self._memory, np.uint64, _HEADER // 8)
        if int(self.words[Word.MAGIC]) != _MAGIC:
            raise ArtifactError("not a ring of images, or one of another version; stop its writer and sweep the rings")
        self.slots, height, width = (int(self.words[w]) for w in (Word.SLOTS, Word.HEIGHT, Word.WIDTH))
        stride = _stride(height, width)
        self.shape = (height, width, 3)
        self.slot_words: NDArray[np.uint64] = np.ndarray(
            (self.slots, _SLOT_HEADER // 8), np.uint64, self._memory, _HEADER, (stride, 8)
        )
        self.images: NDArray[np.uint8] = np.ndarray(
            (self.slots, height, width, 3), np.uint8, self._memory, _HEADER + _SLOT_HEADER, (stride, width * 3, 3, 1)
        )
        self.wake_address = int(self.words.ctypes.data) + 8 * Word.WAKE

    def word(self, word: Word) -> int:
        """Returns one word of the header."""
        return int(self.words[word])

    def close(self) -> None:
        """Lets the memory go: it is unmapped with the last image that somebody still looks at.

        `mmap.close` would unmap it under their eyes: NumPy keeps the object alive, not its buffer.
        """
        del self.words, self.slot_words, self.images, self._memory


def ring_path(name: str) -> Path:
    """Returns where the ring of that name lives.

    Args:
        name: Letters, digits, `_`, `.` and `-`.

    Raises:
        ConfigError: The name has other characters.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"ring name {name!r}; allowed: 1 to 100 letters, digits, '_', '.', '-', a letter or digit first"
        )
    return FOLDER / f"{_PREFIX}{name}"


def create(name: str, *, height: int, width: int, slots: int) -> int:
    """Makes an empty ring under that name, in place of a stale one, and returns its locked descriptor.

    Raises:
        ConfigError: Another process writes this ring.
        OSError: There is no room in shared memory.
    """
    if min(height, width) < 1 or slots < 2:
        raise ContractError(f"ring of {slots} slots of {width} x {height} px; at least 2 slots of 1 x 1 px are needed")
    path = ring_path(name)
    fd = os.open(FOLDER, os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.posix_fallocate(fd, 0, _HEADER + slots * _stride(height, width))
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_header(fd, height=height, width=width, slots=slots)
        _remove_stale(path)
        _give_name(fd, path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_ring(name: str) -> RingMap | None:
    """Returns the ring of that name for reading, None when there is none that is still in use."""
    try:
        fd = os.open(ring_path(name), os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        ring = RingMap(fd, writable=False)
    finally:
        os.close(fd)
    if ring.word(Word.CLOSED):
        ring.close()
        return None
    return ring


def remove(name: str, fd: int) -> None:
    """Removes the name of the ring open as `fd`, unless another ring has it by now."""
    path = ring_path(name)
    with suppress(FileNotFoundError):
        if os.stat(path).st_ino == os.fstat(fd).st_ino:
            path.unlink()


def sweep_rings() -> tuple[str, ...]:
    """Removes every ring whose writer is dead and returns their names; for a stack that starts, and the doctor."""
    swept = []
    for path in sorted(FOLDER.glob(f"{_PREFIX}*")):
        with suppress(ConfigError, PermissionError):
            if _remove_stale(path):
                swept.append(path.name.removeprefix(_PREFIX))
    return tuple(swept)


def _stride(height: int, width: int) -> int:
    return _SLOT_HEADER + -(-height * width * 3 // _ALIGN) * _ALIGN


def _write_header(fd: int, *, height: int, width: int, slots: int) -> None:
    words = np.zeros(_HEADER // 8, np.uint64)
    words[Word.MAGIC], words[Word.GENERATION] = _MAGIC, time.monotonic_ns()
    words[Word.HEIGHT], words[Word.WIDTH], words[Word.SLOTS] = height, width, slots
    words[Word.PID] = os.getpid()
    os.pwrite(fd, words.tobytes(), 0)


def _give_name(fd: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with a directory given, os.link follows the link in /proc
        os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=folder, follow_symlinks=True)
    except FileExistsError as error:
        raise ConfigError(f"another process made the ring {path} at this very moment; use one writer a ring") from error
    finally:
        os.close(folder)


def _remove_stale(path: Path) -> bool:
    """Removes a ring that nobody writes and tells its readers; False when there is none."""
    with _locked(path) as fd:
        if fd is None:
            return False
        retire(fd)
        path.unlink()
        return True


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """Opens and locks the ring at `path`; None when it does not exist."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd if _is_at(fd, path) else None
    except BlockingIOError as error:
        raise ConfigError(f"ring {path} has a living writer; stop it or use another name") from error
    finally:
        os.close(fd)


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.stat(path).st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def _touch(memory: mmap.mmap, *, writable: bool) -> None:
    """Takes every page fault now: else the first image of each slot is 0.5 ms late.

    MAP_POPULATE would be left undone in a process that locked its memory as `bridge.realtime` does.
    """
    pages = np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE]
    if writable:
        pages |= np.uint8(0)
    else:
        pages.max()


def retire(fd: int) -> None:
    """Marks a ring as closed, for the readers that still map it."""
    if os.fstat(fd).st_size >= _HEADER:
        os.pwrite(fd, (1).to_bytes(8, "little"), 8 * Word.CLOSED)
