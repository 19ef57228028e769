"""Images between processes: never torn, never waited for, and nobody's death leaves anything locked or behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bridge.ring import RingImages, RingReader, RingWriter
from bridge.ring_file import FOLDER, ring_path, sweep_rings
from core.errors import ArtifactError, ConfigError, ContractError

ROOT = Path(__file__).parents[2]
WRITER = """
import sys, time
import numpy as np
from bridge.ring import RingWriter
name, slots, pause_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
with RingWriter(name, 120, 160, slots=slots) as ring:
    number = 0
    while True:
        ring.write(np.full((120, 160, 3), number % 251, np.uint8), number)
        number += 1
        if number == 1:
            print("writing", flush=True)
        time.sleep(pause_s)
"""


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{os.getpid()}-{time.monotonic_ns()}"
    yield name
    sweep_rings()
    assert not ring_path(name).exists()


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start_writer(name: str, *, slots: int = 4, pause_s: float = 0.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITER, name, str(slots), str(pause_s)]
        writer = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(writer)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        return writer

    yield start_writer
    for writer in started:
        writer.kill()
        writer.wait(10.0)
        assert writer.stdout is not None
        writer.stdout.close()


def picture(value: int, shape: tuple[int, int, int] = (4, 6, 3)) -> np.ndarray:
    return np.full(shape, value, np.uint8)


def until(true: Callable[[], bool], patience_s: float = 10.0) -> None:
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.001)


@pytest.mark.parametrize("slots", [2, 4])
def test_no_read_is_ever_torn(name, start, slots):
    start(name, slots=slots)
    reads = 0
    with RingReader(name) as reader:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            frame = reader.newest() if reads % 2 else reader.next()
            if frame is None:
                continue
            reads += 1
            assert (frame.image == frame.number % 251).all()
            assert frame.t_ns == frame.number
    assert reads > 100


def test_a_view_that_was_written_over_says_so(name):
    with RingWriter(name, 4, 6, slots=2) as writer, RingReader(name) as reader:
        writer.write(picture(1), 10)
        view = reader.view()
        assert view is not None
        assert (view.image[0, 0, 0], view.t_ns, view.number, view.intact()) == (1, 10, 0, True)
        writer.write(picture(2), 20)
        assert view.intact()
        writer.write(picture(3), 30)
        assert not view.intact()
        assert not view.image.flags.writeable


def test_newest_is_the_newest_and_next_goes_in_order(name):
    with RingWriter(name, 4, 6, slots=4) as writer, RingReader(name) as first, RingReader(name) as second:
        for i in range(3):
            writer.write(picture(i), i)
        assert first.newest().number == 2
        assert first.newest().number == 2, "the same again: nothing came since"
        assert first.next() is None
        assert [second.next().number for _ in range(3)] == [0, 1, 2]
        assert second.next() is None
        assert second.lost == 0


def test_a_reader_that_fell_behind_goes_on_with_the_oldest_and_counts(name):
    with RingWriter(name, 4, 6, slots=4) as writer, RingReader(name) as reader:
        for i in range(10):
            writer.write(picture(i), i)
        assert [reader.next().number for _ in range(3)] == [7, 8, 9]
        assert reader.lost == 7


def test_a_copy_is_the_readers_own(name):
    with RingWriter(name, 4, 6, slots=2) as writer, RingReader(name) as reader:
        writer.write(picture(5), 1)
        frame = reader.newest()
        for _ in range(4):
            writer.write(picture(9), 2)
        assert (frame.image == 5).all()


def test_a_reader_without_a_writer_does_not_wait(name):
    with RingReader(name) as reader:
        assert reader.newest() is None
        assert reader.next() is None
        assert reader.view() is None
        assert reader.generation == 0
        assert not reader.wait(0.02)


def test_a_reader_that_was_first_finds_the_writer(name, start):
    with RingReader(name) as reader:
        assert reader.newest() is None
        start(name, pause_s=0.01)
        assert reader.wait(10.0)
        assert reader.newest() is not None


def test_a_sleeping_reader_is_woken_by_a_frame(name, start):
    start(name, pause_s=0.05)
    with RingReader(name) as reader:
        waits = []
        for _ in range(5):
            before = time.monotonic()
            assert reader.wait(10.0)
            waits.append(time.monotonic() - before)
            reader.newest()
    assert max(waits) > 0.01, "it never slept, so it was never woken"


def test_after_kill_9_the_last_frame_stays_and_the_next_writer_is_found(name, start):
    writer = start(name, pause_s=0.0)
    with RingReader(name) as reader:
        until(lambda: reader.view().number > 5)
        first = reader.generation
        writer.kill()
        writer.wait(10.0)
        last = reader.newest()
        assert (last.image == last.number % 251).all()
        assert not reader.wait(0.02), "no frame comes from the dead"
        start(name, pause_s=0.01)
        until(lambda: reader.generation not in (0, first))
        assert reader.wait(10.0)
        again = reader.newest()
        assert again.generation != first
        assert (again.image == again.number % 251).all()


def test_a_writer_killed_while_it_writes_never_shows_half_an_image(name, start):
    for _ in range(8):
        writer = start(name, slots=2)
        with RingReader(name) as reader:
            until(lambda reader=reader: reader.view() is not None)
            writer.kill()
            writer.wait(10.0)
            frame = reader.newest()
            assert frame is not None
            assert (frame.image == frame.number % 251).all()


def test_the_next_writer_may_have_another_size(name):
    with RingReader(name) as reader:
        with RingWriter(name, 4, 6) as writer:
            writer.write(picture(1), 1)
            assert reader.newest().image.shape == (4, 6, 3)
        assert reader.newest() is None
        with RingWriter(name, 2, 3) as writer:
            writer.write(picture(2, (2, 3, 3)), 2)
            assert reader.newest().image.shape == (2, 3, 3)
            assert reader.next() is None


def test_a_second_writer_is_refused_and_the_first_goes_on(name):
    with RingWriter(name, 4, 6) as first, RingReader(name) as reader:
        with pytest.raises(ConfigError, match="living writer"):
            RingWriter(name, 4, 6).__enter__()
        first.write(picture(3), 1)
        assert reader.newest() is not None


def test_a_clean_exit_leaves_no_file(name):
    with RingWriter(name, 4, 6) as writer:
        writer.write(picture(1), 1)
        assert ring_path(name).exists()
    assert not ring_path(name).exists()


def test_leaving_a_reader_leaves_the_ring(name):
    with RingWriter(name, 4, 6) as writer:
        writer.write(picture(1), 1)
        with RingReader(name) as reader:
            view = reader.view()
        assert view is not None
        assert view.image[0, 0, 0] == 1, "an image still looked at keeps its memory"
        with RingReader(name) as reader:
            assert reader.newest() is not None


def test_a_sweep_takes_the_rings_of_the_dead_only(name, start):
    writer = start(name, pause_s=0.01)
    with RingWriter(f"{name}-alive", 4, 6) as alive:
        writer.kill()
        writer.wait(10.0)
        swept = sweep_rings()
        assert name in swept
        assert f"{name}-alive" not in swept
        alive.write(picture(1), 1)
        assert ring_path(f"{name}-alive").exists()


def test_a_reader_of_a_swept_ring_finds_the_next_one(name, start):
    writer = start(name, pause_s=0.01)
    with RingReader(name) as reader:
        assert reader.newest() is not None
        writer.kill()
        writer.wait(10.0)
        sweep_rings()
        assert reader.newest() is None
        with RingWriter(name, 4, 6) as again:
            again.write(picture(7), 1)
            assert (reader.newest().image == 7).all()


def test_images_of_cameras_are_kept_when_their_writer_leaves(name):
    with RingImages({"front": name, "wrist": f"{name}-none"}) as images:
        assert images.newest() == {}
        with RingWriter(name, 4, 6) as writer:
            writer.write(picture(4), 44)
            seen = images.newest()
            assert list(seen) == ["front"]
            assert images.newest()["front"] is seen["front"], "copied once"
        assert images.newest()["front"].t_ns == 44


@pytest.mark.parametrize("image", [picture(0, (4, 5, 3)), picture(0).astype(np.float32), picture(0)[..., 0]])
def test_a_wrong_image_is_refused(name, image):
    with RingWriter(name, 4, 6) as writer, pytest.raises(ContractError):
        writer.write(image, 0)


@pytest.mark.parametrize("bad", ["", "../x", "a b", "a/b", "-a", "x" * 101])
def test_a_name_that_is_no_name_is_refused(bad):
    with pytest.raises(ConfigError):
        RingReader(bad)


def test_a_foreign_file_is_not_taken_for_a_ring(name):
    ring_path(name).write_bytes(b"\0" * 4096)
    with RingReader(name) as reader, pytest.raises(ArtifactError):
        reader.newest()


def test_a_ring_needs_two_slots(name):
    with pytest.raises(ContractError):
        RingWriter(name, 4, 6, slots=1).__enter__()


def test_use_before_entering_is_refused(name):
    with pytest.raises(ContractError):
        RingReader(name).newest()
    with pytest.raises(ContractError):
        RingWriter(name, 4, 6).write(picture(0), 0)


def test_no_descriptor_is_left_open(name):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with RingWriter(name, 4, 6) as writer, RingReader(name) as reader:
            writer.write(picture(0), 0)
            reader.newest()
    assert len(os.listdir("/proc/self/fd")) == before
    assert FOLDER.is_dir()
