"""What the episodes of a task are told: its templates, filled with names. Made by each task in `sim.tasks`."""

from collections.abc import Iterable
from itertools import product

import numpy as np

from core.tasks import ObjectInfo, TaskInfo
from sim.task import Wording


class Instructions:
    """All that one task's robot may be told: {target} is any graspable object, {goal} the task's, by any of its names.

    Args:
        info: The task.
        held_out: Names that the demonstrations never use.
    """

    def __init__(self, info: TaskInfo, *, held_out: tuple[str, ...] = ()) -> None:
        half = len(info.templates) // 2
        self._training = _filled(info, info.templates[:half], held_out)
        seen = set(self._training)
        self._paraphrases = tuple(text for text in _filled(info, info.templates) if text not in seen)
        self._by_target: dict[Wording, tuple[tuple[str, ...], ...]] = {
            "training": _by_target(info, self._training),
            "paraphrases": _by_target(info, self._paraphrases),
            "all": _by_target(info, self._training + self._paraphrases),
        }

    @property
    def training(self) -> tuple[str, ...]:
        """Those that demonstrations use: the first half of the templates, without the names held out."""
        return self._training

    @property
    def paraphrases(self) -> tuple[str, ...]:
        """Those held out of training: the other templates, and in all of them the names held out."""
        return self._paraphrases

    def draw(self, rng: np.random.Generator, wording: Wording) -> str:
        """Returns one at random; where the target has to be named, every target is as likely."""
        targets = self._by_target[wording]
        told = targets[int(rng.integers(len(targets)))]
        return told[int(rng.integers(len(told)))]


def _filled(info: TaskInfo, templates: tuple[str, ...], held_out: tuple[str, ...] = ()) -> tuple[str, ...]:
    targets = _names((o for o in info.objects if o.graspable), held_out)
    goals = _names((o for o in info.objects if o.name == info.goal), held_out) or ("",)
    filled = (text.format(target=target, goal=goal) for text, target, goal in product(templates, targets, goals))
    return tuple(dict.fromkeys(filled))


def _names(things: Iterable[ObjectInfo], held_out: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for thing in things for name in (thing.name, *thing.words) if name not in held_out)


def _by_target(info: TaskInfo, texts: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Returns the instructions that name each target, or all of them as one where none has to be named."""
    if not info.names_target:
        return (texts,)
    named = {text: info.named(text) for text in texts}
    return tuple(tuple(t for t in texts if named[t] == o.name) for o in info.objects if o.graspable)
