"""Camera rings to video by the real process: every picture, at its time, also when the process is killed."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from bridge.ring import RingWriter
from bridge.video import VideoConfig, VideoWriter, read_capture_times
from core.arrays import Image
from core.errors import ArtifactError, ContractError
from regrasp.bench_record import BenchRecordConfig, measure
from regrasp.nodes.video_recorder import VideoSummary
from runtime.record.codec import loads

PATIENCE_S = 20.0


class VideoProcess:
    """A real video recorder of one camera."""

    def __init__(self, folder: Path, name: str) -> None:
        self.prefix, self.out = f"{name}-{os.getpid()}", folder
        command = [sys.executable, "-m", "regrasp.nodes.video_recorder", "--out", str(folder), "--cameras", "front"]
        self._words = (folder / f"{name}.log").open("w+")
        self.child = subprocess.Popen(
            [*command, "--ring-prefix", self.prefix, "--niceness", "0"],
            stdout=subprocess.PIPE, stderr=self._words, text=True,
        )  # fmt: skip
        assert self.child.stdout is not None
        assert self.child.stdout.readline().startswith("video_recorder ready")

    def done(self) -> VideoSummary:
        self.child.terminate()
        words, _ = self.child.communicate(timeout=PATIENCE_S)
        assert self.child.returncode == 0
        return loads(VideoSummary, words.removeprefix("video_recorder done "))

    def said(self) -> str:
        self._words.seek(0)
        return self._words.read()

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate(timeout=PATIENCE_S)
        self._words.close()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[VideoProcess]:
    made = VideoProcess(tmp_path, "video")
    yield made
    made.close()


def picture(count: int, height: int = 64, width: int = 96) -> Image:
    """A bright bar that wanders, so that a frame tells its number."""
    image = np.full((height, width, 3), 40, dtype=np.uint8)
    at = (count * 4) % (width - 8)
    image[:, at : at + 8] = (230, 120, 20)
    return image


def until(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def play(ring: RingWriter, counts: range, **size: int) -> list[int]:
    """Writes pictures at 100 Hz and returns when each was taken [ns]."""
    taken = []
    for count in counts:
        taken.append(time.monotonic_ns())
        ring.write(picture(count, **size), taken[-1])
        time.sleep(0.01)
    return taken


def times_in(path: Path) -> list[int]:
    """Capture times in a video so far, none while it cannot be opened yet."""
    try:
        return list(read_capture_times(path))
    except ArtifactError:
        return []


def same(times: list[int], others: list[int]) -> bool:
    return len(times) == len(others) and all(abs(a - b) <= 1000 for a, b in zip(times, others, strict=True))


def test_every_picture_is_in_the_file_at_its_capture_time(recorder, tmp_path):
    with RingWriter(f"{recorder.prefix}-front", 64, 96, slots=64) as ring:
        taken = play(ring, range(60))
        assert until(lambda: len(times_in(tmp_path / "front.mp4")) > 30)
        summary = recorder.done()
    assert same(times_in(tmp_path / "front.mp4"), taken)
    (front,) = summary.cameras
    assert (front.camera, front.frames, front.dropped) == ("front", 60, 0)
    assert 0.0 < summary.cpu_s < summary.wall_s + 1.0


def test_a_kill_9_loses_at_most_the_last_fragment_and_the_next_one_overwrites_nothing(recorder, tmp_path):
    with RingWriter(f"{recorder.prefix}-front", 64, 96, slots=200) as ring:
        taken = play(ring, range(150))
        assert until(lambda: len(times_in(tmp_path / "front.mp4")) > 60)
        recorder.child.send_signal(signal.SIGKILL)
        recorder.child.wait(PATIENCE_S)
        kept = times_in(tmp_path / "front.mp4")
        assert same(kept, taken[: len(kept)])
        assert taken[-1] - kept[-1] < 1.0e9
        second = VideoProcess(tmp_path, "video")
        try:
            play(ring, range(150, 160))
            (front,) = second.done().cameras
        finally:
            second.close()
    assert front.files == (str(tmp_path / "front-1.mp4"),)
    assert front.dropped == 0
    assert same(times_in(tmp_path / "front.mp4"), kept)


def test_a_camera_that_changes_its_size_goes_on_in_a_new_file(recorder, tmp_path):
    with RingWriter(f"{recorder.prefix}-front", 64, 96, slots=64) as ring:
        first = play(ring, range(70))
        assert until(lambda: len(times_in(tmp_path / "front.mp4")) >= 10)
    with RingWriter(f"{recorder.prefix}-front", 48, 64, slots=64) as ring:
        second = play(ring, range(20), height=48, width=64)
        assert until((tmp_path / "front-1.mp4").exists)
        (front,) = recorder.done().cameras
    kept = times_in(tmp_path / "front.mp4")
    assert same(kept, first[: len(kept)])
    assert same(times_in(tmp_path / "front-1.mp4"), second)
    assert front.frames == len(kept) + len(second)


def test_pictures_it_could_not_keep_up_with_are_counted(recorder, tmp_path):
    with RingWriter(f"{recorder.prefix}-front", 64, 96, slots=8) as ring:
        play(ring, range(5))
        assert until((tmp_path / "front.mp4").exists)
        recorder.child.send_signal(signal.SIGSTOP)
        play(ring, range(5, 45))
        recorder.child.send_signal(signal.SIGCONT)
        (front,) = recorder.done().cameras
    assert front.dropped >= 30
    assert front.frames + front.dropped == 45


def test_a_full_disk_ends_the_process_with_a_reason(recorder):
    resource.prlimit(recorder.child.pid, resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
    rng = np.random.default_rng(0)
    with RingWriter(f"{recorder.prefix}-front", 64, 96, slots=64) as ring:

        def ended() -> bool:
            ring.write(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8), time.monotonic_ns())
            return recorder.child.poll() is not None

        assert until(ended)
    assert recorder.child.returncode == 1
    assert "front.mp4 cannot be written after" in recorder.said()


def test_the_bench_measures_a_real_recording(tmp_path):
    found = measure(BenchRecordConfig(seconds=1.0, rate_hz=20.0), tmp_path)
    assert {camera: len(times) for camera, times in found.sent.items()} == {"front": 20, "wrist": 20}
    assert found.drops == 40 - sum(map(len, found.decoded.values())) == 0
    assert 0.0 < found.core_share < 1.5
    first, last = found.decoded["front"][0], found.decoded["front"][-1]
    assert last - first == pytest.approx(0.95e9, rel=0.2)


def test_pictures_come_back_as_they_were(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", 64, 96, VideoConfig(crf=18)) as writer:
        for count in range(30):
            assert writer.write(picture(count), 10**9 + count * 33_000_000)
    with av.open(str(tmp_path / "v.mp4")) as container:
        for count, frame in enumerate(container.decode(video=0)):
            off = np.abs(frame.to_ndarray(format="rgb24").astype(int) - picture(count))
            assert off.mean() < 6.0
    assert times_in(tmp_path / "v.mp4") == [10**9 + count * 33_000_000 for count in range(30)]


def test_a_picture_that_is_no_newer_is_left_out_and_wrong_ones_are_refused(tmp_path):
    with VideoWriter(tmp_path / "v.mp4", 64, 96) as writer:
        assert writer.write(picture(0), 5_000)
        assert not writer.write(picture(1), 5_000)
        assert not writer.write(picture(1), 4_000)
        with pytest.raises(ContractError, match="for a video of"):
            writer.write(picture(0, 48, 64), 9_000)
    with pytest.raises(ArtifactError, match="never overwritten"), VideoWriter(tmp_path / "v.mp4", 64, 96):
        pass
    with pytest.raises(ContractError, match="even"):
        VideoWriter(tmp_path / "w.mp4", 63, 96)
    with pytest.raises(ArtifactError, match="no video"):
        next(read_capture_times(tmp_path / "nothing.mp4"))
