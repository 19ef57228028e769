"""`regrasp train`: recovery skills from the failures of the frozen policy, one for each manner and failure mode.

First the banks: rollouts of the frozen image policy with injected failures. Then a skill from each bank. Both run in
child processes side by side; what is finished, and every training round, is on disk, so that a run that was killed goes
on where it stood when the same command is given again.
"""

import json
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from tqdm import tqdm

from bridge.pi0.checkpoint import load_checkpoint
from core.errors import ArtifactError, ConfigError, unknown_name
from core.failures import FailureMode
from core.manner import Manner
from core.recovery import Rate
from core.worlds import FailureState
from regrasp.artifacts import AUTHORITY_FOLDER, find_models
from regrasp.children import Child, run_children
from regrasp.task_registry import TaskEntry, find_task
from residual.bank import load_bank, mixed, save_bank
from residual.cards import load_skills
from residual.templates import MODES, find_template

BANK_SEED = 3_000_000
"""Bank episodes count from here: never an evaluation seed (10 000 to 99 999), never a demonstration's."""
FEWEST_EPISODES = 20
"""Failures of one mode and manner from fewer episodes than this make no skill of their own: another covers them too."""
COVERS = (FailureMode.MISSED_GRASP, FailureMode.SLIP, FailureMode.DROP)
"""Skills that cover what has none of its own, the first that there is: they fetch the thing and go on."""
AUTHORITY_STATES = 24
"""Failure states of each skill that are kept for the authority test at load time."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Train recovery skills: capture the frozen policy's failures, compile the reward, PPO on the surrogate."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    modes: tuple[str, ...] = ()
    """Failure modes to train for; all of the task's when not given."""
    minutes: float = 0.0
    """Longest time for everything, by the wall clock [min]; 0 for no limit but `steps`."""
    models: Path | None = None
    """Folder with the frozen policy and its surrogate; the shipped ones when not given."""
    out: Path = Path("out/skills")
    """Folder for skill cards, weights, banks, checkpoints and logs; a folder per task is made in it."""
    seed: int = 0
    """Seed of training; the banks' episode seeds follow from it."""
    episodes: int = 48
    """Rollouts of the frozen policy per mode that fill the bank."""
    steps: int = 700_000
    """Most environment steps of PPO per skill."""
    warm_start: bool = True
    """Begin from the scripted expert squeezed through the residual channel; the card says so."""
    inputs: Literal["state", "policy"] = "state"
    """What a residual reads: the tracked state, or also the frozen policy's own features."""
    gates: bool = True
    """Stage gates in the reward; an ablation without."""
    shaping: bool = True
    """Potential differences as reward; an ablation without pays the potential itself."""
    success_buffer: bool = True
    """Imitate the best successes; an ablation without."""
    curriculum: bool = True
    """Ease scenes in which hardly anything succeeds; an ablation without."""
    randomise: bool = True
    """Vary physics, latency and tracker; an ablation without."""
    all_terms: bool = False
    """Every term of the library in place of the selected ones; an ablation, whose lint mostly needs `force`."""
    force: bool = False
    """Train although the reward's lint fails; the card says so."""
    workers: int = 2
    """Banks and skills made side by side, one process each."""
    vlm: str = ""
    """Name of a vision-language model that composes the rewards and reflects; without one the embedded table does."""
    vlm_url: str = "http://127.0.0.1:8000/v1"
    """Root of its OpenAI-compatible endpoint; the key is read from OPENAI_API_KEY."""
    vlm_deadline_s: float = 60.0
    """How long one of its answers may take before the table is believed instead [s]."""

    @property
    def folder(self) -> Path:
        """Where this task's skills go."""
        return self.out / self.task


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillJob:
    """What one child process makes: a mode's bank, or the skill of a mode and manner."""

    config: TrainConfig
    mode: FailureMode
    bank_seed: int
    """First episode seed of this mode's rollouts."""
    manner: Manner | None = None
    """None for the bank."""
    also: tuple[FailureMode, ...] = ()
    """Further modes that the skill covers; too few of their failures were captured for skills of their own."""
    seconds: float = 0.0
    """Longest training time [s]; 0 for no limit."""

    @property
    def name(self) -> str:
        """Of its bar, log and files."""
        return f"bank {self.mode}" if self.manner is None else f"{self.manner}-{self.mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillNews:
    """What a child says while it works."""

    name: str
    share: float
    """Share of the work that is done, [0, 1]."""
    words: str


JOB = TypeAdapter(SkillJob)
NEWS = TypeAdapter(SkillNews)


def train(config: TrainConfig) -> int:
    """Trains; returns the exit code."""
    task, models, start = find_task(config.task), find_models(config.models), time.monotonic()
    modes = _modes(task, config)
    policy_id = load_checkpoint(models.base).policy_id
    _claim(config, policy_id)
    first = BANK_SEED + config.seed * 100_000
    banks = [
        SkillJob(config=config, mode=m, bank_seed=first + list(task.info.modes).index(m) * config.episodes)
        for m in modes
    ]
    _with_bars("regrasp.capture_bank", [b for b in banks if not bank_folder(config, b.mode).is_dir()], config)
    jobs = _skill_jobs(task, banks, config, time.monotonic() - start)
    _with_bars("regrasp.train_skill", [j for j in jobs if not (config.folder / f"{j.name}.json").is_file()], config)
    _sum_up(config, task, jobs, policy_id, time.monotonic() - start)
    return 0


def bank_folder(config: TrainConfig, mode: FailureMode) -> Path:
    """Returns where the bank of a mode lies."""
    return config.folder / "banks" / str(mode)


def manner_of(task: TaskEntry, state: FailureState) -> Manner:
    """Returns how the sub-task is done in which a failure was captured."""
    return task.info.course(state.snapshot.instruction).at(state.subtask).manner


def _modes(task: TaskEntry, config: TrainConfig) -> list[FailureMode]:
    for name in config.modes:
        if name not in task.info.modes:
            raise unknown_name("failure mode of this task", name, map(str, task.info.modes))
    if config.workers < 1 or config.episodes < FEWEST_EPISODES:
        raise ConfigError(
            f"--workers {config.workers} must be at least 1, --episodes {config.episodes} at least {FEWEST_EPISODES}"
        )
    return [m for m in task.info.modes if not config.modes or str(m) in config.modes]


def _claim(config: TrainConfig, policy_id: str) -> None:
    """Writes what is trained in this folder, or refuses a folder in which something else was begun."""
    path = config.folder / "logs" / "run.json"
    free = ("modes", "minutes", "workers", "models", "out", "vlm", "vlm_url", "vlm_deadline_s")
    kept = {k: v for k, v in asdict(config).items() if k not in free}
    text = json.dumps({"policy": policy_id, **kept}, indent=1, sort_keys=True, default=str) + "\n"
    if path.is_file() and path.read_text() != text:
        raise ArtifactError(
            f"{config.folder} holds a run with other settings ({path.name}); give another --out, or delete the folder"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _skill_jobs(task: TaskEntry, banks: Sequence[SkillJob], config: TrainConfig, spent_s: float) -> list[SkillJob]:
    """Returns the jobs of every manner, the longest recoveries first, each with its share of the time left."""
    counts = {bank.mode: _episodes_by_manner(task, load_bank(bank_folder(config, bank.mode))) for bank in banks}
    found: list[SkillJob] = []
    for manner in dict.fromkeys(m for count in counts.values() for m in count):
        own = {bank: counts[bank.mode].get(manner, 0) for bank in banks if bank.mode in MODES}
        found += _jobs_of_manner(manner, {bank: count for bank, count in own.items() if count})
    found.sort(key=lambda job: -len(find_template(_manner(job), job.mode).stages))
    left_s = max(20.0, config.minutes * 60 - spent_s) * min(config.workers, max(1, len(found))) / max(1, len(found))
    return [replace(job, seconds=left_s if config.minutes else 0.0) for job in found]


def _jobs_of_manner(manner: Manner, episodes: Mapping[SkillJob, int]) -> list[SkillJob]:
    """Returns a job for each mode with enough failures; one of them covers the modes with too few.

    Args:
        manner: How the sub-tasks are done.
        episodes: How many episodes failed so, by the bank's job.
    """
    enough = [bank for bank, count in episodes.items() if count >= FEWEST_EPISODES]
    few = [bank for bank in episodes if bank not in enough]
    if not enough and sum(episodes.values()) < FEWEST_EPISODES:
        tqdm.write(f"{manner}: failures from {sum(episodes.values())} episodes only, no skill is trained")
        return []
    rank = {mode: k for k, mode in enumerate(COVERS)}
    host = min(enough or few, key=lambda bank: (rank.get(bank.mode, len(rank)), -episodes[bank]))
    also = tuple(bank.mode for bank in few if bank is not host)
    if also:
        tqdm.write(f"{manner}-{host.mode} also covers {', '.join(also)}: fewer than {FEWEST_EPISODES} episodes each")
    return [replace(b, manner=manner, also=also if b is host else ()) for b in (*enough, *(() if enough else (host,)))]


def _manner(job: SkillJob) -> Manner:
    assert job.manner is not None, "a job without a manner is a bank's"
    return job.manner


def _episodes_by_manner(task: TaskEntry, states: Sequence[FailureState]) -> dict[Manner, int]:
    manners = [manner_of(task, s) for s in states]
    seeds = {m: {s.seed for s, n in zip(states, manners, strict=True) if n is m} for m in dict.fromkeys(manners)}
    return {manner: len(found) for manner, found in seeds.items()}


def _with_bars(module: str, jobs: Sequence[SkillJob], config: TrainConfig) -> None:
    shape = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed}<{remaining} {postfix}"
    bars = {j.name: tqdm(total=100, desc=f"{j.name:<24}", bar_format=shape) for j in jobs}

    def heard(line: bytes) -> None:
        news = NEWS.validate_json(line)
        bar = bars[news.name]
        bar.n = round(news.share * 100)
        bar.set_postfix_str(news.words)

    logs = config.folder / "logs"
    children = [Child(module=module, job=JOB.dump_json(j), log=logs / f"{j.name.replace(' ', '-')}.txt") for j in jobs]
    run_children(children, config.workers, heard)
    for bar in bars.values():
        bar.close()


def _sum_up(config: TrainConfig, task: TaskEntry, jobs: Sequence[SkillJob], policy_id: str, seconds: float) -> None:
    """Prints the cards' figures and keeps a few states of every skill for the authority test at load time."""
    few: list[FailureState] = []
    for job in jobs:
        states = [s for mode in (job.mode, *job.also) for s in load_bank(bank_folder(config, mode))]
        bank = [s for s in states if manner_of(task, s) is job.manner]
        few += mixed(bank, AUTHORITY_STATES, seed=config.seed)
    save_bank(config.folder / AUTHORITY_FOLDER, few)
    cards = [skill.card for skill in load_skills(config.folder, base_policy=policy_id)]
    for card in cards:
        print(f"{card.name:<22} recovered {_told(card.evaluation)}, base alone {_told(card.base_alone)}, "
              f"{card.train_steps} steps, warm start {card.warm_start}, lint {card.lint}")  # fmt: skip
    figures = {c.name: {"k": c.evaluation.k, "n": c.evaluation.n, "steps": c.train_steps} for c in cards}
    cpu_s = resource.getrusage(resource.RUSAGE_CHILDREN)
    log = {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_s.ru_utime + cpu_s.ru_stime, 1),
        "seed": config.seed,
        "skills": figures,
    }
    (config.folder / "logs" / "training.json").write_text(json.dumps(log, indent=2) + "\n")
    print(f"{len(cards)} skills in {seconds / 60:.1f} min, simulated; in {config.folder}")


def _told(rate: Rate) -> str:
    low, high = rate.ci95
    return f"{rate.k}/{rate.n} = {rate.rate:.2f} [{low:.2f}, {high:.2f}]"
