"""Runs jobs in child processes: JSON in on standard input, JSON lines out, nothing pickled.

Called by `regrasp.shards` (episodes) and `regrasp.train` (skills).
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from core.errors import RegraspError


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One child process to be."""

    module: str
    """Run as `python -m module`."""
    job: bytes
    """Its standard input, JSON."""
    log: Path
    """Gets its standard error."""


def run_children(children: Sequence[Child], workers: int, heard: Callable[[bytes], None]) -> None:
    """Runs all children, `workers` at a time.

    Args:
        children: In the order in which they start.
        workers: Processes side by side.
        heard: Called with each line a child prints, never twice at once.

    Raises:
        RegraspError: Some failed; the others were finished first. Their last words are in the message.
    """
    turn, running = Lock(), list[subprocess.Popen[bytes]]()

    def one_at_a_time(line: bytes) -> None:
        with turn:
            heard(line)

    with ThreadPoolExecutor(workers, thread_name_prefix="child") as pool:
        futures = [pool.submit(_run, child, one_at_a_time, running) for child in children]
        try:
            failed = [words for future in futures if (words := future.result())]
        except BaseException:  # Ctrl-C too: nobody waits for what is not wanted any more
            pool.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.terminate()
            raise
    if failed:
        raise RegraspError("; ".join(failed))


def _run(child: Child, heard: Callable[[bytes], None], running: list[subprocess.Popen[bytes]]) -> str:
    """Runs one child to its end; returns "" or how it failed."""
    child.log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", child.module]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # one core a child: more threads only wait for each other
    with (
        child.log.open("w") as words,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, env=environment
        ) as process,
    ):
        running.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(child.job)
        process.stdin.close()
        for line in process.stdout:
            heard(line)
    if not process.returncode:
        return ""
    last = " ".join(child.log.read_text().strip().splitlines()[-1:])
    return f"{child.module} stopped with code {process.returncode}: {last}; see {child.log}"
