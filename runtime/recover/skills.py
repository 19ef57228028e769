"""Which recovery skill helps against what. Called when a diagnosis arrived."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import ConfigError
from core.failures import FailureMode
from core.manner import Manner
from core.ports import Residual
from core.recovery import RecoveryStage, SkillCard


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A trained residual and the card that says what it is for."""

    card: SkillCard
    residual: Residual


class SkillBank:
    """Every skill a loop may use.

    Args:
        skills: In order of preference; names are distinct.

    Raises:
        ConfigError: Two skills have the same name.
    """

    def __init__(self, skills: Sequence[Skill]) -> None:
        names = [s.card.name for s in skills]
        if len(set(names)) != len(names):
            raise ConfigError(f"skills {names} must have distinct names; remove one of the doubles")
        self._skills = tuple(skills)

    def helps(self, task: str, mode: FailureMode, manner: Manner, stage: RecoveryStage) -> bool:
        """Whether some skill was trained for this mode and manner in this task and may start from this stage."""
        return self.find(task, mode, manner, stage) is not None

    def find(self, task: str, mode: FailureMode, manner: Manner, stage: RecoveryStage) -> Skill | None:
        """Returns the first skill that helps, None when none does."""
        return next((s for s in self._skills if s.card.helps(task, mode, manner) and stage in s.card.stages), None)
