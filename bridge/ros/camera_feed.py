"""One camera's thread: opens its source, reads it, writes the shared-memory ring, opens again after trouble.

An old picture is never sent again: a silent source gives no pictures, and says so. Called by the camera node.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from bridge.ring import RingWriter
from bridge.ros.arm_rules import Backoff
from bridge.ros.camera_source import FrameSource
from bridge.sight import Frame
from core.errors import RegraspError

log = logging.getLogger(__name__)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 2.0
_STOP_S = 3.0


class CameraFeed:
    """Pictures of one camera, while it is open as a context manager.

    Args:
        name: Of the camera.
        ring: Name of the ring it writes.
        source: Makes the source; called again after every trouble.
    """

    def __init__(self, name: str, ring: str, source: Callable[[], FrameSource]) -> None:
        self._name, self._ring_name, self._source = name, ring, source
        self._over = threading.Event()
        self._fresh = threading.Event()
        self._thread: threading.Thread | None = None
        self._newest: Frame | None = None
        self._ring: RingWriter | None = None
        self._size = (0, 0)
        self._rings = ExitStack()
        self.trouble = "no picture yet"
        """Why there are no pictures, "" while there are."""
        self.count = 0
        """Pictures so far."""

    def __enter__(self) -> Self:
        self._over.clear()
        self._thread = threading.Thread(target=self._run, name=f"camera {self._name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=_STOP_S)
            if self._thread.is_alive():
                log.warning("camera %s still reads after %.0f s and was left behind", self._name, _STOP_S)

    def take(self) -> Frame | None:
        """Returns the newest picture once, else None."""
        if not self._fresh.is_set():
            return None
        self._fresh.clear()
        return self._newest

    def silent_s(self) -> float:
        """Returns the age of the newest picture [s]; infinite without any."""
        return float("inf") if self._newest is None else (time.monotonic_ns() - self._newest.t_ns) * 1e-9

    def _run(self) -> None:
        pauses = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        with self._rings:
            while not self._over.is_set():
                if not pauses.due(time.monotonic_ns()):
                    self._over.wait(0.02)
                    continue
                try:
                    with self._source() as source:
                        self._read(source, pauses)
                except RegraspError as error:
                    if not self.trouble:
                        log.error("%s", error)
                    self.trouble = str(error)

    def _read(self, source: FrameSource, pauses: Backoff) -> None:
        while not self._over.is_set():
            frame = source.read()
            if frame is None:
                continue
            self._write(frame)
            self._newest, self.trouble = frame, ""
            self.count += 1
            self._fresh.set()
            pauses.reset()

    def _write(self, frame: Frame) -> None:
        """Writes the ring; a picture of another size starts a new one."""
        height, width = frame.image.shape[:2]
        if self._ring is None or (height, width) != self._size:
            self._rings.close()
            self._ring = self._rings.enter_context(RingWriter(self._ring_name, height, width))
            self._size = (height, width)
        self._ring.write(frame.image, frame.t_ns)
