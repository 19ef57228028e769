"""The recorder as its own process: nothing that it was given is lost, whoever dies, and a full disk is said so."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from core.episodes import Outcome
from core.errors import DeviceFault, DeviceNotConnected, DeviceTimeout
from core.flow import Phase, Step
from regrasp.cli import main
from regrasp.remote_sink import RemoteSink, RemoteSinkConfig
from runtime.record.codec import dumps
from runtime.record.reader import read_episode, read_frames
from runtime.rehearsal import meta_of, rehearsal

PATIENCE_S = 20.0
DOOMED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from regrasp.remote_sink import RemoteSink
from runtime.rehearsal import meta_of, rehearsal

stage = rehearsal()
image = np.zeros((192, 192, 3), dtype=np.uint8)
with stage.cell, RemoteSink(sys.argv[1], Path(sys.argv[2]), meta_of(stage.plan)) as sink:
    for _ in range(40):
        step = stage.loop.tick()
        sink.write(replace(step, observation=replace(step.observation, images={"front": image, "wrist": image})))
    print(sink.written, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""A beat's process that dies at once after its 40th step."""


class RecorderProcess:
    """A real recorder and what it prints."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "recorder"
        command = [sys.executable, "-m", "regrasp.nodes.recorder", "--socket", str(self.socket), "--free-mb", "0"]
        self._words = (folder / "recorder.log").open("w+")
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._words, text=True)
        assert self.child.stdout is not None
        assert self.child.stdout.readline().startswith("recorder ready")

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate(timeout=10.0)
        self._words.close()

    def limit_files(self, size: int) -> None:
        """Sets the largest file that it may write [bytes]: to a writer the same as a full disk."""
        resource.prlimit(self.child.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[RecorderProcess]:
    made = RecorderProcess(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    """Steps of a whole episode with moving pictures."""
    stage, rng = rehearsal(), np.random.default_rng(1)
    with stage.cell:
        lived = [stage.loop.tick() for _ in range(60)]
    pictures = [rng.integers(0, 256, (96, 96, 3), dtype=np.uint8) for _ in lived]
    return [
        replace(step, observation=replace(step.observation, images={"front": p, "wrist": 255 - p}))
        for step, p in zip(lived, pictures, strict=True)
    ]


def sink_at(recorder: RecorderProcess, path: Path, **bounds: float) -> RemoteSink:
    return RemoteSink(recorder.socket, path, meta_of(rehearsal().plan), RemoteSinkConfig(**bounds))


def write_all(sink: RemoteSink, steps: Sequence[Step]) -> None:
    for step in steps:
        sink.write(step)


def until(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_an_episode_arrives_whole_and_replays_to_the_bit(recorder, steps, tmp_path, capsys):
    path = tmp_path / "episode.mcap"
    with sink_at(recorder, path) as sink:
        write_all(sink, steps)
        sink.finish(Outcome.SUCCESS, "it worked", {"time_s": 3.0})
        assert sink.kept == sink.written == len(steps)
    episode = read_episode(path)
    assert [dumps(s) for s in episode.steps] == [dumps(s) for s in steps]
    assert episode.outcome is Outcome.SUCCESS
    assert [f.t_ns for f in read_frames(path, "wrist")] == [s.arrived.now_ns for s in steps]
    assert b'"recorded_steps":60.0' in path.read_bytes()
    assert main(["replay", str(path)]) == 0
    assert "60 steps equal, outcome success" in capsys.readouterr().out


def test_one_recorder_serves_many_episodes_side_by_side_without_leaking(recorder, steps, tmp_path):
    process = psutil.Process(recorder.child.pid)
    before = process.num_fds()
    for turn in range(4):
        paths = [tmp_path / f"{turn}-{name}.mcap" for name in "ab"]
        with sink_at(recorder, paths[0]) as first, sink_at(recorder, paths[1]) as second:
            for step in steps[:5]:
                first.write(step)
                second.write(step)
            first.finish(Outcome.FAILURE)
        assert [len(read_episode(p).steps) for p in paths] == [5, 5]
        assert [read_episode(p).outcome for p in paths] == [Outcome.FAILURE, Outcome.OPEN]
    assert until(lambda: process.num_fds() == before)


def test_every_step_of_a_process_killed_with_9_is_on_disk_and_the_file_is_finished(recorder, tmp_path):
    path = tmp_path / "doomed.mcap"
    command = [sys.executable, "-c", DOOMED, str(recorder.socket), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert until(lambda: path.exists() and read_episode(path).outcome is Outcome.ABORTED)
    assert len(read_episode(path).steps) == int(done.stdout) == 40
    assert b"ended without a word" in path.read_bytes()
    assert len(list(read_frames(path, "front"))) == 40


def test_a_killed_recorder_is_noticed_at_the_next_steps_and_keeps_what_was_committed(recorder, steps, tmp_path):
    path = tmp_path / "episode.mcap"
    with sink_at(recorder, path) as sink:
        write_all(sink, steps[:10])
        assert sink.settle(PATIENCE_S)
        recorder.child.send_signal(signal.SIGKILL)
        recorder.child.wait(10.0)
        with pytest.raises(DeviceNotConnected, match="10 of 10 steps are on disk"):
            sink.write(steps[10])
    episode = read_episode(path)
    assert len(episode.steps) == 10
    assert episode.outcome is Outcome.OPEN


def test_the_loop_holds_the_arm_when_the_recorder_dies(recorder, tmp_path):
    with sink_at(recorder, tmp_path / "episode.mcap") as sink:
        stage = rehearsal(sinks=(sink,))
        with stage.cell:
            for _ in range(5):
                stage.loop.tick()
            recorder.child.send_signal(signal.SIGKILL)
            recorder.child.wait(10.0)
            with pytest.raises(DeviceNotConnected):
                stage.loop.tick()
            assert stage.cell.arm.holds == 1
            assert stage.loop.phase is Phase.STOPPED
            assert len(stage.cell.arm.sent) == 6


def test_a_hung_recorder_never_makes_the_beat_wait_and_ends_the_episode(recorder, steps, tmp_path):
    longest_s = 0.0
    with sink_at(recorder, tmp_path / "episode.mcap", lag_s=0.3, finish_s=0.2) as sink:
        sink.write(steps[0])
        assert sink.settle(PATIENCE_S)
        recorder.child.send_signal(signal.SIGSTOP)

        def refused() -> bool:
            nonlocal longest_s
            start = time.monotonic()
            try:
                sink.write(steps[sink.written % len(steps)])
            except DeviceTimeout as error:
                return "kept nothing for 0.3 s; 1 of" in str(error)
            finally:
                longest_s = max(longest_s, time.monotonic() - start)
            return False

        assert until(refused)
        taken = sink.written
        recorder.child.send_signal(signal.SIGCONT)
    assert longest_s < 0.1
    assert until(lambda: len(read_episode(tmp_path / "episode.mcap").steps) == taken)
    assert until(lambda: read_episode(tmp_path / "episode.mcap").outcome is Outcome.ABORTED)


def test_a_full_buffer_refuses_the_step_instead_of_waiting(recorder, steps, tmp_path):
    with sink_at(recorder, tmp_path / "episode.mcap", buffer_mb=1, finish_s=0.2) as sink:
        recorder.child.send_signal(signal.SIGSTOP)
        with pytest.raises(DeviceTimeout, match=r"buffer of 1 MB is full; 0 of \d+ steps"):
            write_all(sink, steps)
        assert 10 < sink.written < 30
        recorder.child.send_signal(signal.SIGCONT)


def test_a_full_disk_is_said_and_what_was_committed_stays_readable(recorder, steps, tmp_path):
    path = tmp_path / "episode.mcap"
    recorder.limit_files(200_000)
    with sink_at(recorder, path) as sink:
        write_all(sink, steps[:20])
        with pytest.raises(DeviceFault, match=r"File too large.* of 20 steps are on disk"):
            sink.finish(Outcome.SUCCESS)
    episode = read_episode(path)
    assert 0 < len(episode.steps) < 20
    assert [dumps(s) for s in episode.steps] == [dumps(s) for s in steps[: len(episode.steps)]]
    assert episode.outcome is Outcome.OPEN
    recorder.limit_files(resource.RLIM_INFINITY)
    with sink_at(recorder, tmp_path / "next.mcap") as sink:
        sink.write(steps[0])
        sink.finish(Outcome.SUCCESS)
    assert read_episode(tmp_path / "next.mcap").outcome is Outcome.SUCCESS


def test_an_episode_is_never_overwritten(recorder, steps, tmp_path):
    path = tmp_path / "episode.mcap"
    path.write_bytes(b"precious")
    with pytest.raises(DeviceFault, match="never overwritten"), sink_at(recorder, path):
        pass
    assert path.read_bytes() == b"precious"


def test_a_recorder_that_is_told_to_end_finishes_what_is_open(recorder, steps, tmp_path):
    path = tmp_path / "episode.mcap"
    with sink_at(recorder, path) as sink:
        write_all(sink, steps[:7])
        recorder.child.terminate()
        assert recorder.child.wait(10.0) == 0
        with pytest.raises(DeviceNotConnected, match="7 of 7 steps are on disk"):
            sink.write(steps[7])
    assert len(read_episode(path).steps) == 7
    assert read_episode(path).outcome is Outcome.ABORTED
    assert not recorder.socket.exists()


def test_nobody_there_is_said_in_time(tmp_path):
    sink = RemoteSink(tmp_path / "nobody", tmp_path / "e.mcap", meta_of(rehearsal().plan), RemoteSinkConfig(open_s=0.2))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(DeviceNotConnected, match="start one with"), sink:
        pass
    assert len(os.listdir("/proc/self/fd")) == before
