"""`regrasp run` and `regrasp eval`: seeded episodes in several arms, their figures and their report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from tqdm import tqdm

from bridge.chat import ChatConfig
from bridge.pi0.checkpoint import load_checkpoint
from core.errors import ArtifactError, ConfigError, unknown_name
from regrasp.arms import arm_plan, skills_of
from regrasp.artifacts import Models, files_hash, find_models, text_hash
from regrasp.authority_check import check_authority
from regrasp.evaluation import ArmName, ArmPlan, Campaign, EpisodeResult
from regrasp.evaluation_log import LOG_NAME, append_result, open_log, read_log
from regrasp.figures import Evaluation, evaluate
from regrasp.figures_file import EVALUATION_NAME, write_evaluation
from regrasp.gaps import GapProfile, find_gap
from regrasp.pictures import clip_episodes, clip_failures
from regrasp.report import write_report
from regrasp.report_clips import CLIPS_NAME, load_clips
from regrasp.report_table import format_summary, format_table
from regrasp.shards import EpisodeJob, plan, run_jobs
from regrasp.stack import StackConfig
from regrasp.task_registry import find_task, task_names
from residual.cards import load_skills

FAILURES_SHOWN = 8
"""Kinds of failure of which one episode is lived through again, recorded, and shown as a clip."""
ALL = "all"
_STACK, _PROFILE = TypeAdapter(StackConfig), TypeAdapter(GapProfile)


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """What `run` and `eval` have in common."""

    arms: tuple[str, ...] = (ArmName.BASE, ArmName.RECOVERY)
    """Arms: base, retry, finetuned, recovery, no_gates, all_terms, oracle; or all."""
    gap: str = "nominal"
    """Gap profile: nominal, lab, harsh, or a YAML file."""
    skills: Path | None = None
    """Skills of the recovery arm, a folder a task as `regrasp train` writes them; the models' own when not given."""
    tracker: Literal["image", "truth"] = "image"
    """Where object positions come from: the cameras, or the simulator (an ablation, and the report says so)."""
    noise: Literal["zero", "random"] = "zero"
    """Starting noise of the policy's sampler."""
    wording: Literal["training", "paraphrases", "all"] = "all"
    """Instructions: those of the demonstrations, those held out of them, or both."""
    models: Path | None = None
    """Folder of trained models; the shipped ones when not given."""
    workers: int = 2
    """Processes that live through episodes side by side."""
    vlm: str = ""
    """Name of a vision-language model to diagnose with; without one the embedded probe does."""
    vlm_url: str = "http://127.0.0.1:8000/v1"
    """Root of its OpenAI-compatible endpoint; the key is read from OPENAI_API_KEY."""
    vlm_deadline_s: float = 20.0
    """How long it may take before the embedded probe is believed instead [s]."""

    def stack(self, task: str = "fruit_on_plate") -> StackConfig:
        """Returns the cell these flags describe, with a task in it."""
        chat = ChatConfig(model=self.vlm, base_url=self.vlm_url, deadline_s=self.vlm_deadline_s) if self.vlm else None
        return StackConfig(
            task=task, models=self.models, tracker=self.tracker, noise=self.noise, wording=self.wording, chat=chat,
            gap=self.gap, skills=self.skills,
        )  # fmt: skip

    def arm_names(self) -> tuple[ArmName, ...]:
        """Returns the arms asked for, in the order of the report.

        Raises:
            ConfigError: There is no such arm.
        """
        for name in self.arms:
            if name not in (*ArmName, ALL):
                raise unknown_name("arm", name, [*map(str, ArmName), ALL])
        return tuple(arm for arm in ArmName if arm in self.arms or ALL in self.arms)


@dataclass(frozen=True, kw_only=True)
class RunConfig(Episodes):
    """Run the main job: seeded episodes with and without recovery, all recorded; table, eval.json and report.html."""

    task: str = "fruit_on_plate"
    """Name of the task."""
    episodes: int = 20
    """Seeds; each is lived through nominal and with one failure injected, in every arm."""
    seed: int = 10_000
    """First seed."""
    out: Path = Path("out/run")
    """Folder for eval.json, report.html, recordings and logs; an interrupted run is resumed."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Episodes):
    """Evaluate on many seeds; only the episodes shown as clips are recorded unless asked."""

    tasks: tuple[str, ...] = (ALL,)
    """Names of tasks, or all."""
    episodes: int = 100
    """Seeds; each is lived through nominal and with one failure injected, in every arm."""
    seed: int = 30_000
    """First seed."""
    out: Path = Path("out/eval")
    """A folder a task is made in it, with eval.json, report.html, recordings and logs; what was interrupted resumes."""
    record: Literal["clips", "all", "none"] = "clips"
    """Which episodes are recorded: a few of each failure mode, all, or none."""

    def task_names(self) -> tuple[str, ...]:
        """Returns the tasks asked for; raises `ConfigError` naming the nearest."""
        for name in self.tasks:
            if name != ALL:
                find_task(name)
        return task_names() if ALL in self.tasks else self.tasks


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write eval.json and report.html again from the episodes of a finished or interrupted run."""

    out: Path = Path("out/run")
    """Folder of a `regrasp run` or `regrasp eval`."""


def run(config: RunConfig) -> int:
    """Runs the main job; returns the exit code."""
    order = _Order(task=config.task, episodes=config.episodes, seed=config.seed, out=config.out, record="all")
    _campaign(config, order)
    return 0


def evaluate_policy(config: EvalConfig) -> int:
    """Runs an evaluation, task after task; returns the exit code."""
    found = [
        _campaign(
            config,
            _Order(task=task, episodes=config.episodes, seed=config.seed, out=config.out / task, record=config.record),
        )
        for task in config.task_names()
    ]
    if len(found) > 1:
        print(format_summary(found))
    return 0


def report(config: ReportConfig) -> int:
    """Writes figures and report of an existing run or evaluation; returns the exit code.

    Raises:
        ArtifactError: Nothing was run there.
    """
    logs = [config.out / LOG_NAME, *sorted(config.out.glob(f"*/{LOG_NAME}"))]
    there = [log for log in logs if log.is_file()]
    if not there:
        raise ArtifactError(f"no evaluation log in {config.out}; run `regrasp eval --out {config.out}` first")
    for log in there:
        campaign, results = read_log(log)
        _write(campaign, results, log.parent)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One task's campaign."""

    task: str
    episodes: int
    seed: int
    out: Path
    record: Literal["clips", "all", "none"]


def _campaign(config: Episodes, order: _Order) -> Evaluation:
    task, episodes, seed, out = order.task, order.episodes, order.seed, order.out
    if episodes < 1 or config.workers < 1:
        raise ConfigError(f"--episodes {episodes} and --workers {config.workers} must be at least 1")
    info, models, stack = find_task(task).info, find_models(config.models), config.stack(task)
    plans = tuple(arm_plan(arm, task, models, config.skills) for arm in config.arm_names())
    campaign = Campaign(
        task=task, policy=load_checkpoint(models.base).policy_id, tracker=config.tracker, gap=find_gap(stack.gap).name,
        episodes=episodes, seed=seed, modes=info.modes, config_hash=config_hash(stack, models), arms=plans,
    )  # fmt: skip
    running = [plan for plan in plans if not plan.not_run]
    for each in running:
        _check_skills(each, task, models, config.skills, campaign.policy)
    log = out / LOG_NAME
    lived = list(open_log(log, campaign))
    campaign, known = read_log(log)[0], {r.key for r in lived}
    jobs = _recorded(plan(info.modes, episodes, seed, [p.name for p in running]), order.record)
    _live(stack, out, [j for j in jobs if j.key not in known], lived, config.workers)
    if order.record != "none" and stack.chat is None:
        _relive(stack, out, campaign, lived, config.workers)
    return _write(campaign, lived, out)


def config_hash(stack: StackConfig, models: Models) -> str:
    """Returns the hash of all that shapes a result in every arm besides the seeds: configuration, gap and probe."""
    settings = _STACK.dump_json(replace(stack, models=None, skills=None, gap="")).decode()
    return text_hash(settings + _PROFILE.dump_json(find_gap(stack.gap)).decode() + files_hash(models.probe(stack.task)))


def _check_skills(plan: ArmPlan, task: str, models: Models, skills: Path | None, policy: str) -> None:
    folder = skills_of(plan.name, task, models, skills)
    if folder is not None and plan.name is not ArmName.ORACLE:
        check_authority(find_task(task), models, load_skills(folder, base_policy=policy), folder)


def _live(stack: StackConfig, out: Path, jobs: Sequence[EpisodeJob], lived: list[EpisodeResult], workers: int) -> None:
    """Lives through what is left to do; every result is on disk before the next."""
    with tqdm(total=len(jobs) + len(lived), initial=len(lived), unit="episode", desc=stack.task) as bar:

        def done(result: EpisodeResult) -> None:
            append_result(out / LOG_NAME, result)
            lived.append(result)
            bar.update()

        run_jobs(stack, out, jobs, workers, done)


def _relive(stack: StackConfig, out: Path, campaign: Campaign, lived: Sequence[EpisodeResult], workers: int) -> None:
    """Lives again through one episode of each kind of failure that is left, recorded this time, and makes its clip."""
    kinds = evaluate(campaign, lived).failing[:FAILURES_SHOWN]
    jobs = [EpisodeJob(arm=ArmName.RECOVERY, seed=k.seeds[0], injected=k.mode, record=True) for k in kinds]
    shown = {(c.arm, c.seed, c.mode) for c in load_clips(out / CLIPS_NAME)}
    again: list[EpisodeResult] = []
    run_jobs(stack, out, [j for j in jobs if (j.arm, j.seed, j.injected) not in shown], workers, again.append)
    clip_failures(out, again, out / CLIPS_NAME)


def _recorded(jobs: Sequence[EpisodeJob], record: str) -> list[EpisodeJob]:
    """Returns the jobs with those marked that are to be recorded."""
    first: dict[str, int] = {}
    for job in jobs:
        if job.injected is not None:
            first.setdefault(job.injected, job.seed)
    shown = (ArmName.BASE, ArmName.RECOVERY)
    return [
        replace(
            j,
            record=record == "all" or (record == "clips" and j.arm in shown and first.get(j.injected or "") == j.seed),
        )
        for j in jobs
    ]


def _write(campaign: Campaign, results: Sequence[EpisodeResult], out: Path) -> Evaluation:
    evaluation = evaluate(campaign, results)
    write_evaluation(evaluation, out / EVALUATION_NAME)
    clip_episodes(out, results, out / CLIPS_NAME)
    path = write_report(results, evaluation, load_clips(out / CLIPS_NAME), out)
    print(format_table(evaluation))
    if any(r.chat.calls for r in results):
        print(_chat_line(results))
    print(f"report: {path.resolve()}")
    return evaluation


def _chat_line(results: Sequence[EpisodeResult]) -> str:
    used = [r.chat for r in results]
    tokens = sum(u.prompt_tokens + u.completion_tokens for u in used)
    return (
        f"vision-language model: {sum(u.calls for u in used)} calls, {sum(u.unknown for u in used)} without a usable "
        f"answer, {tokens} tokens, {sum(u.cost_usd for u in used):.4f} USD"
    )
