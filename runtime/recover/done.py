"""When the loop claims that the task is done: every sub-task is, the hand is free and has retreated, as tracked.

Called after each step by whoever runs the episode; a claim is not a success, the task's own predicate decides that.
"""

from core.flow import Phase, Step
from core.subtasks import Course, Manner
from runtime.config import HandRules
from runtime.due import due_in
from runtime.hand import free

_DRIVEN = frozenset({Phase.RUNNING, Phase.RECOVERING, Phase.OPERATOR})


class TaskDone:
    """Says in which step the task counts as done.

    Args:
        course: What the robot was told to do.
        rules: What counts as free.
        ticks: Ticks in a row needed.
        table_height_m: Table top in base [m]; a hand that keeps its tool has to rise from it.
    """

    def __init__(self, course: Course, rules: HandRules, *, ticks: int, table_height_m: float = 0.0) -> None:
        self._course, self._rules, self._needed, self._table_m = course, rules, ticks, table_height_m
        self._streak = 0

    def __call__(self, step: Step) -> bool:
        """Returns whether the task is done after this step; never while the arm holds."""
        obs, scene = step.observation, step.arrived.scene
        last = self._course.subtasks[-1]
        risen = last.manner is not Manner.WIPE or obs.tcp_pos_in_base[2] - self._table_m >= self._rules.withdrawn_m
        done = due_in(self._course, scene).finished and free(obs, scene, last, self._rules) and risen
        self._streak = self._streak + 1 if done else 0
        return self._streak >= self._needed and step.phase in _DRIVEN
