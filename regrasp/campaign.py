"""`regrasp run` and `regrasp eval`: seeded episodes with and without recovery, their figures and their report."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from tqdm import tqdm

from bridge.chat import ChatConfig
from bridge.pi0.checkpoint import load_checkpoint
from core.errors import ConfigError
from regrasp.artifacts import Models, find_models, text_hash
from regrasp.authority_check import check_authority
from regrasp.evaluation import Campaign, EpisodeResult, Evaluation, evaluate, write_evaluation
from regrasp.evaluation_log import LOG_NAME, append_result, open_log, read_log
from regrasp.pictures import clip_episodes
from regrasp.report import format_table, write_report
from regrasp.report_clips import CLIPS_NAME, load_clips
from regrasp.shards import EpisodeJob, plan, run_jobs
from regrasp.stack import StackConfig
from regrasp.task_registry import find_task
from residual.cards import load_skills

CLIP_SEEDS = 3
"""Seeds of each mode that are recorded for clips; the most telling one is shown."""
_STACK = TypeAdapter(StackConfig)


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """What `run` and `eval` have in common."""

    task: str = "fruit_on_plate"
    """Name of the task."""
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

    def stack(self) -> StackConfig:
        """Returns the cell these flags describe."""
        chat = ChatConfig(model=self.vlm, base_url=self.vlm_url, deadline_s=self.vlm_deadline_s) if self.vlm else None
        return StackConfig(
            task=self.task, models=self.models, tracker=self.tracker, noise=self.noise, wording=self.wording, chat=chat
        )


@dataclass(frozen=True, kw_only=True)
class RunConfig(Episodes):
    """Run the main job: seeded episodes with and without recovery, all recorded; table, eval.json and report.html."""

    episodes: int = 20
    """Seeds; each is lived through nominal and with one failure injected, in both arms."""
    seed: int = 10_000
    """First seed."""
    out: Path = Path("out/run")
    """Folder for eval.json, report.html, recordings and logs; an interrupted run is resumed."""


@dataclass(frozen=True, kw_only=True)
class EvalConfig(Episodes):
    """Evaluate on many seeds; only the episodes shown as clips are recorded unless asked."""

    episodes: int = 100
    """Seeds; each is lived through nominal and with one failure injected, in both arms."""
    seed: int = 20_000
    """First seed."""
    out: Path = Path("out/eval")
    """Folder for eval.json, report.html, recordings and logs; an interrupted evaluation is resumed."""
    record: Literal["clips", "all", "none"] = "clips"
    """Which episodes are recorded: a few of each failure mode, all, or none."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Write eval.json and report.html again from the episodes of a finished or interrupted run."""

    out: Path = Path("out/run")
    """Folder of a `regrasp run` or `regrasp eval`."""


def run(config: RunConfig) -> int:
    """Runs the main job; returns the exit code."""
    return _campaign(config, config.episodes, config.seed, config.out, "all")


def evaluate_policy(config: EvalConfig) -> int:
    """Runs an evaluation; returns the exit code."""
    return _campaign(config, config.episodes, config.seed, config.out, config.record)


def report(config: ReportConfig) -> int:
    """Writes figures and report of an existing run; returns the exit code."""
    campaign, results = read_log(config.out / LOG_NAME)
    _write(campaign, results, config.out)
    return 0


def _campaign(config: Episodes, episodes: int, seed: int, out: Path, record: str) -> int:
    if episodes < 1 or config.workers < 1:
        raise ConfigError(f"--episodes {episodes} and --workers {config.workers} must be at least 1")
    info, models, stack = find_task(config.task).info, find_models(config.models), config.stack()
    campaign = Campaign(
        task=info.name, policy=load_checkpoint(models.base).policy_id, tracker=config.tracker, gap=stack.gap,
        episodes=episodes, seed=seed, modes=info.modes, config_hash=config_hash(stack, models),
    )  # fmt: skip
    check_authority(find_task(config.task), models, load_skills(models.skills(info.name), base_policy=campaign.policy))
    log = out / LOG_NAME
    lived = list(open_log(log, campaign))
    known = {r.key for r in lived}
    jobs = [j for j in _recorded(plan(info.modes, episodes, seed), record) if j.key not in known]
    with tqdm(total=len(jobs) + len(lived), initial=len(lived), unit="episode", desc=info.name) as bar:

        def done(result: EpisodeResult) -> None:
            append_result(log, result)
            lived.append(result)
            bar.update()

        run_jobs(stack, out, jobs, config.workers, done)
    _write(campaign, lived, out)
    return 0


def config_hash(stack: StackConfig, models: Models) -> str:
    """Returns the hash of all that shapes a result besides the seeds: configuration, probe and skills."""
    shipped = sorted(p for p in (models.probe(stack.task), models.skills(stack.task)) for p in p.rglob("*.json"))
    settings = _STACK.dump_json(replace(stack, models=None)).decode()
    return text_hash(settings + "".join(p.read_text() for p in shipped))


def _recorded(jobs: Sequence[EpisodeJob], record: str) -> list[EpisodeJob]:
    """Returns the jobs with those marked that are to be recorded."""
    first: dict[str, int] = {}
    for job in jobs:
        if job.injected is not None:
            first.setdefault(job.injected, job.seed)
    return [
        replace(j, record=record == "all" or (record == "clips" and first.get(j.injected or "") == j.seed))
        for j in jobs
    ]


def _write(campaign: Campaign, results: Sequence[EpisodeResult], out: Path) -> Evaluation:
    evaluation = evaluate(campaign, results)
    write_evaluation(evaluation, out / "eval.json")
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
