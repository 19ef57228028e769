"""Steps on their way to the recorder: a bounded ring of records in memory that both processes share.

The beat's process puts records in and never waits; the recorder takes them out. What was put in whole outlives the
process that put it, because the recorder has the memory too. Lock-free with one writer and one reader: each side alone
advances its own counter, after the bytes; x86-64, where it is tested, keeps that order.
"""

import fcntl
import mmap
import os
from collections.abc import Mapping
from contextlib import ExitStack
from enum import IntEnum
from types import TracebackType
from typing import Self

import msgpack
import numpy as np

from bridge.wire_fields import Fields, unpack
from core.arrays import Image
from core.errors import BadAnswer, ContractError

_MAGIC = 0x52475250_00000001
"""Of this layout, version 1."""
_HEAD_BYTES = 4096
_WORD = 8
_LENGTHS = 2 * _WORD
"""Before each record: its length in all, and that of its text and image list."""
_SKIP = 0
"""A length that says: the rest of the memory is unused, go on at its start."""
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_MOST_HEAD = 32 << 20
"""Longest text of a record [bytes]."""


class Word(IntEnum):
    """Counters at the memory's start, each a uint64."""

    MAGIC = 0
    PUT_BYTES = 1
    """Bytes that were put in since the start; the writer's."""
    TAKEN_BYTES = 2
    """Bytes that were taken out since the start; the reader's."""
    PUT = 3
    """Steps that were put in; the writer's."""
    KEPT = 4
    """Steps that are on disk; the reader's."""


class RecordRing:
    """The shared memory, mapped; open it as a context manager.

    Args:
        fd: A sealed memory file, as made by `new_memory`; closed on leaving.

    Raises:
        ContractError: It is not such a memory.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size - _HEAD_BYTES
        if self._size < _HEAD_BYTES or fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise ContractError(f"memory of {self._size} bytes without seals; make it with `new_memory`")

    def __enter__(self) -> Self:
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        self._map = mmap.mmap(self._fd, self._size + _HEAD_BYTES, flags=flags)
        self._words = np.frombuffer(self._map, dtype=np.uint64, count=len(Word))
        self._bytes = np.frombuffer(self._map, dtype=np.uint8, offset=_HEAD_BYTES)
        if self.word(Word.MAGIC) != _MAGIC:
            raise ContractError(f"memory of layout {self.word(Word.MAGIC):#x}; this release reads {_MAGIC:#x}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        del self._words, self._bytes
        self._map.close()
        os.close(self._fd)

    def word(self, which: Word) -> int:
        """Returns a counter."""
        return int(self._words[which])

    def advance(self, which: Word, value: int) -> None:
        """Sets a counter; the caller must be the side it belongs to."""
        self._words[which] = value

    def put(self, text: bytes, images: Mapping[str, Image]) -> bool:
        """Puts one record in, or returns False when there is no room for it now.

        Args:
            text: JSON of a step, or of the episode's meta.
            images: By camera, shape (H, W, 3).
        """
        shapes = {camera: list(image.shape[:2]) for camera, image in images.items()}
        head = msgpack.packb({"text": text, "images": shapes})
        need = _padded(_LENGTHS + len(head) + sum(image.size for image in images.values()))
        put, at = self.word(Word.PUT_BYTES), self.word(Word.PUT_BYTES) % self._size
        skip = self._size - at if at + need > self._size else 0
        if need > self._size or put + skip + need - self.word(Word.TAKEN_BYTES) > self._size:
            return False
        if skip:
            self._number_at(at)[0] = _SKIP
            at = 0
        self._number_at(at)[:] = (need, len(head))
        at = self._fill(at + _LENGTHS, np.frombuffer(head, dtype=np.uint8))
        for image in images.values():
            at = self._fill(at, image.reshape(-1))
        self.advance(Word.PUT_BYTES, put + skip + need)
        return True

    def peek(self) -> tuple[bytes, dict[str, Image]] | None:
        """Returns the oldest record's text and images, None when all were taken; `take` lets its room be used again.

        Raises:
            BadAnswer: What lies there is no record.
        """
        at = self._oldest()
        if at is None:
            return None
        need, length = (int(n) for n in self._number_at(at))
        start = at + _LENGTHS
        if not _LENGTHS < need <= self._size - at or not 0 < length <= need - _LENGTHS:
            raise BadAnswer(f"record of {need} bytes with a head of {length}; the memory holds {self._size}")
        head = unpack(self._bytes[start : start + length].tobytes(), _MOST_HEAD)
        text, shapes = head.blob("text"), head.inside("images")
        images = self._images(shapes, start + length, at + need)
        head.end()
        return text, images

    def take(self) -> None:
        """Takes out the record that `peek` returned."""
        at = self._oldest()
        if at is not None:
            self.advance(Word.TAKEN_BYTES, self.word(Word.TAKEN_BYTES) + int(self._number_at(at)[0]))

    def _oldest(self) -> int | None:
        """Returns where the oldest record begins, None without one; steps over an unused rest."""
        taken, put = self.word(Word.TAKEN_BYTES), self.word(Word.PUT_BYTES)
        at = taken % self._size
        if taken < put and int(self._number_at(at)[0]) == _SKIP:
            taken += self._size - at
            self.advance(Word.TAKEN_BYTES, taken)
            at = 0
        return at if taken < put else None

    def _images(self, shapes: Fields, at: int, end: int) -> dict[str, Image]:
        images = dict[str, Image]()
        for camera in shapes.names():
            size = shapes.wholes(camera)
            count = size[0] * size[1] * 3 if len(size) == 2 and min(size) > 0 else 0
            if not 0 < count <= end - at:
                raise BadAnswer(f"image of {camera!r} of {size} px does not fit its record")
            images[camera] = self._bytes[at : at + count].reshape(size[0], size[1], 3).copy()
            at += count
        return images

    def _fill(self, at: int, data: Image) -> int:
        self._bytes[at : at + data.size] = data
        return at + data.size

    def _number_at(self, at: int) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
        return self._bytes[at : at + _LENGTHS].view(np.uint64)


def new_memory(size: int) -> int:
    """Returns the descriptor of a fresh sealed memory file for `size` bytes of records; the caller closes it.

    It cannot be shrunk by anyone, so that the side that maps it is safe from the other.
    """
    with ExitStack() as undo:
        fd = os.memfd_create("regrasp-records", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        undo.callback(os.close, fd)
        os.ftruncate(fd, _HEAD_BYTES + _padded(size))
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        os.pwrite(fd, _MAGIC.to_bytes(_WORD, "little"), 0)
        undo.pop_all()
    return fd


def _padded(size: int) -> int:
    """Rounds up so that the two numbers before each record always fit before the end."""
    return -(-size // _LENGTHS) * _LENGTHS
