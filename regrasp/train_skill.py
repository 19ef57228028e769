"""The child process of `regrasp.train` that trains one skill: from banks to a card with its weights, spec and log."""

import json
import math
import sys
from dataclasses import asdict, replace

from bridge.chat import ChatConfig
from bridge.pi0.checkpoint import load_checkpoint
from core.manner import Manner
from core.rewards import RewardSpec
from core.robots import EE_DELTA
from core.worlds import FailureState
from regrasp.advice import Advice, advised
from regrasp.artifacts import find_models
from regrasp.skill_child import run_job, tell
from regrasp.synthesis_cases import case_of_bank
from regrasp.synthesise import probing_of
from regrasp.task_registry import TaskEntry, find_task
from regrasp.train import SkillJob, TrainConfig, bank_folder, manner_of
from residual.ablate import with_all_terms, without_gates, without_shaping
from residual.bank import load_bank
from residual.batch import RecoveryConfig, RecoverySetup
from residual.cards import save_skill
from residual.coach import Diary, Progress, TrainingPoint
from residual.noise import DomainRanges
from residual.policy_features import PolicyScale
from residual.ppo import Schooling
from residual.ppo_config import PpoConfig
from residual.skills import Failures, SkillRequest, TrainedSkill, default_space, train_skill
from residual.spec_io import spec_to_json
from residual.success_buffer import SuccessConfig
from residual.surrogate_io import load_surrogate
from residual.synthesis_reflect import RewardJudge
from sim.world import BatchWorld

TRAINING_WORLDS = 64
LONGEST_ANSWER = 4000
"""Of a model that composes rewards [tokens]."""
EPISODE_STEPS = {Manner.PLACE: 120, Manner.INSERT: 160, Manner.WIPE: 140, Manner.PULL: 140, Manner.PUSH: 90}
"""A recovery may take so long: 6 s for laying the wrong thing aside, going over a block and placing [control steps]."""


def make_skill(job: SkillJob) -> None:
    """Trains the job's skill and writes it, the card last."""
    config, manner = job.config, job.manner
    assert manner is not None, "a job without a manner is a bank's"
    task, models = find_task(config.task), find_models(config.models)
    own, others = _failures(job, task, manner)
    setup = RecoverySetup(
        world=BatchWorld(task.make(), TRAINING_WORLDS),
        course=task.info.course,
        surrogate=load_surrogate(models.surrogate(config.task)),
        space=default_space(),
        config=RecoveryConfig(episode_steps=EPISODE_STEPS[manner], domain=DomainRanges() if config.randomise else None),
        policy_scale=PolicyScale.of(own) if config.inputs == "policy" else None,
    )
    case = case_of_bank(task, own, job.mode, manner)
    judge = RewardJudge(lambda: probing_of(task, own, EPISODE_STEPS[manner]))
    with advised(case, _chat(config), config.folder / "advice" / job.name, judge) as advice:
        request = SkillRequest(
            name=job.name, task=config.task, manner=manner, modes=(job.mode, *job.also), stages=task.info.stages,
            spec=_ablated(advice.spec(), config), base_policy=load_checkpoint(models.base).policy_id,
            subtasks=max(len(task.info.course(s.snapshot.instruction).subtasks) for s in own), force=config.force,
        )  # fmt: skip
        skill = train_skill(
            request,
            setup,
            Failures(own=own, others=others),
            judge=task.expert(),
            schooling=_schooling(job, task, advice),
            config=_rates(job),
            progress=_progress(job),
        )
    _save(job, skill, len(own))


def _chat(config: TrainConfig) -> ChatConfig | None:
    if not config.vlm:
        return None
    return ChatConfig(
        model=config.vlm, base_url=config.vlm_url, deadline_s=config.vlm_deadline_s, max_answer_tokens=LONGEST_ANSWER
    )


def _progress(job: SkillJob) -> Progress:
    def progress(point: TrainingPoint) -> None:
        rate = 0.0 if math.isnan(point.train_success) else point.train_success
        tell(job, point.steps / point.total_steps, f"{point.steps} steps, success {rate:.2f}")

    return progress


def _failures(
    job: SkillJob, task: TaskEntry, manner: Manner
) -> tuple[tuple[FailureState, ...], tuple[FailureState, ...]]:
    """Returns the failures that the job covers in sub-tasks of this manner, and the others that were captured too."""
    banks = {m: load_bank(f) for m in task.info.modes if (f := bank_folder(job.config, m)).is_dir()}
    kept = {m: tuple(s for s in states if manner_of(task, s) is manner) for m, states in banks.items()}
    covered = (job.mode, *job.also)
    own = tuple(s for mode in covered for s in kept[mode])
    return own, tuple(s for m, states in kept.items() if m not in covered for s in states)


def _rates(job: SkillJob) -> PpoConfig:
    config = job.config
    return PpoConfig(
        total_steps=config.steps, stop_rate=0.98, stop_times=3, seed=config.seed, most_s=job.seconds or 3600.0,
        ease_after=10 if config.curriculum else 0,
        success=SuccessConfig() if config.success_buffer else SuccessConfig(size=0, weight=0.0),
    )  # fmt: skip


def _schooling(job: SkillJob, task: TaskEntry, advice: Advice) -> Schooling:
    reflection = advice.reflection()
    return Schooling(
        expert=task.expert() if job.config.warm_start else None,
        edits=advice.edits(),
        reflection=replace(reflection, recompile=lambda mask: _ablated(reflection.recompile(mask), job.config)),
        diary=Diary(folder=job.config.folder / "checkpoints", name=job.name),
    )


def _ablated(spec: RewardSpec, config: TrainConfig) -> RewardSpec:
    spec = with_all_terms(spec) if config.all_terms else spec
    spec = spec if config.gates else without_gates(spec)
    return spec if config.shaping else without_shaping(spec)


def _save(job: SkillJob, skill: TrainedSkill, states: int) -> None:
    out, name = job.config.folder, job.name
    (out / "specs").mkdir(parents=True, exist_ok=True)
    (out / "specs" / f"{name}.json").write_text(spec_to_json(skill.spec) + "\n")
    log = {
        "skill": name, "mode": str(job.mode), "control_hz": 1 / EE_DELTA.dt_s, "states": states,
        "authority": None if skill.authority is None else asdict(skill.authority),
        "changes": list(skill.changes), "history": [_point(p) for p in skill.history],
    }  # fmt: skip
    (out / "logs").mkdir(parents=True, exist_ok=True)
    (out / "logs" / f"{name}.json").write_text(json.dumps(log, indent=1) + "\n")
    save_skill(out, replace(skill.skill))
    tell(job, 1.0, f"recovers {skill.skill.card.evaluation.rate:.2f}")


def _point(point: TrainingPoint) -> dict[str, float | None]:
    train = None if math.isnan(point.train_success) else round(point.train_success, 4)
    return {
        "steps": point.steps,
        "train_success": train,
        "eval": None if point.evaluation is None else point.evaluation.rate,
    }


if __name__ == "__main__":
    sys.exit(run_job(make_skill))
