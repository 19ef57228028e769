"""Runs many episodes on several cores: one child process a shard, results appended as they come.

Children are started from the command line with a JSON job and answer one JSON line an episode, so nothing is pickled.
Called by `run` and `eval`; the child is `python -m regrasp.shard`.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pydantic import TypeAdapter

from core.errors import RegraspError
from core.failures import FailureMode
from regrasp.evaluation import ArmName, EpisodeResult
from regrasp.stack import StackConfig

@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeJob:
    """One episode to live through."""

    arm: ArmName
    seed: int
    injected: FailureMode | None
    record: bool
    """Whether to write its recording."""

    @property
    def key(self) -> tuple[str, int, str]:
        """Arm, seed and injected mode, as of the result it will have."""
        return self.arm, self.seed, self.injected or ""

    @property
    def recover(self) -> bool:
        """Whether the arm is watched and recovered."""
        return self.arm == ArmName.RECOVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """What one child does."""

    stack: StackConfig
    out: Path
    """Folder for recordings."""
    jobs: tuple[EpisodeJob, ...]


SHARD = TypeAdapter(ShardJob)
RESULT = TypeAdapter(EpisodeResult)


def plan(modes: Sequence[FailureMode], episodes: int, seed: int) -> list[EpisodeJob]:
    """Returns every episode of a campaign: each seed nominal and injected, in both arms, modes in turn.

    Args:
        modes: Failure modes to inject.
        episodes: Seeds per arm.
        seed: First seed.
    """
    return [
        EpisodeJob(arm=arm, seed=seed + i, injected=mode, record=False)
        for i in range(episodes)
        for mode in (None, modes[i % len(modes)])
        for arm in ArmName
    ]


def run_jobs(
    stack: StackConfig, out: Path, jobs: Sequence[EpisodeJob], workers: int, done: Callable[[EpisodeResult], None]
) -> None:
    """Lives through all `jobs` in `workers` processes; `done` is called in the parent for each result, one at a time.

    Raises:
        RegraspError: A child failed; its last words are in the message.
    """
    workers = max(1, min(workers, len(jobs)))
    shards = [ShardJob(stack=stack, out=out, jobs=tuple(jobs[i::workers])) for i in range(workers)]
    turn = Lock()

    def one_at_a_time(result: EpisodeResult) -> None:
        with turn:
            done(result)

    with ThreadPoolExecutor(workers, thread_name_prefix="shard") as pool:
        for future in [pool.submit(_run_shard, shard, one_at_a_time) for shard in shards]:
            future.result()


def _run_shard(shard: ShardJob, done: Callable[[EpisodeResult], None]) -> None:
    if not shard.jobs:
        return
    log = shard.out / "logs"
    log.mkdir(parents=True, exist_ok=True)
    errors = log / f"shard-{shard.jobs[0].arm}-{shard.jobs[0].seed}-{shard.jobs[0].injected or 'nominal'}.txt"
    with errors.open("w") as stderr, subprocess.Popen(
        [sys.executable, "-m", "regrasp.shard"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
    ) as child:  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(SHARD.dump_json(shard))
        child.stdin.close()
        for line in child.stdout:
            done(RESULT.validate_json(line))
    if child.returncode:
        words = errors.read_text().strip().splitlines()[-1:]
        raise RegraspError(f"a worker stopped with code {child.returncode}: {' '.join(words)}; see {errors}")
