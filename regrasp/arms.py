"""How each arm of an evaluation is made: its policy, its skills, its diagnosis. Called by `stack` and `campaign`.

An arm whose checkpoint or skills nobody trained is not run, and every table says so.
"""

from collections.abc import Callable
from pathlib import Path

from core.failures import FailureMode
from core.ports import Diagnoser
from core.subtasks import Course
from regrasp.arm_diagnosers import AnyFailure, OracleDiagnoser
from regrasp.artifacts import Models, files_hash
from regrasp.brain import Brain, Watching
from regrasp.evaluation import ArmName, ArmPlan
from regrasp.retry import retry_skills
from regrasp.task_registry import find_task
from residual.cards import load_skills
from residual.probe_io import load_probe

_VARIANTS = {ArmName.NO_GATES: "no-gates", ArmName.ALL_TERMS: "all-terms"}
_HOW = {
    ArmName.FINETUNED: "make one with `regrasp learn finetune`",
    ArmName.NO_GATES: "train them with `regrasp train --no-gates`",
    ArmName.ALL_TERMS: "train them with `regrasp train --all-terms --force`",
}
_OPTIONAL = frozenset(_HOW)


def checkpoint_of(arm: ArmName, models: Models) -> Path:
    """Returns the folder of the policy that drives in this arm."""
    return models.finetuned if arm is ArmName.FINETUNED else models.base


def skills_of(arm: ArmName, task: str, models: Models, skills: Path | None) -> Path | None:
    """Returns the folder of the skills that an arm uses, None when it uses none.

    Args:
        arm: The arm.
        task: Name of the task.
        models: Trained models.
        skills: Where the recovery arm's skills lie, a folder a task; the models' own when None.
    """
    if arm in _VARIANTS:
        return models.skills(task, _VARIANTS[arm])
    if arm not in (ArmName.RECOVERY, ArmName.ORACLE):
        return None
    return models.skills(task) if skills is None else skills / task


def arm_plan(arm: ArmName, task: str, models: Models, skills: Path | None) -> ArmPlan:
    """Returns an arm as it can be run, or why it cannot; arguments as of `skills_of`."""
    made_of = checkpoint_of(arm, models) if arm is ArmName.FINETUNED else skills_of(arm, task, models, skills)
    if made_of is None:
        return ArmPlan(name=arm)
    if arm in _OPTIONAL and not made_of.is_dir():
        return ArmPlan(name=arm, not_run=f"nothing at {made_of}; {_HOW[arm]}")
    return ArmPlan(name=arm, hash=files_hash(made_of))


def watching_of(arm: ArmName, task: str, models: Models, skills: Path | None, policy: str) -> Watching | None:
    """Returns probe and skills of an arm, None for one that is not watched; arguments as of `skills_of`.

    Raises:
        ArtifactError: One of them is damaged or was trained for another policy.
    """
    if not arm.watched:
        return None
    probe, folder = load_probe(models.probe(task), policy=policy), skills_of(arm, task, models, skills)
    if folder is None:
        return Watching(probe=probe, skills=(), scripted=retry_skills(find_task(task).info, policy))
    return Watching(probe=probe, skills=load_skills(folder, base_policy=policy))


def diagnoser_of(
    arm: ArmName, brain: Brain, course: Course, injected: FailureMode | None, stands: Callable[[], bool]
) -> Diagnoser | None:
    """Returns what names failures in an episode of an arm in place of the brain's own, None for the brain's own.

    Args:
        arm: The arm.
        brain: Its brain.
        course: What the robot was told to do.
        injected: What is injected, None when nothing is.
        stands: Whether it has struck and is not mended.
    """
    judge = brain.diagnoser(course) if arm in (ArmName.RETRY, ArmName.ORACLE) else None
    if judge is None:
        return None
    return AnyFailure(judge) if arm is ArmName.RETRY else OracleDiagnoser(course, injected, stands, judge)
