"""`regrasp learn probe`: the embedded failure probe, from failures injected into the frozen policy's own episodes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import TypeAdapter
from tqdm import tqdm

from bridge.pi0.checkpoint import load_checkpoint
from core.errors import ConfigError
from core.failures import FailureMode
from core.recovery import Rate
from regrasp.artifacts import find_models
from regrasp.children import Child, run_children
from regrasp.probe_data import ProbeRows, stacked
from regrasp.task_registry import find_task
from residual.probe import FittedProbe, ProbeConfig, ProbeData, fit_probe
from residual.probe_io import save_probe
from runtime.config import WatchLimits
from runtime.watch.features import FIXED, LAYOUT

PROBE_SEED = 4_000_000
"""Episodes the probe learns from count from here: never an evaluation seed, a demonstration's or the bank's."""
NOISES: tuple[Literal["zero", "random"], ...] = ("zero", "random")
"""Sampling noises of the policy, in turn: the probe must know the policy's calm and its restless days."""

POLICY_TRUST = 0.2
"""How much of the policy's own features the probe is let see: they are many and tell episodes apart."""
PART = 100
"""Episodes that one child lives through; what it collected is kept when the next one is interrupted."""


@dataclass(frozen=True, kw_only=True)
class LearnProbeConfig:
    """Train the embedded failure probe on episodes of the frozen policy with injected failures."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    models: Path | None = None
    """Folder with the frozen policy; the shipped one when not given."""
    out: Path = Path("out/probe")
    """Folder for the probe, its figures and logs; a folder per task is made in it."""
    nominal: int = 240
    """Episodes without a failure."""
    injected: int = 70
    """Episodes per failure mode."""
    seed: int = 0
    """Seed of fitting; the episodes' seeds follow from it."""
    workers: int = 2
    """Processes that live through episodes side by side."""

    @property
    def folder(self) -> Path:
        """Where this task's probe goes."""
        return self.out / self.task


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEpisode:
    """One episode to collect from."""

    seed: int
    mode: FailureMode | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """What one child process collects."""

    task: str
    models: Path | None
    noise: Literal["zero", "random"]
    episodes: tuple[ProbeEpisode, ...]
    file: Path
    """Gets the rows, .npz without pickle."""


JOB = TypeAdapter(ProbeJob)


def learn_probe(config: LearnProbeConfig) -> int:
    """Collects, fits, saves; returns the exit code."""
    if min(config.nominal, config.injected) < 10 or config.workers < 1:
        raise ConfigError(f"--nominal {config.nominal} and --injected {config.injected} must be 10 or more, workers 1")
    policy_id = load_checkpoint(find_models(config.models).base).policy_id
    data = _collected(config, policy_id)
    watch = WatchLimits()
    recipe = ProbeConfig(seed=config.seed, need=watch.probe_need, window=watch.probe_window)
    trust = np.where(np.arange(data.features.shape[1]) < len(FIXED), 1.0, POLICY_TRUST)
    fitted = fit_probe(data, recipe, name=f"probe-{config.task}@1", layout=LAYOUT, policy=policy_id, trust=trust)
    figures = _figures(fitted, data)
    made: dict[str, float | str] = {
        "task": config.task, "rows": float(len(data.labels)), "mode_accuracy": fitted.mode_accuracy.rate,
            "false_alarms": fitted.false_alarms.rate, "seed": float(config.seed),
    }  # fmt: skip
    save_probe(config.folder, fitted.weights, made)
    (config.folder / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    return 0


def _episodes(config: LearnProbeConfig) -> list[ProbeEpisode]:
    modes = find_task(config.task).info.modes
    kinds = [None] * config.nominal + [m for _ in range(config.injected) for m in modes]
    first = PROBE_SEED + config.seed * 10_000
    return [ProbeEpisode(seed=first + i, mode=mode) for i, mode in enumerate(kinds)]


def _collected(config: LearnProbeConfig, policy_id: str) -> ProbeData:
    """Returns all rows; parts that were collected before, with this policy and these episodes, are not lived again."""
    kept = config.folder / "rows" / f"{policy_id.rpartition('@')[2]}-{config.nominal}-{config.injected}-{config.seed}"
    episodes = _episodes(config)
    parts = {
        kept / f"{noise}-{first}.npz": (noise, episodes[k :: len(NOISES)][first : first + PART])
        for k, noise in enumerate(NOISES)
        for first in range(0, len(episodes[k :: len(NOISES)]), PART)
    }
    missing = {file: part for file, part in parts.items() if not file.is_file()}
    jobs = [
        ProbeJob(task=config.task, models=config.models, noise=noise, episodes=tuple(some), file=file)
        for file, (noise, some) in missing.items()
    ]
    children = [
        Child(module="regrasp.learn_probe_rows", job=JOB.dump_json(job), log=config.folder / "logs" / job.file.stem)
        for job in jobs
    ]
    kept.mkdir(parents=True, exist_ok=True)
    left = sum(len(job.episodes) for job in jobs)
    with tqdm(total=len(episodes), initial=len(episodes) - left, unit="episode", desc=f"{config.task} probe") as bar:
        run_children(children, config.workers, lambda _: bar.update())
    rows = stacked([read_rows(file) for file in parts])
    return ProbeData(features=rows.features, labels=rows.labels, episode=rows.episode)


def write_rows(file: Path, rows: ProbeRows) -> None:
    """Writes rows as plain arrays, in one stroke."""
    fresh = file.with_suffix(".new.npz")
    np.savez(fresh, features=rows.features.astype(np.float32), labels=np.array(rows.labels), episode=rows.episode)
    fresh.replace(file)


def read_rows(file: Path) -> ProbeRows:
    """Reads what `write_rows` wrote."""
    with np.load(file, allow_pickle=False) as data:
        return ProbeRows(
            features=data["features"].astype(np.float64),
            labels=tuple(str(label) for label in data["labels"]),
            episode=data["episode"],
        )


def _figures(fitted: FittedProbe, data: ProbeData) -> dict[str, object]:
    return {
        "rows": len(data.labels), "episodes": len(set(data.episode.tolist())), "labels": fitted.weights.labels,
        "confusion": fitted.confusion.tolist(), "temperature": fitted.weights.temperature,
        "threshold": fitted.weights.threshold, "mode_accuracy": _told(fitted.mode_accuracy),
        "detected": _told(fitted.detected), "false_alarms": _told(fitted.false_alarms),
    }  # fmt: skip


def _told(rate: Rate) -> dict[str, object]:
    return {"k": rate.k, "n": rate.n, "rate": rate.rate if rate.n else None, "ci95": rate.ci95}
