"""Newest camera images for other processes, through shared memory: one writer, any number of readers, nobody waits.

The camera node writes, the runtime, recorder and console read. A writer never waits for a reader: it writes over the
oldest slot. A reader copies a slot and then looks whether it was written meanwhile (a sequence lock): what it returns
is one whole frame, or the next one. The plain stores this relies on are seen in order on x86-64, where it is tested.

    with RingWriter("front", height=480, width=640) as ring:
        ring.write(image, t_ns)

A writer that is killed leaves its last frames readable, whose age tells; the next writer of that name starts a new
generation, which readers find by themselves.
"""

import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from bridge.futex import wait_word, wake_word
from bridge.ring_file import RingMap, SlotWord, Word, create, open_ring, remove, retire, ring_path
from bridge.sight import Frame
from core.arrays import Image
from core.errors import ContractError

_LOOK_S = 0.005
"""How often a reader looks for a ring that does not exist yet [s]."""
_TRIES = 8
"""Copies that may be torn in a row; each means that the writer went once round the ring in the time of one copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingFrame:
    """One image out of a ring."""

    image: Image
    """Shape (H, W, 3), as the camera gave it."""
    t_ns: int
    """Capture time on this machine's monotonic clock [ns]."""
    number: int
    """Frames this writer wrote before."""
    generation: int
    """Tells one writer from the next of that name."""


class RingView:
    """An image that is still in the ring: no copy, but the writer may write over it while it is looked at.

    Args:
        ring: The mapped ring.
        number: Of the frame.
    """

    def __init__(self, ring: RingMap, number: int) -> None:
        slot = number % ring.slots
        self._words, self._whole = ring.slot_words[slot], 2 * number + 2
        self.image: Image = ring.images[slot]
        """Shape (H, W, 3), read-only; use it, then ask `intact`."""
        self.t_ns = int(self._words[SlotWord.T_NS])
        """Capture time on the monotonic clock [ns]."""
        self.number = number
        """Frames this writer wrote before."""

    def intact(self) -> bool:
        """Whether all that was read from this view so far is one whole frame."""
        return int(self._words[SlotWord.SEQUENCE]) == self._whole


class RingWriter:
    """The one writer of a ring, while it is open as a context manager.

    Args:
        name: Of the ring: letters, digits, `_`, `.`, `-`.
        height: Of every image [px].
        width: Of every image [px].
        slots: Images kept; a reader of all frames may fall this many behind.
    """

    def __init__(self, name: str, height: int, width: int, *, slots: int = 8) -> None:
        self._name, self._shape, self._slots = name, (height, width, 3), slots
        self._count = 0
        self._ring: RingMap | None = None
        self._fd = -1

    def __enter__(self) -> Self:
        height, width, _ = self._shape
        self._fd = create(self._name, height=height, width=width, slots=self._slots)
        self._ring, self._count = RingMap(self._fd, writable=True), 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._ring is None:
            return
        retire(self._fd)
        self._wake(self._ring)
        remove(self._name, self._fd)
        self._ring.close()
        os.close(self._fd)
        self._ring, self._fd = None, -1

    def write(self, image: Image, t_ns: int) -> int:
        """Writes one image and wakes who waits; returns its number.

        Args:
            image: uint8, shape (height, width, 3).
            t_ns: When it was taken, on this machine's monotonic clock [ns].

        Raises:
            ContractError: Wrong shape or type, or the writer is not entered.
        """
        ring = self._ring
        if ring is None:
            raise ContractError(f"ring {self._name!r} is not open; enter its writer with `with`")
        if image.shape != self._shape or image.dtype != np.uint8:
            raise ContractError(
                f"image {image.dtype} {image.shape} for ring {self._name!r}; allowed: uint8 {self._shape}"
            )
        number, slot = self._count, self._count % ring.slots
        words = ring.slot_words[slot]
        words[SlotWord.SEQUENCE] = 2 * number + 1
        ring.images[slot] = image
        words[SlotWord.T_NS] = t_ns
        words[SlotWord.SEQUENCE] = 2 * number + 2
        self._count = number + 1
        ring.words[Word.COUNT] = self._count
        self._wake(ring)
        return number

    @staticmethod
    def _wake(ring: RingMap) -> None:
        ring.words[Word.WAKE] += np.uint64(1)
        wake_word(ring.wake_address)


class RingReader:
    """One reader of a ring. It may start before the writer; entering does not fail without one.

    Args:
        name: Of the ring.

    Raises:
        ConfigError: No ring can have that name.
    """

    def __init__(self, name: str) -> None:
        ring_path(name)
        self._name = name
        self._ring: RingMap | None = None
        self._due = 0
        self._open = False
        self.lost = 0
        """Frames that `next` never saw because they were written over, since it was made."""

    def __enter__(self) -> Self:
        self._open = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open = False
        self._drop()

    @property
    def generation(self) -> int:
        """The writer's start on the monotonic clock [ns]; 0 when there is none."""
        ring = self._present()
        return 0 if ring is None else ring.word(Word.GENERATION)

    def newest(self) -> RingFrame | None:
        """Returns a copy of the newest image, the same again if nothing came since.

        None before the first, after the writer closed the ring, and when the writer laps every copy.
        """
        for _ in range(_TRIES):
            view = self.view()
            if view is None:
                return None
            frame = self._copy(view)
            if frame is not None:
                return frame
        return None

    def next(self) -> RingFrame | None:
        """Returns a copy of the image after the one returned last, None when there is none yet.

        A reader that fell too far behind goes on with the oldest whole image; `lost` counts what it missed.
        """
        for _ in range(_TRIES):
            ring = self._present()
            count = 0 if ring is None else ring.word(Word.COUNT)
            if ring is None or self._due >= count:
                return None
            oldest = max(0, count - ring.slots + 1)  # the slot after the newest is being written
            self.lost += max(0, oldest - self._due)
            self._due = max(oldest, self._due)
            frame = self._copy(RingView(ring, self._due))
            if frame is not None:
                self._due += 1
                return frame
        return None

    def view(self) -> RingView | None:
        """Returns the newest image where it lies, without a copy; None before the first."""
        ring = self._present()
        count = 0 if ring is None else ring.word(Word.COUNT)
        if ring is None or count == 0:
            return None
        self._due = count
        return RingView(ring, count - 1)

    def wait(self, timeout_s: float) -> bool:
        """Sleeps until there is an image that was not returned yet; False when none came in time.

        Args:
            timeout_s: Longest sleep [s].
        """
        until = time.monotonic() + timeout_s
        while True:
            ring = self._present()
            seen = 0 if ring is None else ring.word(Word.WAKE) & 0xFFFFFFFF
            if ring is not None and ring.word(Word.COUNT) > self._due:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            if ring is None:
                time.sleep(min(left, _LOOK_S))
            else:
                wait_word(ring.wake_address, seen, left)

    def _present(self) -> RingMap | None:
        """Returns the ring of the living or last writer; finds a new one when this one was closed."""
        if not self._open:
            raise ContractError(f"ring {self._name!r} is not open; enter its reader with `with`")
        if self._ring is not None and self._ring.word(Word.CLOSED):
            self._drop()
        if self._ring is None:
            self._ring, self._due = open_ring(self._name), 0
        return self._ring

    def _copy(self, view: RingView) -> RingFrame | None:
        """Returns a frame of its own, None when it was written over meanwhile."""
        if not view.intact() or self._ring is None:
            return None
        image, t_ns = view.image.copy(), view.t_ns
        if not view.intact():
            return None
        image.setflags(write=False)
        generation = self._ring.word(Word.GENERATION)
        return RingFrame(image=image, t_ns=t_ns, number=view.number, generation=generation)

    def _drop(self) -> None:
        if self._ring is not None:
            self._ring.close()
            self._ring = None


class RingImages:
    """The newest image of each camera, each copied once; an `ImageSource` for a robot. A context manager.

    Args:
        rings: Name of the ring by camera.
    """

    def __init__(self, rings: Mapping[str, str]) -> None:
        self._readers = {camera: RingReader(name) for camera, name in rings.items()}
        self._last: dict[str, Frame] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for reader in self._readers.values():
            self._open.enter_context(reader)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._open.close()

    def newest(self) -> Mapping[str, Frame]:
        """Returns the newest picture of each camera that ever delivered; never waits."""
        for camera, reader in self._readers.items():
            frame = reader.newest() if reader.wait(0.0) else None
            if frame is not None:
                self._last[camera] = Frame(image=frame.image, t_ns=frame.t_ns)
        return dict(self._last)
