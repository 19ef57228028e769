"""What each of N worlds was told, and which of its sub-tasks is due. Used by `sim.world`."""

import numpy as np

from core.arrays import Floats, Ints
from core.scene import ROLES
from core.subtasks import Course, SubTask
from core.tasks import TaskInfo


class Courses:
    """Instructions of N worlds; worlds with the same instruction are judged together.

    Args:
        info: The task.
        n: Worlds.
    """

    def __init__(self, info: TaskInfo, n: int) -> None:
        self._info, self._told = info, [""] * n
        self._known: dict[str, int] = {}
        self._courses: list[Course] = []
        self._roles: list[Ints] = []
        self._of: Ints = np.full(n, -1, dtype=np.int64)

    def instruction(self, i: int) -> str:
        """Returns what world `i` was told."""
        return self._told[i]

    def tell(self, i: int, instruction: str) -> None:
        """Gives world `i` its instruction."""
        if instruction not in self._known:
            self._known[instruction] = self._number(self._info.course(instruction))
        self._told[i], self._of[i] = instruction, self._known[instruction]

    def at(self, i: int, progress: int) -> SubTask:
        """Returns the sub-task of world `i` after so many are done."""
        return self._courses[int(self._of[i])].at(progress)

    def now(self, pos_in_base: Floats) -> tuple[Ints, Ints]:
        """Returns how many sub-tasks are done (N,) and who is who in the next, by object index (N, 4), -1 for nobody.

        Args:
            pos_in_base: Object centres, shape (N, O, 3) [m].
        """
        progress = np.zeros(len(self._of), dtype=np.int64)
        roles = np.full((len(self._of), len(ROLES)), -1, dtype=np.int64)
        for k in np.unique(self._of[self._of >= 0]):
            ids = np.flatnonzero(self._of == k)
            progress[ids] = self._courses[k].progress(pos_in_base[ids])
            roles[ids] = self._roles[k][np.minimum(progress[ids], len(self._roles[k]) - 1)]
        return progress, roles

    def _number(self, course: Course) -> int:
        """Returns the number of a course, a new one unless an equal course is known."""
        table = np.array([[_index(course, s.roles.of(r)) for r in ROLES] for s in course.subtasks], dtype=np.int64)
        for k, known in enumerate(self._courses):
            if [s.name for s in known.subtasks] == [s.name for s in course.subtasks] and (
                self._roles[k] == table
            ).all():
                return k
        self._courses.append(course)
        self._roles.append(table)
        return len(self._courses) - 1


def _index(course: Course, name: str) -> int:
    return course.names.index(name) if name else -1
