"""A running graph of processes: started in order, watched, broken on purpose, and stopped without leaving one behind.

Called by `regrasp up`, by the fault bench and by tests.

    with Graph(table, namespace="/xarm", environment=environment, logs=Path("out/logs")) as graph:
        graph.start()
        graph.kill("runtime")
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from core.errors import ConfigError, RegraspError, unknown_name
from regrasp.bringup import RESTARTS, OnExit, Process, command, in_start_order, stop_ranks
from regrasp.guardian import mark, marked, stop, stop_graph

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.02
"""How often a wait looks again [s]."""
TAIL_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process that ended by itself."""

    process: Process
    code: int
    """Its exit code; minus the signal's number when a signal ended it."""
    log: Path

    def __str__(self) -> str:
        how = f"was ended by {signal.Signals(-self.code).name}" if self.code < 0 else f"ended with code {self.code}"
        return f"{self.process.name} {how}; its log is {self.log}"


class GraphFailed(RegraspError):
    """A process of the graph did not become ready, or ended when it should not."""


@dataclass(slots=True, kw_only=True)
class _Running:
    process: Process
    child: subprocess.Popen[bytes]
    log: Path
    since: int
    """Where in the log this start's lines begin [bytes]."""
    told: int
    """Where in the log begins what `news` has not told yet [bytes]."""
    awaited: bool = False
    """Whether its end was asked for."""


class Graph:
    """Processes of a table, as a context: leaving stops them all, also when the leaver was killed.

    Args:
        table: Every process there may be.
        namespace: ROS namespace of the nodes.
        environment: What every process starts with; its own variables are added where these do not have them.
        logs: Folder of the logs, one a process.
        files: ROS parameter files for every node.
        say: Gets a short line whenever something happens; the log does when None.
    """

    def __init__(
        self, table: Iterable[Process], *, namespace: str, environment: Mapping[str, str], logs: Path,
        files: Sequence[str] = (), say: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self._table = {process.name: process for process in in_start_order(table)}
        self._namespace, self._environment, self._logs = namespace, dict(environment), logs
        self._files, self._say = tuple(files), say or log.info
        self.id = uuid4().hex
        """Mark of its processes; see `regrasp.guardian`."""
        self._running: dict[str, _Running] = {}
        self._restarts = dict.fromkeys(self._table, 0)
        self._guardian: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-m", "regrasp.guardian", self.id]
        self._guardian = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self, *names: str) -> None:
        """Starts processes, each when those it comes after are ready, and returns when all are ready.

        Args:
            names: Which ones; the whole table when none is given.

        Raises:
            GraphFailed: One did not become ready, or ended; the end of its log is in the message.
        """
        wanted = {self._named(name).name for name in names} or set(self._table)
        for process in (one for one in self._table.values() if one.name in wanted):
            for name in process.after:
                if name in self._running:
                    self.wait_ready(name)
            self._launch(process)
        for name in wanted:
            self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        """Waits until a started process is ready; raises `GraphFailed` when it is not in time, or ends."""
        running = self._started(name)
        began = time.monotonic()
        while not self._ready(running):
            self.check()
            if running.child.poll() is not None:
                raise GraphFailed(f"{self._ended(running)}\n{self.tail(name)}")
            if time.monotonic() - began > running.process.patience_s:
                late = f"{name} was not ready after {running.process.patience_s:.0f} s; its log is {running.log}"
                raise GraphFailed(f"{late}\n{self.tail(name)}")
            time.sleep(LOOK_EVERY_S)

    def check(self) -> Ended | None:
        """Looks once at every process: starts again what is started again; returns the one that ends the run, if any.

        Raises:
            GraphFailed: One ended that nothing works without.
        """
        for running in list(self._running.values()):
            if running.awaited or running.child.poll() is None:
                continue
            ended = self._ended(running)
            if running.process.on_exit is OnExit.ENDS:
                return ended
            if running.process.on_exit is not OnExit.RESTARTS or self._restarts[running.process.name] >= RESTARTS:
                raise GraphFailed(f"{ended}\n{self.tail(running.process.name)}")
            self._restarts[running.process.name] += 1
            self._say(f"{ended}; starting it again ({self._restarts[running.process.name]} of {RESTARTS})")
            self._launch(running.process)
        return None

    def running(self, name: str) -> bool:
        """Returns whether a process was started and has not ended."""
        return name in self._running and self._running[name].child.poll() is None

    def pid(self, name: str) -> int:
        """Returns a started process's id."""
        return self._started(name).child.pid

    def kill(self, name: str) -> None:
        """Ends a process at once (SIGKILL), with all it started; it counts as expected."""
        self._started(name).awaited = True
        for processes in marked(self.id, [name]).values():
            for process in processes:
                process.kill()
        self._started(name).child.wait()

    def freeze(self, name: str) -> None:
        """Stops a process where it is (SIGSTOP), as if it hung."""
        os.kill(self.pid(name), signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Lets a frozen process go on."""
        os.kill(self.pid(name), signal.SIGCONT)

    def interrupt(self, name: str) -> None:
        """Asks a process to end (SIGINT) and waits until it has, a bounded time; it counts as expected."""
        self._started(name).awaited = True
        for processes in marked(self.id, [name]).values():
            stop(processes)
        self._started(name).child.wait()

    def restart(self, name: str) -> None:
        """Starts a process again that has ended or is ended now, and waits until it is ready."""
        if self.running(name):
            self.interrupt(name)
        self._launch(self._named(name))
        self.wait_ready(name)

    def replace(self, process: Process) -> None:
        """Ends the process of the same name and starts this one in its place; waits until it is ready."""
        self._named(process.name)
        self._table[process.name] = process
        self.restart(process.name)

    def lines(self, name: str) -> list[str]:
        """Returns what a process has printed since it was last started."""
        running = self._started(name)
        with running.log.open("rb") as file:
            file.seek(running.since)
            return file.read().decode(errors="replace").splitlines()

    def news(self, name: str) -> list[str]:
        """Returns the whole lines that a process has printed since this was last asked."""
        running = self._started(name)
        with running.log.open("rb") as file:
            file.seek(running.told)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        running.told += len(whole)
        return whole.decode(errors="replace").splitlines()

    def tail(self, name: str, count: int = TAIL_LINES) -> str:
        """Returns the last lines a process printed, indented."""
        return "\n".join(f"    {line}" for line in self.lines(name)[-count:])

    def stop(self) -> None:
        """Stops all in the table's order, bounded in time; what does not end is killed. May be called twice."""
        for names in stop_ranks(running.process for running in self._running.values()):
            for name in names:
                self._running[name].awaited = True
            for processes in marked(self.id, names).values():
                for killed in stop(processes):
                    self._say(f"process {killed.pid} ({', '.join(names)}) did not end when asked and was killed")
        stop_graph(self.id)
        for running in self._running.values():
            running.child.wait()
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            self._guardian.wait()
            self._guardian = None

    def _launch(self, process: Process) -> None:
        if self._guardian is None:
            raise ConfigError("this graph was not entered, or was stopped; use it with `with Graph(...) as graph:`")
        path = self._logs / f"{process.name}.log"
        since = path.stat().st_size if path.exists() else 0
        own = {name: value for name, value in process.environment.items() if name not in self._environment}
        environment = {**self._environment, **own, **mark(self.id, process.stop_rank, process.name)}
        with path.open("ab") as file:
            child = subprocess.Popen(
                command(process, self._namespace, files=self._files), stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, env=environment, start_new_session=True,
            )  # fmt: skip
        self._running[process.name] = _Running(process=process, child=child, log=path, since=since, told=since)

    def _ready(self, running: _Running) -> bool:
        wanted = running.process.ready
        return not wanted or any(wanted in line for line in self.lines(running.process.name))

    def _ended(self, running: _Running) -> Ended:
        return Ended(process=running.process, code=running.child.wait(), log=running.log)

    def _named(self, name: str) -> Process:
        if name not in self._table:
            raise unknown_name("process", name, self._table)
        return self._table[name]

    def _started(self, name: str) -> _Running:
        self._named(name)
        if name not in self._running:
            raise ConfigError(f"process {name} was not started; call start({name!r}) first")
        return self._running[name]
