"""What may be known of a task without looking into the simulator: its objects, their looks, its words."""

import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from core.arrays import Floats, floats
from core.errors import ConfigError
from core.failures import FailureMode
from core.recovery import RecoveryStage
from core.scene import SceneRoles
from core.subtasks import Course, SubTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """How a thing is joined to another one: it can only be at `offset_m` from it, shifted along `axis`."""

    parent: str
    """Object it is joined to, which is never turned."""
    offset_m: Floats
    """Its centre from the parent's, shape (3,) [m]."""
    axis: Floats = field(default_factory=lambda: np.array([1.0, 0.0, 0.0]))
    """Unit direction in which it slides, shape (3,)."""
    range_m: tuple[float, float] = (0.0, 0.0)
    """How far it can be shifted along the axis, least and most [m]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "offset_m", floats("offset_m [m]", self.offset_m, (3,)))
        object.__setattr__(self, "axis", floats("axis", self.axis, (3,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """One kind of thing on the table: enough to find it by colour and to grasp it."""

    name: str
    words: tuple[str, ...]
    """Words or phrases that name it in an instruction, e.g. ("apple", "red fruit")."""
    shape: Literal["sphere", "disc", "box", "built"]
    """"built": made of several parts by the task's `furnish`."""
    size_m: Floats
    """Half extents, shape (3,) [m]; a sphere has its radius three times, a disc (radius, radius, half height)."""
    rgb: Floats
    """Colour, shape (3,), [0, 1]."""
    graspable: bool
    """Whether it lies loose on the table; else it is fixed, or slides in something fixed."""
    vanishes: bool = False
    """Whether it can cease to be, as a stain does; a tracker then reports it below the table."""
    guide: Guide | None = None
    """How it is joined to another object, None when it stands by itself."""
    floor_m: float | None = None
    """How high above its centre other things lie on it or in it; None when they lie on the table there [m]."""

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
    family: Literal["short_horizon", "long_horizon", "contact_rich"]
    templates: tuple[str, ...]
    """Instruction templates with {target} and {goal}; the first half for training, all for evaluation."""
    subtasks: tuple[SubTask, ...]
    """What there is to do, in order; "{target}" and "{distractor}" stand for what the instruction names."""
    modes: tuple[FailureMode, ...]
    """Failure modes that can be injected."""
    episode_steps: int
    """Control steps after which an episode has failed, for every arm of an evaluation."""

    @property
    def stages(self) -> tuple[RecoveryStage, ...]:
        """Recovery stages of all its sub-tasks, in the order of the enum."""
        used = {stage for sub in self.subtasks for stage in sub.stages}
        return tuple(stage for stage in RecoveryStage if stage in used)

    @property
    def names_target(self) -> bool:
        """Whether an instruction has to name the target."""
        return any(sub.roles.target == "{target}" for sub in self.subtasks)

    def course(self, instruction: str) -> Course:
        """Returns what an instruction asks for, read from its words alone.

        Args:
            instruction: What the robot was told.

        Raises:
            ConfigError: The task needs a target, and no graspable object, or more than one, is named.
        """
        names = tuple(o.name for o in self.objects)
        if not self.names_target:
            return Course(names=names, subtasks=self.subtasks)
        target, distractor = self._named(instruction)
        return Course(names=names, subtasks=tuple(sub.filled(target, distractor) for sub in self.subtasks))

    def roles(self, instruction: str) -> SceneRoles:
        """Returns who is who in the first sub-task of an instruction; raises as `course` does."""
        return self.course(instruction).subtasks[0].roles

    def named(self, instruction: str) -> str:
        """Returns the target that an instruction names; raises as `course` does."""
        return self._named(instruction)[0]

    def _named(self, instruction: str) -> tuple[str, str]:
        """Returns the target that the instruction names and the first graspable object that it does not."""
        text = instruction.lower()
        named = [o.name for o in self.objects if o.graspable and any(_has(text, w) for w in (o.name, *o.words))]
        graspable = [o.name for o in self.objects if o.graspable]
        if len(named) != 1:
            raise ConfigError(
                f"instruction {instruction!r} names {named or 'no object'}; name exactly one of {graspable}"
            )
        return named[0], next((n for n in graspable if n != named[0]), "")


def _has(text: str, phrase: str) -> bool:
    return re.search(rf"\b{re.escape(phrase)}\b", text) is not None
