"""Runs many episodes on several cores: one child process a shard, results appended as they come.

Called by `run` and `eval`; the child is `python -m regrasp.shard`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from core.failures import FailureMode
from regrasp.children import Child, run_children
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
        return self.arm.watched


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """What one child does."""

    stack: StackConfig
    out: Path
    """Folder for recordings."""
    jobs: tuple[EpisodeJob, ...]


SHARD = TypeAdapter(ShardJob)
RESULT = TypeAdapter(EpisodeResult)


def plan(
    modes: Sequence[FailureMode],
    episodes: int,
    seed: int,
    arms: Sequence[ArmName] = (ArmName.BASE, ArmName.RECOVERY),
) -> list[EpisodeJob]:
    """Returns every episode of a campaign: each seed nominal and injected, in every arm, modes in turn.

    Args:
        modes: Failure modes to inject.
        episodes: Seeds per arm.
        seed: First seed.
        arms: All live the same seeds and injections.
    """
    return [
        EpisodeJob(arm=arm, seed=seed + i, injected=mode, record=False)
        for i in range(episodes)
        for mode in (None, modes[i % len(modes)])
        for arm in arms
    ]


def run_jobs(
    stack: StackConfig, out: Path, jobs: Sequence[EpisodeJob], workers: int, done: Callable[[EpisodeResult], None]
) -> None:
    """Lives through all `jobs` in `workers` processes; `done` is called in the parent for each result, one at a time.

    Raises:
        RegraspError: A child failed; its last words are in the message.
    """
    if not jobs:
        return
    workers = min(workers, len(jobs))
    shards = [ShardJob(stack=stack, out=out, jobs=tuple(jobs[i::workers])) for i in range(workers)]
    children = [
        Child(module="regrasp.shard", job=SHARD.dump_json(shard), log=out / "logs" / f"shard-{i}.txt")
        for i, shard in enumerate(shards)
    ]
    run_children(children, workers, lambda line: done(RESULT.validate_json(line)))
