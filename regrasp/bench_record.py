"""`regrasp bench record`: can this machine record its cameras as video while it works, and what does that cost.

Two rendered cameras go through shared-memory rings at a steady rate into the real video recorder in a process of its
own; afterwards every file is decoded and its frames and their times compared with what was sent.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np

from bridge.ring import RingWriter
from bridge.video import read_capture_times
from core.arrays import Image, in_range
from core.errors import RegraspError
from core.robots import EE_DELTA
from regrasp.nodes.video_recorder import VideoSummary
from regrasp.task_registry import find_task
from runtime.record.codec import loads
from sim.cameras import CAMERA_NAMES, CellCameras
from sim.world import BatchWorld

MOST_CORE = 0.15
"""Target: processor time of the encoder for two cameras of 640 x 480 at 30 Hz, as a share of one core."""
_HEIGHT, _WIDTH = 480, 640
_SCENES = 24
"""Different pictures of each camera; shown forwards and backwards, so that every picture differs a little."""
_NOISE = 3.0
"""Standard deviation of the sensor noise in every picture, of 255 levels."""
_NOISES = 7
"""Different fields of noise; a prime, so that noise and scene do not repeat together."""
_SLOTS = 30
"""Pictures each ring keeps: a second of them, so that a busy machine may take the core from the recorder that long."""
_DONE_S = 30.0
"""The recorder must end within this time [s]."""
_TIME_OFF_NS = 1000
"""A video's times are true to this [ns]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecordConfig:
    """Record two 640 x 480 cameras as video and say what it costs; exit code 1 on any drop or above 0.15 core."""

    seconds: float = 10.0
    """How long is recorded [s]."""
    rate_hz: float = 30.0
    """Pictures a second, each camera [Hz]."""
    task: str = "fruit_on_plate"
    """Task whose cell is rendered."""

    def __post_init__(self) -> None:
        in_range("seconds [s]", self.seconds, 1.0, 3600.0)
        in_range("rate_hz [Hz]", self.rate_hz, 1.0, 120.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What one recording came to."""

    sent: Mapping[str, Sequence[int]]
    """Capture times by camera [ns]."""
    decoded: Mapping[str, Sequence[int]]
    """Capture times of the decoded frames by camera [ns]."""
    summary: VideoSummary
    playable_s: float
    """From the request to stop to a closed file whose first frame was decoded [s]."""
    megabytes: float

    @property
    def core_share(self) -> float:
        """Processor time of the encoder per wall time, in cores."""
        return self.summary.cpu_s / self.summary.wall_s

    @property
    def drops(self) -> int:
        """Pictures sent that are not in the files, or are at a wrong time."""
        return sum(len(set(times)) - _found(times, self.decoded[camera]) for camera, times in self.sent.items())


def bench_record(config: BenchRecordConfig) -> int:
    """Measures and prints; returns 1 when a picture was lost or the encoder took more than its share of a core."""
    with tempfile.TemporaryDirectory(prefix="regrasp-bench-") as folder:
        found = measure(config, Path(folder))
    frames = sum(map(len, found.decoded.values()))
    print(f"two cameras, {_WIDTH} x {_HEIGHT} at {config.rate_hz:g} Hz, {config.seconds:g} s, rendered and noisy")
    for camera, times in found.sent.items():
        print(f"  {camera:<8} {len(times):6d} sent {len(found.decoded[camera]):6d} decoded from its file")
    print(f"frames kept        {frames:10d}")
    print(f"frames dropped     {found.drops:10d}      allowed 0")
    print(f"encoder, in cores  {found.core_share:10.3f}      allowed {MOST_CORE}")
    print(f"playable after     {found.playable_s:10.3f} s")
    print(f"size               {found.megabytes:10.2f} MB")
    late = found.core_share > MOST_CORE
    print("passed" if not found.drops and not late else "FAILED")
    return 1 if found.drops or late else 0


def measure(config: BenchRecordConfig, folder: Path) -> Recorded:
    """Records as configured and returns what came of it.

    Args:
        config: How long and how fast.
        folder: For the videos.

    Raises:
        RegraspError: The recorder failed.
    """
    pictures, prefix = moving_pictures(config.task), f"bench-record-{os.getpid()}"
    with ExitStack() as opened:
        recorder = opened.enter_context(_recorder(prefix, folder))
        rings = {c: opened.enter_context(RingWriter(f"{prefix}-{c}", _HEIGHT, _WIDTH, slots=_SLOTS)) for c in pictures}
        sent = _play(config, pictures, rings)
        stopped = time.monotonic()
        recorder.send_signal(signal.SIGTERM)
        summary = _summary(recorder)
        files = {c.camera: [Path(name) for name in c.files] for c in summary.cameras}
        for path in (path for paths in files.values() for path in paths):
            next(read_capture_times(path))
        playable_s = time.monotonic() - stopped
    decoded = {camera: [t for path in paths for t in read_capture_times(path)] for camera, paths in files.items()}
    size = sum(path.stat().st_size for paths in files.values() for path in paths)
    return Recorded(sent=sent, decoded=decoded, summary=summary, playable_s=playable_s, megabytes=size * 1e-6)


def moving_pictures(task: str) -> dict[str, list[Image]]:
    """Returns pictures by camera, (480, 640, 3): an arm that moves through the task's cell, seen by noisy sensors."""
    world, rng = BatchWorld(find_task(task).make(), 1), np.random.default_rng(0)
    world.reset(np.array([0]), np.array([0]))
    noises = [np.rint(rng.normal(0.0, _NOISE, (_HEIGHT, _WIDTH, 3))).astype(np.int16) for _ in range(_NOISES)]
    heading = EE_DELTA.still(1.0) + np.array([0.01, 0.012, -0.008, 0.0, 0.0, 0.05, 0.0])
    top = (_WIDTH - _HEIGHT) // 2
    seen: dict[str, list[Image]] = {camera: [] for camera in CAMERA_NAMES}
    with CellCameras(world, size_px=_WIDTH) as cameras:
        for scene in range(_SCENES):
            world.step(heading[None])
            for camera, image in cameras.render(world, 0, CAMERA_NAMES).items():
                noisy = image[top : top + _HEIGHT] + noises[scene % _NOISES]
                seen[camera].append(np.clip(noisy, 0, 255).astype(np.uint8))
    return {camera: images + images[-2:0:-1] for camera, images in seen.items()}


def _play(
    config: BenchRecordConfig, pictures: Mapping[str, Sequence[Image]], rings: Mapping[str, RingWriter]
) -> dict[str, list[int]]:
    """Writes every camera's pictures into its ring at the rate and returns when each was taken [ns]."""
    sent: dict[str, list[int]] = {camera: [] for camera in pictures}
    start_ns, period_ns = time.monotonic_ns(), 1e9 / config.rate_hz
    shown = zip(*(cycle(images) for images in pictures.values()), strict=True)
    for count, images in zip(range(round(config.seconds * config.rate_hz)), shown, strict=False):
        time.sleep(max(0.0, start_ns + count * period_ns - time.monotonic_ns()) * 1e-9)
        for camera, image in zip(pictures, images, strict=True):
            t_ns = time.monotonic_ns()
            rings[camera].write(image, t_ns)
            sent[camera].append(t_ns)
    return sent


@contextmanager
def _recorder(prefix: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """The real recorder in its own process; ended on leaving, whatever happened."""
    command = [sys.executable, "-m", "regrasp.nodes.video_recorder", "--out", str(folder), "--ring-prefix", prefix]
    with subprocess.Popen([*command, "--cameras", *CAMERA_NAMES], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline().startswith("video_recorder ready"):
                raise RegraspError(f"the video recorder ended with code {process.wait(_DONE_S)} before it was ready")
            yield process
        finally:
            process.kill()


def _summary(process: "subprocess.Popen[str]") -> VideoSummary:
    words, _ = process.communicate(timeout=_DONE_S)
    head = "video_recorder done "
    if process.returncode or not words.startswith(head):
        raise RegraspError(f"the video recorder ended with code {process.returncode}; see its words above")
    return loads(VideoSummary, words.removeprefix(head))


def _found(sent: Sequence[int], decoded: Sequence[int]) -> int:
    """Returns how many of the capture times sent are those of a decoded frame, to a microsecond [ns]."""
    kept = np.sort(np.array(decoded, dtype=np.int64))
    wanted = np.array(sorted(set(sent)), dtype=np.int64)
    if not kept.size:
        return 0
    near = kept[np.searchsorted(kept, wanted, side="right").clip(1) - 1]
    return int((np.abs(near - wanted) <= _TIME_OFF_NS).sum())
