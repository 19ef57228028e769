"""The contract of `Sink`, kept by every sink."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from core.fakes import MemorySink
from core.flow import Step
from core.ports import Sink
from regrasp.nodes.recorder import Recorder, RecorderConfig
from regrasp.remote_sink import RemoteSink
from runtime.record.codec import dumps
from runtime.record.reader import read_episode
from runtime.record.writer import EpisodeWriter
from runtime.rehearsal import meta_of, rehearsal

Opened = tuple[Sink, Callable[[], list[Step]]]
"""A sink, and how to get back what it took."""


@contextmanager
def _memory(_: Path) -> Iterator[Opened]:
    sink = MemorySink()
    yield sink, lambda: sink.steps


@contextmanager
def _episode(folder: Path) -> Iterator[Opened]:
    path = folder / "episode.mcap"
    with EpisodeWriter(path, meta_of(rehearsal().plan)) as writer:
        yield writer, lambda: list(read_episode(path).steps)


@contextmanager
def _remote(folder: Path) -> Iterator[Opened]:
    """A sink whose recorder turns in a thread of this process; what it took is on disk a moment later."""
    path, done = folder / "episode.mcap", threading.Event()
    with Recorder(RecorderConfig(socket=folder / "recorder", free_mb=0)) as recorder:

        def turn() -> None:
            while not done.is_set():
                recorder.turn(0.05)

        thread = threading.Thread(target=turn, name="recorder")
        thread.start()
        try:
            with RemoteSink(folder / "recorder", path, meta_of(rehearsal().plan)) as sink:

                def taken() -> list[Step]:
                    assert sink.kept == sink.written or sink.settle(5.0)
                    return list(read_episode(path).steps)

                yield sink, taken
        finally:
            done.set()
            thread.join(5.0)


SINKS: dict[str, Callable[[Path], AbstractContextManager[Opened]]] = {
    "memory": _memory,
    "episode": _episode,
    "remote": _remote,
}


@pytest.fixture(params=SINKS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    with SINKS[request.param](tmp_path) as pair:
        yield pair


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    stage = rehearsal()
    with stage.cell:
        return [stage.loop.tick() for _ in range(10)]


def test_it_is_a_sink(opened: Opened) -> None:
    assert isinstance(opened[0], Sink)


def test_what_it_took_is_there_at_once_and_exact(opened: Opened, steps: list[Step]) -> None:
    sink, taken = opened
    for count, step in enumerate(steps, start=1):
        sink.write(step)
        assert len(taken()) == count
    assert [dumps(s) for s in taken()] == [dumps(s) for s in steps]


def test_it_may_be_closed_twice_and_keeps_what_it_took(opened: Opened, steps: list[Step]) -> None:
    sink, taken = opened
    sink.write(steps[0])
    sink.close()
    sink.close()
    assert [dumps(s) for s in taken()] == [dumps(steps[0])]
