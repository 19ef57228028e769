"""Camera pictures to H.264 video while they come, in pieces that outlive a kill -9, each at its true capture time.

An MP4 of self-contained fragments: what was written is playable at any moment, at most the last fragment is lost.
Called by `regrasp.nodes.video_recorder`: encoding needs a process of its own, in the beat's it would cost it its time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.stream import VideoStream

from core.arrays import Image, in_range
from core.errors import ArtifactError, ContractError

_TICK = Fraction(1, 1_000_000)
"""Unit of the file's times [s]."""
_TICK_NS = 1000
_START = "regrasp capture start [monotonic ns] "
"""Before the first frame's capture time, in the file's comment."""
_NO_RATE = 30
"""What the encoder is told; true times are in the frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoConfig:
    """How pictures are encoded."""

    crf: int = 23
    """Constant rate factor of x264: 0 without loss, 51 the worst."""
    preset: str = "ultrafast"
    """Preset of x264.

    Source: measured on this project's scenes, ultrafast takes 0.09 core for two 640 x 480 cameras at 30 Hz.
    """
    group: int = 2
    """Frames from one whole picture to the next: 2 makes any frame cheap to reach when learning from it."""
    fragment_s: float = 0.5
    """Length of a fragment [s]: what a kill -9 loses at most."""

    def __post_init__(self) -> None:
        in_range("crf", self.crf, 0, 51)
        in_range("group [frames]", self.group, 1, 600)
        in_range("fragment_s [s]", self.fragment_s, 0.05, 60.0)


class VideoWriter:
    """Writes one camera's pictures to one file. Enter it to create the file; leaving finishes it.

    Args:
        path: Where, ending in .mp4; must not exist yet, its folder is made.
        height: Of every picture, even [px].
        width: Of every picture, even [px].
        config: How to encode; the usual way when None.
    """

    def __init__(self, path: Path, height: int, width: int, config: VideoConfig | None = None) -> None:
        if height % 2 or width % 2 or min(height, width) < 16 or path.suffix != ".mp4":
            raise ContractError(
                f"video {path.name} of {width} x {height} px; allowed: .mp4, both even and at least 16 px"
            )
        self._path, self._shape, self._config = path, (height, width, 3), config or VideoConfig()
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._start_ns = self._last_tick = 0
        self.frames = 0
        """Pictures taken."""

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            raise ArtifactError(f"{self._path} exists already; recordings are never overwritten")
        config = self._config
        micros = round(config.fragment_s * 1e6)
        muxing = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "min_frag_duration": str(micros)}
        self._container = av.open(str(self._path), "w", format="mp4", options={**muxing, "flush_packets": "1"})
        self._stream = self._container.add_stream("libx264", rate=_NO_RATE)
        stream, (stream.height, stream.width, _) = self._stream, self._shape
        stream.pix_fmt, stream.time_base, stream.codec_context.time_base = "yuv420p", _TICK, _TICK
        stream.codec_context.gop_size, stream.codec_context.thread_count = config.group, 1
        stream.options = {"preset": config.preset, "crf": str(config.crf), "tune": "zerolatency"}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def write(self, image: Image, t_ns: int) -> bool:
        """Encodes one picture; returns False, without it, when it is no newer than the one before.

        Args:
            image: uint8 RGB, shape (height, width, 3).
            t_ns: When it was taken, on the monotonic clock [ns].

        Raises:
            ContractError: Wrong shape, or the writer is not entered.
            ArtifactError: The file cannot be written, e.g. because the disk is full.
        """
        container, stream = self._opened()
        if image.shape != self._shape:
            raise ContractError(f"picture of {image.shape} for a video of {self._shape}")
        if not self.frames:
            self._start_ns, self._last_tick = t_ns, -1
            container.metadata["comment"] = f"{_START}{t_ns}"
        tick = (t_ns - self._start_ns) // _TICK_NS
        if tick <= self._last_tick:
            return False
        frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base, self._last_tick = tick, _TICK, tick
        self._mux(container, stream, frame)
        self.frames += 1
        return True

    def close(self) -> None:
        """Finishes the file; may be called twice."""
        if self._container is None or self._stream is None:
            return
        container, stream, self._container, self._stream = self._container, self._stream, None, None
        try:
            if self.frames:
                self._mux(container, stream, None)
        finally:
            container.close()

    def _opened(self) -> tuple[OutputContainer, VideoStream]:
        if self._container is None or self._stream is None:
            raise ContractError(f"{self._path} is not open; enter the writer with `with` before writing")
        return self._container, self._stream

    def _mux(self, container: OutputContainer, stream: VideoStream, frame: av.VideoFrame | None) -> None:
        try:
            container.mux(stream.encode(frame))
        except OSError as error:
            raise ArtifactError(f"{self._path} cannot be written after {self.frames} frames: {error}") from error


def read_capture_times(path: Path) -> Iterator[int]:
    """Decodes a video and yields each frame's capture time on the recording machine's monotonic clock [ns].

    Times are true to a microsecond.

    Raises:
        ArtifactError: No such file, or none that `VideoWriter` made.
    """
    try:
        container = av.open(str(path))
    except (OSError, av.error.FFmpegError) as error:
        raise ArtifactError(f"{path} is no video, or was killed before its first fragment: {error}") from error
    with container:
        start_ns = _start_ns(path, container)
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            yield start_ns + round(frame.pts * frame.time_base / _TICK) * _TICK_NS


def _start_ns(path: Path, container: InputContainer) -> int:
    comment = container.metadata.get("comment", "")
    if not comment.startswith(_START) or not comment.removeprefix(_START).isdigit():
        raise ArtifactError(f"{path} does not say when it was taken; it was not recorded by this project")
    return int(comment.removeprefix(_START))
