"""What there is to do, in order: sub-tasks, who plays which role in each, and when each is done.

One rule for simulator, training and run time: it looks at object positions only, true or tracked. Called by
`core.tasks`, the simulator, the residual's features and the runtime.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError, unknown_name
from core.manner import Manner as Manner  # noqa: PLC0414  # a sub-task and its manner are asked for together
from core.recovery import RecoveryStage
from core.scene import ROLES, SceneRoles

_FETCH = (RecoveryStage.RETREAT, RecoveryStage.APPROACH, RecoveryStage.ALIGN, RecoveryStage.GRASP)
STAGES_OF = {
    Manner.PLACE: (
        *_FETCH, RecoveryStage.LIFT, RecoveryStage.TRANSPORT, RecoveryStage.PLACE, RecoveryStage.RELEASE
    ),
    Manner.INSERT: (
        *_FETCH, RecoveryStage.LIFT, RecoveryStage.TRANSPORT, RecoveryStage.INSERT, RecoveryStage.RELEASE
    ),
    Manner.WIPE: (*_FETCH, RecoveryStage.LIFT, RecoveryStage.TRANSPORT, RecoveryStage.WIPE),
    Manner.PULL: (*_FETCH, RecoveryStage.PULL, RecoveryStage.RELEASE),
    Manner.PUSH: (RecoveryStage.RETREAT, RecoveryStage.APPROACH, RecoveryStage.PUSH),
}  # fmt: skip
"""Stages of each manner, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A box that an object's centre is in, relative to another object's centre or to the base."""

    thing: str
    """Object, or "{target}"."""
    anchor: str = ""
    """Object, or "{target}"; "" is the base."""
    low: Floats
    """Least offset x, y, z in base axes, shape (3,) [m]; -inf where it does not matter."""
    high: Floats
    """Largest offset, shape (3,) [m]; inf where it does not matter."""

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
            if getattr(self, name).shape != (3,) or np.isnan(getattr(self, name)).any():
                raise ConfigError(f"{name} of {self.thing!r} is {getattr(self, name)}; give 3 numbers or infinities")

    def holds(self, names: Sequence[str], pos_in_base: Floats) -> Bools:
        """Returns where it is so, shape (N,); never where a position is NaN (not known).

        Args:
            names: O object names.
            pos_in_base: Their centres, shape (N, O, 3) [m].
        """
        offset = pos_in_base[:, names.index(self.thing)]
        if self.anchor:
            offset = offset - pos_in_base[:, names.index(self.anchor)]
        return np.asarray(((offset >= self.low) & (offset <= self.high)).all(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SubTask:
    """One thing to do."""

    name: str
    manner: Manner
    roles: SceneRoles
    """Who is who while it is done; a name may be "{target}" or "{distractor}" until a course is made."""
    done: tuple[Where, ...]
    """It is done where any of these holds."""

    @property
    def stages(self) -> tuple[RecoveryStage, ...]:
        """Its recovery stages, in order."""
        return STAGES_OF[self.manner]

    def filled(self, target: str, distractor: str) -> "SubTask":
        """Returns it with the names that an instruction gives."""
        names = {"{target}": target, "{distractor}": distractor}
        roles = {r: names.get(self.roles.of(r), self.roles.of(r)) for r in ROLES}
        done = tuple(
            replace(w, thing=names.get(w.thing, w.thing), anchor=names.get(w.anchor, w.anchor)) for w in self.done
        )
        return replace(self, roles=SceneRoles(**roles), done=done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The sub-tasks of one instruction, in order."""

    names: tuple[str, ...]
    """Objects of the task, the order of every position array."""
    subtasks: tuple[SubTask, ...]
    """S of them, at least one."""

    def __post_init__(self) -> None:
        if not self.subtasks:
            raise ConfigError("a course has no sub-task; give at least one")
        for sub in self.subtasks:
            for name in (*(w.thing for w in sub.done), *(w.anchor for w in sub.done), *map(sub.roles.of, ROLES)):
                if name and name not in self.names:
                    raise unknown_name(f"object of sub-task {sub.name!r}", name, self.names)

    def progress(self, pos_in_base: Floats) -> Ints:
        """Returns how many sub-tasks are done, counted up to the first that is not, shape (N,): 0..S.

        Args:
            pos_in_base: Object centres, shape (N, O, 3) [m]; NaN where not known.
        """
        count = np.zeros(len(pos_in_base), dtype=np.int64)
        going = np.ones(len(pos_in_base), dtype=bool)
        for sub in self.subtasks:
            going = going & np.logical_or.reduce([w.holds(self.names, pos_in_base) for w in sub.done])
            count += going
        return count

    def at(self, progress: int) -> SubTask:
        """Returns the sub-task to work on after so many are done; the last one when all are."""
        return self.subtasks[min(progress, len(self.subtasks) - 1)]
