"""A graph of processes starts in order, notices every death, and leaves nothing behind, however it ends itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from core.errors import ConfigError
from regrasp.bringup import OnExit, Process
from regrasp.graph import Graph, GraphFailed
from regrasp.guardian import marked

SCRIPTS = {
    "server": "import time\nprint('server ready', flush=True)\ntime.sleep(60)\n",
    "client": "import time\nprint('hello', flush=True)\ntime.sleep(60)\n",
    "job": "import sys\nprint('job done', flush=True)\nsys.exit(3)\n",
    "deaf": (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf ready', flush=True)\ntime.sleep(60)\n"
    ),
    "crash": "raise RuntimeError('no camera here')\n",
    "parent": (
        "import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-m', 'client'], start_new_session=True)\n"
        "print('parent ready', flush=True)\ntime.sleep(60)\n"
    ),
    "polite": (
        "import pathlib, signal, sys, time\n"
        "def end(number, frame):\n    print(f'ended {time.monotonic_ns()}', flush=True)\n    sys.exit(0)\n"
        "signal.signal(signal.SIGINT, end)\nprint('polite ready', flush=True)\nwhile True: time.sleep(0.01)\n"
    ),
}


def process(name, *, module="", ready=None, **rest):
    module = module or name
    ready = f"{module} ready" if ready is None else ready
    return Process(name=name, purpose="a test", module=module, ready=ready, patience_s=20.0, **rest)


@pytest.fixture
def graph_of(tmp_path):
    for name, text in SCRIPTS.items():
        (tmp_path / f"{name}.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def make(*table, say=lambda line: None):
        return Graph(table, namespace="/xarm", environment=environment, logs=tmp_path / "logs", say=say)

    return make


def wait_until(condition, seconds=15.0):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def test_a_process_starts_only_when_what_it_needs_is_ready(graph_of):
    with graph_of(process("client", ready="hello", after=("server",)), process("server")) as graph:
        graph.start()
        assert graph.lines("client") == ["hello"]
        begun = [psutil.Process(graph.pid(name)).create_time() for name in ("server", "client")]
        assert begun == sorted(begun)
    assert not graph.running("server")
    assert not graph.running("client")


def test_what_does_not_become_ready_is_named_with_the_end_of_its_log(graph_of):
    with graph_of(process("crash")) as graph, pytest.raises(GraphFailed, match="no camera here") as caught:
        graph.start()
    assert "crash ended with code 1" in str(caught.value)
    assert "crash.log" in str(caught.value)


def test_the_death_of_a_needed_process_is_told_and_the_rest_is_stopped(graph_of):
    with graph_of(process("server"), process("client", ready="hello")) as graph:
        graph.start()
        os.kill(graph.pid("server"), signal.SIGKILL)
        wait_until(lambda: not graph.running("server"))
        with pytest.raises(GraphFailed, match="server was ended by SIGKILL"):
            graph.check()
        client = graph.pid("client")
    assert not psutil.pid_exists(client)


def test_the_process_whose_end_ends_all_gives_its_exit_code(graph_of):
    with graph_of(process("server"), process("job", ready="", after=("server",), on_exit=OnExit.ENDS)) as graph:
        graph.start()
        wait_until(lambda: not graph.running("job"))
        ended = graph.check()
    assert ended is not None
    assert (ended.process.name, ended.code) == ("job", 3)


def test_what_may_be_started_again_is_a_bounded_number_of_times(graph_of):
    said = []
    with graph_of(process("job", ready="", on_exit=OnExit.RESTARTS), say=said.append) as graph:
        graph.start()
        with pytest.raises(GraphFailed, match="job ended with code 3"):
            wait_until(lambda: graph.check() is not None)
    assert sum("starting it again" in line for line in said) == 3


def test_a_killed_process_counts_as_expected_and_can_be_started_again(graph_of):
    with graph_of(process("server")) as graph:
        graph.start()
        first = graph.pid("server")
        graph.kill("server")
        assert graph.check() is None
        graph.restart("server")
        assert graph.running("server")
        assert graph.pid("server") != first
        assert graph.lines("server") == ["server ready"]


def test_a_frozen_process_does_nothing_and_is_not_woken_to_be_stopped(graph_of):
    said = []
    with graph_of(process("server"), say=said.append) as graph:
        graph.start()
        graph.freeze("server")
        wait_until(lambda: psutil.Process(graph.pid("server")).status() == psutil.STATUS_STOPPED)
    assert "was killed" in said[0]


def test_a_process_that_hears_no_signal_is_killed_within_bounded_time(graph_of):
    began = time.monotonic()
    with graph_of(process("deaf")) as graph:
        graph.start()
    assert not graph.running("deaf")
    assert time.monotonic() - began < 15.0


def test_processes_are_stopped_in_the_order_of_their_ranks(graph_of):
    table = [process(f"p{rank}", module="polite", stop_rank=rank) for rank in (2, 0, 1)]
    with graph_of(*table) as graph:
        graph.start()
    ended = [int(graph.lines(f"p{rank}")[-1].split()[1]) for rank in range(3)]
    assert ended == sorted(ended)


def test_what_a_process_started_itself_is_stopped_too(graph_of):
    with graph_of(process("parent")) as graph:
        graph.start()
        wait_until(lambda: len([p for found in marked(graph.id).values() for p in found]) == 2)
    assert not marked(graph.id)


def test_nothing_outlives_a_starter_that_was_killed(tmp_path, graph_of):
    graph_of()  # writes the scripts
    (tmp_path / "starter.py").write_text(
        "import os, time\nfrom pathlib import Path\n"
        "from regrasp.bringup import Process\nfrom regrasp.graph import Graph\n"
        "table = [Process(name=n, purpose='', module=n, ready=f'{n} ready') for n in ('server', 'parent')]\n"
        "with Graph(table, namespace='/x', environment=dict(os.environ), logs=Path('logs')) as graph:\n"
        "    graph.start()\n    print(graph.id, flush=True)\n    time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"}
    with subprocess.Popen(
        [sys.executable, "-m", "starter"], stdout=subprocess.PIPE, env=environment, cwd=tmp_path, text=True
    ) as starter:
        assert starter.stdout is not None
        graph = starter.stdout.readline().strip()
        assert len([p for found in marked(graph).values() for p in found]) >= 2
        starter.kill()
    wait_until(lambda: not marked(graph))


def test_a_process_nobody_knows_or_started_is_refused_by_name(graph_of):
    with graph_of(process("server")) as graph:
        with pytest.raises(ConfigError, match="did you mean 'server'"):
            graph.start("serve")
        with pytest.raises(ConfigError, match="was not started"):
            graph.pid("server")
