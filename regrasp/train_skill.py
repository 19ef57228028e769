"""The child process of `regrasp.train`: one failure mode, from rollouts of the frozen policy to a skill card."""

import json
import math
import sys
from dataclasses import asdict

from bridge.pi0.policy import Pi0Policy
from core.errors import RegraspError
from core.recovery import RecoveryDescriptor
from core.rewards import RewardSpec
from core.robots import EE_DELTA
from core.subtasks import Manner
from core.worlds import FailureState
from regrasp.artifacts import Models, find_models
from regrasp.capture import Captured, capture_bank
from regrasp.stack import CAMERA_PX
from regrasp.task_registry import TaskEntry, find_task
from regrasp.train import JOB, NEWS, SkillJob, SkillNews
from residual.bank import save_bank
from residual.batch import RecoveryConfig, RecoverySetup
from residual.cards import save_skill
from residual.compile import compile_reward
from residual.masks import default_mask
from residual.noise import DomainRanges
from residual.ppo import PpoConfig, TrainingPoint
from residual.skills import SkillRequest, TrainedSkill, default_space, train_skill
from residual.spec_io import spec_to_json
from residual.surrogate_io import load_surrogate
from residual.templates import find_template
from sim.cameras import CellCameras
from sim.world import BatchWorld

ROLLOUT_WORLDS = 24
TRAINING_WORLDS = 64
EPISODE_STEPS = 120
"""A recovery may take 6 s: laying the wrong fruit aside and going over a block take longer than a fresh grasp."""
_CAPTURE_SHARE = 0.25
"""Of the progress bar."""


def main() -> int:
    """Trains the job's skill; returns the exit code."""
    job = JOB.validate_json(sys.stdin.buffer.read())
    try:
        task, models = find_task(job.config.task), find_models(job.config.models)
        policy = Pi0Policy.load(models.base)
        captured = _capture(job, task, policy)
        skill = _train(job, task, models, policy.policy_id, captured.states)
        _save(job, skill, captured)
    except RegraspError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def _tell(job: SkillJob, share: float, words: str) -> None:
    sys.stdout.buffer.write(NEWS.dump_json(SkillNews(mode=job.mode, share=share, words=words)) + b"\n")
    sys.stdout.buffer.flush()


def _capture(job: SkillJob, task: TaskEntry, policy: Pi0Policy) -> Captured:
    world = BatchWorld(task.make(), ROLLOUT_WORLDS)
    expected = job.config.episodes * 4
    told = [0]

    def progress(count: int) -> None:
        if count >= told[0] + 10:
            told[0] = count
            _tell(job, _CAPTURE_SHARE * min(1.0, count / expected), f"{count} failure states")

    with CellCameras(world, size_px=CAMERA_PX) as cameras:
        return capture_bank(
            world, cameras, policy, modes=[job.mode], episodes=job.config.episodes, seed=job.bank_seed,
            progress=progress,
        )  # fmt: skip


def _train(
    job: SkillJob, task: TaskEntry, models: Models, policy_id: str, bank: tuple[FailureState, ...]
) -> TrainedSkill:
    setup = RecoverySetup(
        world=BatchWorld(task.make(), TRAINING_WORLDS),
        course=task.info.course,
        surrogate=load_surrogate(models.surrogate(task.info.name)),
        space=default_space(),
        config=RecoveryConfig(episode_steps=EPISODE_STEPS, domain=DomainRanges()),
    )
    request = SkillRequest(
        name=str(job.mode), task=task.info.name, modes=(job.mode,), base_policy=policy_id, stages=task.info.stages,
        spec=_spec(job, task), resume_when="placed",
    )  # fmt: skip

    def progress(point: TrainingPoint) -> None:
        done = point.steps / point.total_steps
        rate = 0.0 if math.isnan(point.train_success) else point.train_success
        _tell(job, _CAPTURE_SHARE + (1 - _CAPTURE_SHARE) * done, f"{point.steps} steps, success {rate:.2f}")

    expert = task.expert() if job.config.warm_start else None
    config = PpoConfig(total_steps=job.config.steps, stop_rate=0.98, stop_times=3, seed=job.config.seed)
    return train_skill(request, setup, bank, expert=expert, config=config, progress=progress)


def _spec(job: SkillJob, task: TaskEntry) -> RewardSpec:
    """Returns the reward compiled from the embedded path's descriptor: all of the mode's stages, its default terms."""
    stage = find_template(Manner.PLACE, job.mode).stages[0].stage
    descriptor = RecoveryDescriptor(
        report_id=f"train-{job.mode}", mode=job.mode, stage=stage, target="",
        obstacles=(), mask=default_mask(job.mode), confidence=1.0, model_id="diagnosis-table@1",
        rationale=f"default terms for {job.mode} in {task.info.name}",
    )  # fmt: skip
    return compile_reward(descriptor)


def _save(job: SkillJob, skill: TrainedSkill, captured: Captured) -> None:
    out, name = job.config.out, str(job.mode)
    save_bank(out / "banks" / name, captured.states)
    save_skill(out, skill.skill)
    (out / "specs").mkdir(parents=True, exist_ok=True)
    (out / "specs" / f"{name}.json").write_text(spec_to_json(_spec(job, find_task(job.config.task))) + "\n")
    failed = int((~captured.rollouts.success).sum())
    log = {
        "mode": name, "control_hz": 1 / EE_DELTA.dt_s, "rollouts": len(captured.rollouts.success),
        "base_failed": failed, "states": len(captured.states),
        "authority": None if skill.authority is None else asdict(skill.authority),
        "history": [_point(p) for p in skill.history],
    }  # fmt: skip
    (out / "logs" / f"{name}.json").write_text(json.dumps(log, indent=1) + "\n")
    _tell(job, 1.0, f"recovers {skill.skill.card.evaluation.rate:.2f}")


def _point(point: TrainingPoint) -> dict[str, float | None]:
    train = None if math.isnan(point.train_success) else round(point.train_success, 4)
    return {
        "steps": point.steps,
        "train_success": train,
        "eval": None if point.evaluation is None else point.evaluation.rate,
    }


if __name__ == "__main__":
    sys.exit(main())
