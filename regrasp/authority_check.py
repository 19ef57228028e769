"""The authority test at load time: no skill gets the arm whose channel a perfect correction could not recover through.

Called by `run` and `eval` before the first episode; takes a few seconds.
"""

from pathlib import Path

import numpy as np

from core.recovery import Rate
from core.robots import ResidualSpace
from regrasp.artifacts import AUTHORITY_FOLDER, Models
from regrasp.task_registry import TaskEntry
from residual.authority import authority_test, require_authority
from residual.bank import load_bank
from residual.batch import RecoverySetup
from residual.cards import TrainedCard
from residual.surrogate_io import load_surrogate
from sim.world import BatchWorld

WORLDS = 64


def check_authority(
    task: TaskEntry, models: Models, skills: tuple[TrainedCard, ...], folder: Path | None = None
) -> dict[str, Rate]:
    """Returns what the scripted expert recovers through each skill's channel, by name of skill.

    Args:
        task: The task.
        models: Folder with the surrogate, and with the kept failure states of the shipped skills.
        skills: Skills about to be used.
        folder: Where they lie, with failure states kept for them; the shipped ones' when not given.

    Raises:
        ConfigError: A channel is too weak; names the skill and the figures.
        ArtifactError: The states or the surrogate are missing or damaged.
    """
    world, surrogate = BatchWorld(task.make(), WORLDS), load_surrogate(models.surrogate(task.info.name))
    states = load_bank(models.authority_bank(task.info.name) if folder is None else folder / AUTHORITY_FOLDER)
    tested: list[tuple[ResidualSpace, Rate]] = []
    rates = {}
    for skill in skills:
        space = skill.card.space
        rate = next((r for known, r in tested if _same(known, space)), None)
        if rate is None:
            setup = RecoverySetup(world=world, course=task.info.course, surrogate=surrogate, space=space)
            rate = authority_test(setup, states, task.expert())
            tested.append((space, rate))
        require_authority(skill.card.name, rate)
        rates[skill.card.name] = rate
    return rates


def _same(a: ResidualSpace, b: ResidualSpace) -> bool:
    return a.dims == b.dims and np.array_equal(a.alpha, b.alpha) and np.array_equal(a.beta, b.beta)
