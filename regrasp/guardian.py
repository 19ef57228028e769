"""Sees to it that no process outlives who started it, however that one ended: kill -9 included.

Run as `python -m regrasp.guardian MARK` by `regrasp.graph`, whose processes carry the mark in their environment, and
so do all that they start. The guardian's standard input is a pipe that closes when the starter ends, for whatever
reason; what still carries the mark by then is stopped here, in order.
"""

import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

import psutil

MARK = "REGRASP_GRAPH"
"""Environment variable of the mark: "ID/RANK/NAME" (id of the graph, rank in which it is stopped, process)."""
GRACE_S = 4.0
"""How long a process may take to end after SIGINT, before SIGTERM [s]; a node holds, deactivates and closes in it."""
LAST_GRACE_S = 1.0
"""How long it may take after SIGTERM, before SIGKILL [s]."""
_LOOK_EVERY_S = 0.02
_ROUNDS = 3
"""How often to look again for what was being started when the others were stopped."""


def mark(graph: str, rank: int, name: str) -> dict[str, str]:
    """Returns the environment variable by which a process and all that it starts is found again."""
    return {MARK: f"{graph}/{rank}/{name}"}


def marked(graph: str, names: Iterable[str] | None = None) -> Mapping[int, Sequence[psutil.Process]]:
    """Returns what runs with a graph's mark, by rank.

    Args:
        graph: Its id.
        names: Only these processes; all when None.
    """
    wanted = None if names is None else set(names)
    found: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        its, _, rest = _environment(process).get(MARK, "").partition("/")
        rank, _, name = rest.partition("/")
        if its == graph and not _ended(process) and (wanted is None or name in wanted):
            found.setdefault(int(rank), []).append(process)
    return dict(sorted(found.items()))


def stop(processes: Sequence[psutil.Process], *, grace_s: float = GRACE_S) -> Sequence[psutil.Process]:
    """Stops processes, all at once: asks, insists, kills; returns those that had to be killed.

    A frozen one (SIGSTOP) is killed at once: woken up, it would act on what it knew when it was frozen.

    Args:
        processes: Which ones; those that have ended already do no harm.
        grace_s: How long they may take after SIGINT [s].
    """
    frozen = [process for process in processes if _frozen(process)]
    left = [process for process in processes if process not in frozen]
    for sign, patience_s in ((signal.SIGINT, grace_s), (signal.SIGTERM, LAST_GRACE_S)):
        _send(left, sign)
        left = _wait(left, patience_s)
    killed = [*frozen, *left]
    _send(killed, signal.SIGKILL)
    _wait(killed, LAST_GRACE_S)
    return killed


def stop_graph(graph: str) -> None:
    """Stops all that carries a graph's mark, lower ranks first; bounded in time."""
    for _ in range(_ROUNDS):
        found = marked(graph)
        for processes in found.values():
            stop(processes)
        if not found:
            return
        time.sleep(0.05)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):  # ended meanwhile, or another user's
        return {}


def _wait(processes: Sequence[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Waits until processes have ended; returns those that have not in time [s]. A zombie has ended."""
    until, left = time.monotonic() + patience_s, list(processes)
    while (left := [process for process in left if not _ended(process)]) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
    return left


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _frozen(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def _send(processes: Iterable[psutil.Process], sign: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(sign)
        except psutil.NoSuchProcess:
            continue


def main(graph: str) -> None:
    """Waits until the starter is gone, then stops what it left."""
    for unwanted in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unwanted, signal.SIG_IGN)
    sys.stdin.read()
    stop_graph(graph)


if __name__ == "__main__":
    main(sys.argv[1])
