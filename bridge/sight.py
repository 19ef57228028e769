"""Which camera images are news: a frozen or black picture is none, however fresh its stamp. Used by `stream_robot`.

A picture that stays the same to the last bit while the arm moves comes from a camera that hangs; one without light
shows nothing. Neither moves the camera's time on, so the loop's limits on the age of images do the rest: it holds.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from core.arrays import Floats, Image

BLACK_LEVEL = 6.0
"""A picture whose mean value is below this, of 255, shows nothing."""
MOVED_RAD = 0.012
"""A joint that turned this far must have changed every picture of the arm [rad]."""
_STRIDE = 7
"""Every so many-th byte is looked at; a prime, so that all colours and columns take part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture and when it was taken."""

    image: Image
    """Shape (H, W, 3), RGB."""
    t_ns: int
    """Capture time on this machine's monotonic clock [ns]."""


class ImageSource(Protocol):
    """Where pictures come from: a shared-memory ring, a topic."""

    def newest(self) -> Mapping[str, Frame]:
        """Returns the newest picture of each camera that ever delivered; never waits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    digest: int
    joint_pos: Floats
    """Where the arm was when this picture first came."""
    frame: Frame
    """The last one that was news."""
    newest_t_ns: int
    frozen: bool = False
    """Whether the arm moved under this very picture: it stays so until another one comes."""


class Sight:
    """Remembers the last good picture of each camera."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def reset(self) -> None:
        """Forgets all pictures."""
        self._seen = {}

    def look(self, frames: Mapping[str, Frame], joint_pos: Floats) -> Mapping[str, Frame]:
        """Returns the last good picture of each camera, with the time at which it was last known to be true.

        Args:
            frames: The newest picture by camera.
            joint_pos: Where the arm is, shape (J,) [rad].
        """
        for name, frame in frames.items():
            before = self._seen.get(name)
            if before is None or frame.t_ns > before.newest_t_ns:
                self._take(name, frame, before, joint_pos)
        return {name: seen.frame for name, seen in self._seen.items()}

    def _take(self, name: str, frame: Frame, before: _Seen | None, joint_pos: Floats) -> None:
        sample = np.ascontiguousarray(frame.image.reshape(-1)[::_STRIDE])
        digest = zlib.crc32(sample.tobytes())
        black = float(sample.mean()) < BLACK_LEVEL
        same = before is not None and digest == before.digest
        if before is None:
            if not black:
                self._seen[name] = _Seen(digest=digest, joint_pos=joint_pos, frame=frame, newest_t_ns=frame.t_ns)
            return
        frozen = same and (before.frozen or float(np.abs(joint_pos - before.joint_pos).max()) > MOVED_RAD)
        self._seen[name] = _Seen(
            digest=digest,
            joint_pos=before.joint_pos if same else joint_pos,
            frame=before.frame if black or frozen else frame,
            newest_t_ns=frame.t_ns,
            frozen=frozen,
        )
