"""When the loop claims that the task is done: target on the goal, let go, hand retreated, as tracked.

Called after each step by whoever runs the episode; a claim is not a success, the task's own predicate decides that.
"""

from core.flow import Phase, Step
from core.scene import SceneRoles
from runtime.config import HandRules
from runtime.recover.verify import Handback

_DRIVEN = frozenset({Phase.RUNNING, Phase.RECOVERING, Phase.OPERATOR})


class TaskDone:
    """Says in which step the task counts as done.

    Args:
        roles: Who is who in this episode; without a goal nothing is ever done.
        rules: What counts as placed.
        ticks: Ticks in a row needed.
    """

    def __init__(self, roles: SceneRoles, rules: HandRules, *, ticks: int) -> None:
        self._placed = Handback("placed", roles, rules, ticks=ticks)

    def __call__(self, step: Step) -> bool:
        """Returns whether the task is done after this step; never while the arm holds."""
        done = self._placed.update(step.observation, step.arrived.scene)
        return done and step.phase in _DRIVEN
