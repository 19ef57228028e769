"""The verified hand-back: the condition under which the policy gets the arm again. Called by each attempt."""

from core.errors import unknown_name
from core.flow import Observation
from core.recovery import RESUME_WHEN
from core.scene import SceneState
from core.subtasks import Course
from runtime.config import HandRules
from runtime.due import due_in
from runtime.hand import at_home, free, held


class Handback:
    """Counts ticks in a row in which a condition holds.

    Args:
        condition: "held": the target is in the hand and lifted. "placed": the sub-task that was due at the first
            update is done, the hand is free and has retreated. Both judged from the tracked scene, never from truth.
            "home": the open hand is back where episodes start. A finished sub-task satisfies all of them.
        course: What the robot was told to do.
        rules: What counts as held and free.
        ticks: Ticks in a row needed.
        table_height_m: Table top in base [m].

    Raises:
        ConfigError: Unknown condition.
    """

    def __init__(
        self, condition: str, course: Course, rules: HandRules, *, ticks: int, table_height_m: float = 0.0
    ) -> None:
        if condition not in RESUME_WHEN:
            raise unknown_name("resume condition", condition, RESUME_WHEN)
        self._condition, self._course, self._rules = condition, course, rules
        self._needed, self._table_m = ticks, table_height_m
        self._streak, self._from = 0, -1

    def update(self, obs: Observation, scene: SceneState | None) -> bool:
        """Returns whether the condition has now held for long enough."""
        self._streak = self._streak + 1 if self._holds(obs, scene) else 0
        return self._streak >= self._needed

    def _holds(self, obs: Observation, scene: SceneState | None) -> bool:
        now = due_in(self._course, scene)
        if self._from < 0:
            self._from = now.progress
        if (now.finished or now.progress > self._from) and free(obs, scene, self._course.at(self._from), self._rules):
            return True
        if self._condition == "home":
            return at_home(obs, self._rules)
        return self._condition == "held" and held(obs, scene, now.roles.target, self._rules, self._table_m)
