"""The conditional curriculum: while almost nothing succeeds, some recoveries begin in an easier version of the scene.

An edit removes what is in the way or steadies what shakes; the goal stays what it is, and an edit that is not in the
list, or would touch target or goal, is refused. Successes of the easier version go to a buffer of their own, which is
imitated too. Called by `coach`. Source: Reflective Self-Adaptation, conditional curriculum below a success of 0.1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from core.errors import ConfigError, unknown_name
from core.manner import Manner
from core.scene import ROLES

Kind = Literal["remove", "steady", "longer"]
KINDS: tuple[Kind, ...] = get_args(Kind)
EASED_SHARE = 0.5
"""Share of recoveries that begin in the easier scene while it is eased."""
EASE_BELOW = 0.1
"""Success below which scenes are eased."""
HARDEN_ABOVE = 0.3
"""Success above which they are not eased any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneEdit:
    """One change of the scene."""

    kind: Kind
    """"remove" parks an object, "steady" takes away tracker noise and domain changes, "longer" gives half more time."""
    role: str = ""
    """Whose object is removed; "" for the other kinds."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("scene edit", str(self.kind), KINDS)
        if (self.kind == "remove") != bool(self.role):
            raise ConfigError(f"scene edit {self.kind!r} with role {self.role!r}: exactly removals name a role")
        if self.role and self.role not in ROLES:
            raise unknown_name("role of a scene edit", self.role, ROLES)
        if self.role in ("target", "goal"):
            raise ConfigError(f"a scene edit may not remove the {self.role}: the goal stays what it is; allowed: "
                              f"distractor, obstacle")  # fmt: skip


def easing(manner: Manner, *, obstacle: bool) -> tuple[SceneEdit, ...]:
    """Returns the embedded edits for a sub-task, as a model would name them.

    Args:
        manner: How it is done.
        obstacle: Whether something stands in the way.
    """
    edits = [SceneEdit(kind="steady")]
    if obstacle:
        edits.append(SceneEdit(kind="remove", role="obstacle"))
    if manner in (Manner.INSERT, Manner.WIPE):
        edits.append(SceneEdit(kind="longer"))
    return tuple(edits)


class Curriculum:
    """Says whether scenes are eased now.

    Args:
        edits: What easing does; without any the scenes stay as they are.
        patience: Rounds with too little success before scenes are eased.
    """

    def __init__(self, edits: Sequence[SceneEdit], patience: int = 10) -> None:
        self.edits, self._patience = tuple(edits), patience
        self.poor = 0
        """Rounds in a row with too little success."""
        self.eased = False
        """Whether scenes are eased now."""
        self.changes: list[str] = []
        """What was decided, in plain words."""

    def note(self, round_: int, success: float) -> bool:
        """Takes the success of a round; returns whether easing began or ended.

        Args:
            round_: Its number, for the words.
            success: Share of recoveries that succeeded in scenes as they are; NaN, which changes nothing, when none
                has ended yet.
        """
        if math.isnan(success):
            return False
        self.poor = self.poor + 1 if success < EASE_BELOW else 0
        before = self.eased
        if not self.eased and self.edits and self.poor >= self._patience:
            self.eased = True
        elif self.eased and success > HARDEN_ABOVE:
            self.eased = False
        if self.eased is not before:
            self.changes.append(f"round {round_}: success {success:.2f}, {'eased' if self.eased else 'as it is again'}")
        return self.eased is not before
