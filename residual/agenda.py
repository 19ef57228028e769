"""What each of N arms was told to do, and what of it is due, judged by positions. Called by batch and driver."""

from collections.abc import Callable, Sequence

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.scene import ROLES
from core.stages import MANNERS, Due
from core.subtasks import Course, Manner


class Agenda:
    """Courses of N arms; arms with equal courses are judged together.

    Args:
        course: Reads a course from an instruction, e.g. `TaskInfo.course`.
        n: Arms.
    """

    def __init__(self, course: Callable[[str], Course], n: int) -> None:
        self._course = course
        self._known: dict[str, int] = {}
        self._courses: list[Course] = []
        self._of: Ints = np.full(n, -1, dtype=np.int64)
        self._counts: Ints = np.zeros(0, dtype=np.int64)
        self._manners: Ints = np.zeros((0, 0), dtype=np.int64)
        self._roles: Ints = np.zeros((0, 0, len(ROLES)), dtype=np.int64)

    def tell(self, ids: Ints, instructions: Sequence[str]) -> None:
        """Gives arms `ids` their instructions, one each.

        Raises:
            ConfigError: The instructions speak of different objects.
        """
        for text in instructions:
            if text not in self._known:
                self._known[text] = self._number(self._course(text))
        self._of[ids] = [self._known[text] for text in instructions]

    def of(self, i: int) -> Course:
        """Returns the course of arm `i`."""
        return self._courses[int(self._of[i])]

    def due(self, ids: Ints, pos_in_base: Floats) -> Due:
        """Returns what is due for arms `ids`.

        Args:
            ids: Shape (M,).
            pos_in_base: Object centres, shape (M, O, 3) [m]; NaN where not known.
        """
        of = self._of[ids]
        progress = np.zeros(len(ids), dtype=np.int64)
        for k in np.unique(of):
            rows = of == k
            progress[rows] = self._courses[k].progress(pos_in_base[rows])
        at = np.minimum(progress, self._counts[of] - 1)
        return Due(
            progress=progress,
            finished=progress == self._counts[of],
            manner=self._manners[of, at],
            roles=self._roles[of, at],
        )

    def count(self, ids: Ints) -> Ints:
        """Returns how many sub-tasks arms `ids` have, shape (M,)."""
        return self._counts[self._of[ids]]

    def manner(self, ids: Ints, subtask: Ints) -> Ints:
        """Returns the manner of sub-tasks (M,) of arms `ids`, index into `MANNERS`, shape (M,)."""
        return self._manners[self._of[ids], subtask]

    def roles(self, ids: Ints, subtask: Ints) -> Ints:
        """Returns who is who in sub-tasks (M,) of arms `ids`, by object index, -1 when none, shape (M, 4)."""
        return self._roles[self._of[ids], subtask]

    def sliding(self, ids: Ints, objects: int) -> Bools:
        """Returns which of O objects are pulled in some sub-task of arms `ids`, shape (M, O)."""
        pulled = self._manners[self._of[ids]] == MANNERS.index(Manner.PULL)
        targets = np.where(pulled, self._roles[self._of[ids], :, 0], -1)
        return np.asarray((targets[:, :, None] == np.arange(objects)).any(axis=1))

    def _number(self, course: Course) -> int:
        """Returns the number of a course, a new one unless an equal course is known."""
        if self._courses and course.names != self._courses[0].names:
            raise ConfigError(f"one batch speaks of {self._courses[0].names} and of {course.names}; keep tasks apart")
        key = [(s.name, s.roles) for s in course.subtasks]
        for k, known in enumerate(self._courses):
            if [(s.name, s.roles) for s in known.subtasks] == key:
                return k
        self._courses.append(course)
        self._tabulate()
        return len(self._courses) - 1

    def _tabulate(self) -> None:
        self._counts = np.array([len(c.subtasks) for c in self._courses], dtype=np.int64)
        shape = (len(self._courses), int(self._counts.max()))
        self._manners, self._roles = np.full(shape, -1, np.int64), np.full((*shape, len(ROLES)), -1, np.int64)
        for k, course in enumerate(self._courses):
            for s, sub in enumerate(course.subtasks):
                self._manners[k, s] = MANNERS.index(sub.manner)
                names = [sub.roles.of(r) for r in ROLES]
                self._roles[k, s] = [course.names.index(name) if name else -1 for name in names]
