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
from regrasp.stack import StackConfig
from regrasp.task_registry import find_task
from residual.probe import FittedProbe, ProbeConfig, ProbeData, fit_probe
from residual.probe_io import save_probe
from runtime.config import WatchLimits
from runtime.watch.features import LAYOUT

PROBE_SEED = 4_000_000
"""Episodes the probe learns from count from here: never an evaluation seed, a demonstration's or the bank's."""
NOISES: tuple[Literal["zero", "random"], ...] = ("zero", "random")
"""Sampling noises of the policy, in turn: the probe must know the policy's calm and its restless days."""


@dataclass(frozen=True, kw_only=True)
class LearnProbeConfig:
    """Train the embedded failure probe on episodes of the frozen policy with injected failures."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    models: Path | None = None
    """Folder with the frozen policy; the shipped one when not given."""
    out: Path = Path("out/probe")
    """Folder for the probe, its figures and logs."""
    nominal: int = 240
    """Episodes without a failure."""
    injected: int = 70
    """Episodes per failure mode."""
    seed: int = 0
    """Seed of fitting; the episodes' seeds follow from it."""
    workers: int = 2
    """Processes that live through episodes side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEpisode:
    """One episode to collect from."""

    seed: int
    mode: FailureMode | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeJob:
    """What one child process collects."""

    stack: StackConfig
    episodes: tuple[ProbeEpisode, ...]
    file: Path
    """Gets the rows, .npz without pickle."""


JOB = TypeAdapter(ProbeJob)


def learn_probe(config: LearnProbeConfig) -> int:
    """Collects, fits, saves; returns the exit code."""
    if min(config.nominal, config.injected) < 10 or config.workers < 1:
        raise ConfigError(f"--nominal {config.nominal} and --injected {config.injected} must be 10 or more, workers 1")
    data = _collected(config)
    policy_id = load_checkpoint(find_models(config.models).base).policy_id
    watch = WatchLimits()
    recipe = ProbeConfig(seed=config.seed, need=watch.probe_need, window=watch.probe_window)
    fitted = fit_probe(data, recipe, name=f"probe-{config.task}@1", layout=LAYOUT, policy=policy_id)
    figures = _figures(fitted, data)
    made: dict[str, float | str] = {
        "task": config.task, "rows": float(len(data.labels)), "mode_accuracy": fitted.mode_accuracy.rate,
            "false_alarms": fitted.false_alarms.rate, "seed": float(config.seed),
    }  # fmt: skip
    save_probe(config.out, fitted.weights, made)
    (config.out / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
    return 0


def _episodes(config: LearnProbeConfig) -> list[ProbeEpisode]:
    modes = find_task(config.task).info.modes
    kinds = [None] * config.nominal + [m for _ in range(config.injected) for m in modes]
    first = PROBE_SEED + config.seed * 10_000
    return [ProbeEpisode(seed=first + i, mode=mode) for i, mode in enumerate(kinds)]


def _collected(config: LearnProbeConfig) -> ProbeData:
    episodes, per_noise = _episodes(config), max(1, config.workers // len(NOISES))
    parts = [
        (noise, episodes[k :: len(NOISES)][j::per_noise]) for k, noise in enumerate(NOISES) for j in range(per_noise)
    ]
    files = [config.out / "rows" / f"{i}.npz" for i in range(len(parts))]
    jobs = [
        ProbeJob(
            stack=StackConfig(task=config.task, models=config.models, noise=noise), episodes=tuple(part), file=file
        )
        for (noise, part), file in zip(parts, files, strict=True)
    ]
    children = [
        Child(module="regrasp.learn_probe_rows", job=JOB.dump_json(job), log=config.out / "logs" / f"{i}.txt")
        for i, job in enumerate(jobs)
    ]
    files[0].parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(episodes), unit="episode", desc="probe data") as bar:
        run_children(children, config.workers, lambda _: bar.update())
    rows = stacked([read_rows(f) for f in files])
    return ProbeData(features=rows.features, labels=rows.labels, episode=rows.episode)


def write_rows(file: Path, rows: ProbeRows) -> None:
    """Writes rows as plain arrays."""
    np.savez(file, features=rows.features.astype(np.float32), labels=np.array(rows.labels), episode=rows.episode)


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
