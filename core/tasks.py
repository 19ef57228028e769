"""What may be known of a task without looking into the simulator: its objects, their looks, its words."""

import re
from dataclasses import dataclass
from typing import Literal

from core.arrays import Floats, floats
from core.errors import ConfigError
from core.failures import FailureMode
from core.recovery import RecoveryStage
from core.scene import SceneRoles


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One kind of thing on the table: enough to find it by colour and to grasp it."""

    name: str
    words: tuple[str, ...]
    """Words or phrases that name it in an instruction, e.g. ("apple", "red fruit")."""
    shape: Literal["sphere", "disc", "box"]
    size_m: Floats
    """Half extents, shape (3,) [m]; a sphere has its radius three times, a disc (radius, radius, half height)."""
    rgb: Floats
    """Colour, shape (3,), [0, 1]."""
    graspable: bool

    def __post_init__(self) -> None:
        object.__setattr__(self, "size_m", floats("size_m [m]", self.size_m, (3,)))
        object.__setattr__(self, "rgb", floats("rgb", self.rgb, (3,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """One task as a robot lab would describe it."""

    name: str
    objects: tuple[ObjectInfo, ...]
    goal: str
    """Name of the object the target belongs on, "" when none."""
    obstacle: str
    """Name of the object that may get in the way, "" when none."""
    templates: tuple[str, ...]
    """Instruction templates with {target} and {goal}; the first half for training, all for evaluation."""
    stages: tuple[RecoveryStage, ...]
    """Stages in order."""
    modes: tuple[FailureMode, ...]
    """Failure modes that can be injected."""
    episode_steps: int
    """Control steps after which an episode has failed, for every arm of an evaluation."""

    def roles(self, instruction: str) -> SceneRoles:
        """Returns who is who, read from the instruction's words alone.

        Args:
            instruction: What the robot was told.

        Raises:
            ConfigError: No graspable object, or more than one, is named.
        """
        text = instruction.lower()
        named = [o.name for o in self.objects if o.graspable and any(_has(text, w) for w in (o.name, *o.words))]
        graspable = [o.name for o in self.objects if o.graspable]
        if len(named) != 1:
            raise ConfigError(
                f"instruction {instruction!r} names {named or 'no object'}; name exactly one of {graspable}"
            )
        others = [n for n in graspable if n != named[0]]
        return SceneRoles(
            target=named[0], distractor=others[0] if others else "", goal=self.goal, obstacle=self.obstacle
        )


def _has(text: str, phrase: str) -> bool:
    return re.search(rf"\b{re.escape(phrase)}\b", text) is not None
