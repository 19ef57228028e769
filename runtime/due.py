"""Which sub-task is due, as far as the tracked scene tells. Called by watch and recover."""

from dataclasses import dataclass

from core.scene import SceneRoles, SceneState
from core.stages import known_positions
from core.subtasks import Course, SubTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What is due in one tick."""

    progress: int
    """Sub-tasks done, up to the first that is not."""
    sub: SubTask
    """The one to work on; the last one when all are done."""
    finished: bool
    """Whether all are done."""

    @property
    def roles(self) -> SceneRoles:
        """Who is who in it."""
        return self.sub.roles


def due_in(course: Course, scene: SceneState | None) -> Due:
    """Returns what is due; the first sub-task where nothing is known of the scene.

    Args:
        course: What the robot was told to do.
        scene: Where things are thought to be.
    """
    progress = 0 if scene is None else int(course.progress(known_positions(course, scene))[0])
    return Due(progress=progress, sub=course.at(progress), finished=progress == len(course.subtasks))
