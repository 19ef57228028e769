"""Courses of several manners on one table, for tests of whoever reads what is due."""

from collections.abc import Sequence

import numpy as np

from core.scene import SceneRoles, SceneState, TrackedObject
from core.subtasks import Course, Manner, SubTask, Where

NAMES = ("apple", "lemon", "plate", "tray", "sponge", "stain", "card")
FREE = np.full(3, np.inf)


def where(thing: str, anchor: str, aside_m: float = 0.05) -> Where:
    """Above the anchor, at any height."""
    low, high = np.array([-aside_m, -aside_m, 0.0]), np.array([aside_m, aside_m, np.inf])
    return Where(thing=thing, anchor=anchor, low=low, high=high)


def gone(thing: str) -> Where:
    """Below the table, wherever."""
    return Where(thing=thing, low=-FREE, high=np.array([np.inf, np.inf, -0.1]))


APPLE = SubTask(
    name="apple on the plate", manner=Manner.PLACE,
    roles=SceneRoles(target="apple", distractor="lemon", goal="plate"), done=(where("apple", "plate"),),
)  # fmt: skip
LEMON = SubTask(
    name="lemon on the tray", manner=Manner.PLACE,
    roles=SceneRoles(target="lemon", distractor="apple", goal="tray"), done=(where("lemon", "tray"),),
)  # fmt: skip
WIPE = SubTask(
    name="stain gone", manner=Manner.WIPE, roles=SceneRoles(target="sponge", goal="stain"), done=(gone("stain"),)
)
PUSH = SubTask(
    name="card to the tray", manner=Manner.PUSH, roles=SceneRoles(target="card", goal="tray"),
    done=(where("card", "tray"),),
)  # fmt: skip


def course(*subtasks: SubTask) -> Course:
    """The sub-tasks in this order."""
    return Course(names=NAMES, subtasks=subtasks)


def tracked(t_ns: int = 0, confidence: float = 0.9, age_s: float = 0.0, **places: Sequence[float]) -> SceneState:
    """A scene in which things are where they are said to be."""
    objects = {
        name: TrackedObject(pos_in_base=np.array(pos), t_ns=t_ns - round(age_s * 1e9), confidence=confidence)
        for name, pos in places.items()
    }
    return SceneState(t_ns=t_ns, objects=objects, source="image")
