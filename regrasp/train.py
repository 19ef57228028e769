"""`regrasp train`: recovery skills from the failures of the frozen policy, one for each failure mode."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from tqdm import tqdm

from bridge.pi0.checkpoint import load_checkpoint
from core.errors import ConfigError, unknown_name
from core.failures import FailureMode
from core.recovery import Rate
from core.subtasks import Manner
from regrasp.artifacts import AUTHORITY_FOLDER, find_models
from regrasp.children import Child, run_children
from regrasp.task_registry import find_task
from residual.bank import load_bank, mixed, save_bank
from residual.cards import load_skills
from residual.templates import find_template


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train recovery skills: capture the frozen policy's failures, compile the reward, PPO on the surrogate."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    modes: tuple[str, ...] = ()
    """Failure modes to train for; all of the task's when not given."""
    models: Path | None = None
    """Folder with the frozen policy and its surrogate; the shipped ones when not given."""
    out: Path = Path("out/skills")
    """Folder for skill cards, weights, the bank and logs."""
    seed: int = 0
    """Seed of training; the bank's episode seeds follow from it."""
    episodes: int = 48
    """Rollouts of the frozen policy per mode that fill the bank."""
    steps: int = 700_000
    """Most environment steps of PPO per mode."""
    warm_start: bool = True
    """Begin from the scripted expert squeezed through the residual channel; the card says so."""
    workers: int = 2
    """Skills trained side by side, one process each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillJob:
    """What one child process trains."""

    config: TrainConfig
    mode: FailureMode
    bank_seed: int
    """First episode seed of this mode's rollouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillNews:
    """What a child says while it works."""

    mode: FailureMode
    share: float
    """Share of the work that is done, [0, 1]."""
    words: str


JOB = TypeAdapter(SkillJob)
NEWS = TypeAdapter(SkillNews)
BANK_SEED = 3_000_000
"""Bank episodes count from here: never an evaluation seed (10 000 to 99 999), never a demonstration's."""

AUTHORITY_STATES = 24
"""Failure states of each mode that are kept for the authority test at load time."""


def train(config: TrainConfig) -> int:
    """Trains; returns the exit code."""
    info, models, start = find_task(config.task).info, find_models(config.models), time.monotonic()
    for name in config.modes:
        if name not in info.modes:
            raise unknown_name("failure mode of this task", name, map(str, info.modes))
    if config.workers < 1 or config.episodes < 20:
        raise ConfigError(f"--workers {config.workers} must be at least 1, --episodes {config.episodes} at least 20")
    chosen = [m for m in info.modes if not config.modes or str(m) in config.modes]
    modes = sorted(
        chosen, key=lambda m: -len(find_template(Manner.PLACE, m).stages)
    )  # the longest recoveries take longest: first
    first = BANK_SEED + config.seed * 100_000
    jobs = [
        SkillJob(config=config, mode=m, bank_seed=first + list(info.modes).index(m) * config.episodes) for m in modes
    ]
    children = [
        Child(module="regrasp.train_skill", job=JOB.dump_json(job), log=config.out / "logs" / f"{job.mode}.txt")
        for job in jobs
    ]
    _with_bars(children, modes, config.workers)
    _sum_up(config, modes, load_checkpoint(models.base).policy_id, time.monotonic() - start)
    return 0


def _with_bars(children: list[Child], modes: list[FailureMode], workers: int) -> None:
    bars = {
        m: tqdm(total=100, desc=f"{m:<14}", bar_format="{desc} {percentage:3.0f}%|{bar:24}|{postfix}") for m in modes
    }

    def heard(line: bytes) -> None:
        news = NEWS.validate_json(line)
        bar = bars[news.mode]
        bar.n = round(news.share * 100)
        bar.set_postfix_str(news.words)

    run_children(children, workers, heard)
    for bar in bars.values():
        bar.close()


def _sum_up(config: TrainConfig, modes: list[FailureMode], policy_id: str, seconds: float) -> None:
    """Prints the cards' figures and keeps a few states of every mode for the authority test at load time."""
    parts = [load_bank(config.out / "banks" / m) for m in modes]
    few = [state for part in parts for state in mixed(part, AUTHORITY_STATES, seed=config.seed)]
    save_bank(config.out / AUTHORITY_FOLDER, few)
    cards = [skill.card for skill in load_skills(config.out, base_policy=policy_id)]
    for card in cards:
        print(f"{card.name:<14} recovered {_told(card.evaluation)}, base alone {_told(card.base_alone)}, "
              f"{card.train_steps} steps, warm start {card.warm_start}")  # fmt: skip
    figures = {c.name: {"k": c.evaluation.k, "n": c.evaluation.n, "steps": c.train_steps} for c in cards}
    log = {"seconds": round(seconds, 1), "seed": config.seed, "skills": figures}
    (config.out / "logs" / "training.json").write_text(json.dumps(log, indent=2) + "\n")
    print(f"{len(modes)} skills in {seconds / 60:.1f} min, simulated; in {config.out}")


def _told(rate: Rate) -> str:
    low, high = rate.ci95
    return f"{rate.k}/{rate.n} = {rate.rate:.2f} [{low:.2f}, {high:.2f}]"
