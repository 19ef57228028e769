"""The process `video_recorder`: camera rings to video files. `python -m regrasp.nodes.video_recorder --help`.

It reads pictures where the camera node left them, so nobody waits for it; what it could not keep up with is counted. It
prints `video_recorder ready` when it looks for pictures and, on SIGINT or SIGTERM, `video_recorder done` and a summary
as JSON. Stop it before the camera node: a closed ring takes its last pictures with it.
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import FrameType, TracebackType
from typing import Self

import tyro

from bridge.ring import RingFrame, RingReader
from bridge.video import VideoConfig, VideoWriter
from core.arrays import in_range
from core.errors import RegraspError
from runtime.record.codec import dumps

log = logging.getLogger(__name__)

DONE, FAILED, WRONG_USE = 0, 1, 2
_TURN_S = 0.02
"""Longest sleep between looks at all cameras [s]; rings keep pictures for more than ten times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecorderConfig:
    """Record the pictures of a robot's cameras as video."""

    out: Path
    """Folder of the videos, CAMERA.mp4 each; later ones are numbered."""
    ring_prefix: str = "regrasp"
    """Rings of images are named PREFIX-CAMERA."""
    cameras: tuple[str, ...] = ("front", "wrist")
    """Which cameras."""
    video: VideoConfig = field(default_factory=VideoConfig)
    niceness: int = 2
    """How far this process stands back behind others, 0 not at all, 19 the most; it needs a tenth of a core."""

    def __post_init__(self) -> None:
        in_range("niceness", self.niceness, 0, 19)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSummary:
    """What became of one camera's pictures."""

    camera: str
    files: tuple[str, ...]
    """In the order in which they were written."""
    frames: int
    """Pictures that were encoded."""
    dropped: int
    """Pictures that were written over before they could be read, between the first and the last one seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSummary:
    """What a whole recording came to."""

    cameras: tuple[CameraSummary, ...]
    cpu_s: float
    """Processor time from ready to done [s]."""
    wall_s: float
    """From ready to done [s]."""


class CameraRecording:
    """One camera's ring and its video, while it is open as a context manager.

    Args:
        camera: Its name.
        ring: Name of its ring.
        out: Folder of the video.
        video: How to encode.
    """

    def __init__(self, camera: str, ring: str, out: Path, video: VideoConfig) -> None:
        self._camera, self._out, self._video = camera, out, video
        self._reader = RingReader(ring)
        self._file = ExitStack()
        self._writer: VideoWriter | None = None
        self._shape: tuple[int, ...] = ()
        self._generation = self._due = 0
        self._files: list[str] = []
        self._frames = self._dropped = 0

    def __enter__(self) -> Self:
        self._reader.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()
        self._reader.__exit__(kind, error, tb)

    def wait(self, timeout_s: float) -> None:
        """Sleeps until there is a picture, at most `timeout_s` [s]."""
        self._reader.wait(timeout_s)

    def drain(self) -> None:
        """Encodes every picture that is there; raises `ArtifactError` when the file cannot be written."""
        while (frame := self._reader.next()) is not None:
            self._count(frame)
            self._frames += self._writer_for(frame).write(frame.image, frame.t_ns)

    def summary(self) -> CameraSummary:
        """Returns what became of its pictures so far."""
        return CameraSummary(
            camera=self._camera, files=tuple(self._files), frames=self._frames, dropped=self._dropped
        )  # fmt: skip

    def _count(self, frame: RingFrame) -> None:
        """Counts pictures that were missed; those from before this process, or of another writer, are not."""
        if frame.generation == self._generation:
            self._dropped += frame.number - self._due
        self._generation, self._due = frame.generation, frame.number + 1

    def _writer_for(self, frame: RingFrame) -> VideoWriter:
        """Returns the video under way, or a new one: a camera that changed its size cannot go on in the old."""
        if self._writer is None or frame.image.shape != self._shape:
            self._file.close()
            self._shape = frame.image.shape
            path = self._free_path()
            writer = VideoWriter(path, frame.image.shape[0], frame.image.shape[1], self._video)
            self._writer = self._file.enter_context(writer)
            self._files.append(str(path))
        return self._writer

    def _free_path(self) -> Path:
        names = (f"{self._camera}{f'-{number}' if number else ''}.mp4" for number in range(10**6))
        return next(path for path in (self._out / name for name in names) if not path.exists())


def record(config: VideoRecorderConfig, stopped: Event) -> VideoSummary:
    """Records until `stopped` is set and returns what it came to; raises `ArtifactError` when a disk is full."""
    os.nice(config.niceness)
    with ExitStack() as opened:
        recordings = [
            opened.enter_context(CameraRecording(camera, f"{config.ring_prefix}-{camera}", config.out, config.video))
            for camera in config.cameras
        ]
        print(f"video_recorder ready {config.out}", flush=True)
        cpu_s, wall_s = time.process_time(), time.monotonic()
        while not stopped.is_set():
            recordings[0].wait(_TURN_S)
            for recording in recordings:
                recording.drain()
        for recording in recordings:
            recording.drain()
    return VideoSummary(
        cameras=tuple(r.summary() for r in recordings),
        cpu_s=time.process_time() - cpu_s,
        wall_s=time.monotonic() - wall_s,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the process; exit codes: 0 done, 1 a file could not be written, 2 wrong use.

    Args:
        argv: Arguments without the program's name; the process's own when None.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s video_recorder %(levelname)s %(message)s")
    stopped = Event()

    def stop(_: int, __: FrameType | None) -> None:
        stopped.set()

    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, stop)
    config = tyro.cli(VideoRecorderConfig, prog="video_recorder", args=argv)
    if not config.cameras:
        print("video_recorder: no cameras; name at least one with --cameras", file=sys.stderr)
        return WRONG_USE
    try:
        summary = record(config, stopped)
    except RegraspError as error:
        print(f"video_recorder: {error}", file=sys.stderr)
        return FAILED
    print(f"video_recorder done {dumps(summary)}", flush=True)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
