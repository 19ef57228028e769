"""The verified hand-back: the condition under which the policy gets the arm again. Called by each attempt."""

from core.errors import unknown_name
from core.flow import Observation
from core.scene import SceneRoles, SceneState
from runtime.config import HandRules
from runtime.hand import held, placed


class Handback:
    """Counts ticks in a row in which a condition holds.

    Args:
        condition: "held": the target is in the hand and lifted. "placed": it lies on the goal, the hand is open and
            has retreated. Both judged from the tracked scene, never from truth.
        roles: Who is who in this episode.
        rules: What counts as held and placed.
        ticks: Ticks in a row needed.
        table_height_m: Table top in base [m].

    Raises:
        ConfigError: Unknown condition.
    """

    def __init__(
        self, condition: str, roles: SceneRoles, rules: HandRules, *, ticks: int, table_height_m: float = 0.0
    ) -> None:
        if condition not in ("held", "placed"):
            raise unknown_name("resume condition", condition, ("held", "placed"))
        self._condition, self._roles, self._rules = condition, roles, rules
        self._needed, self._table_m = ticks, table_height_m
        self._streak = 0

    def update(self, obs: Observation, scene: SceneState | None) -> bool:
        """Returns whether the condition has now held for long enough; a placed target satisfies "held" too."""
        self._streak = self._streak + 1 if self._holds(obs, scene) else 0
        return self._streak >= self._needed

    def _holds(self, obs: Observation, scene: SceneState | None) -> bool:
        if placed(obs, scene, self._roles, self._rules):
            return True
        return self._condition == "held" and held(obs, scene, self._roles.target, self._rules, self._table_m)
