"""One bounded try of one skill. Started and asked by `Recovery`, once a tick."""

from enum import StrEnum

from core.flow import Step
from runtime.recover.skills import Skill
from runtime.recover.verify import Handback


class AttemptStatus(StrEnum):
    """How an attempt stands."""

    RUNNING = "running"
    """Neither of the others yet."""
    SUCCEEDED = "succeeded"
    """The hand-back is verified."""
    FAILED = "failed"
    """Its time is over."""


class Attempt:
    """One try, bounded in time, ended by its verified condition.

    Args:
        skill: The skill that drives.
        handback: The condition that ends it well.
        started_ns: When it began [ns].
        limit_s: How long it may last [s].
    """

    def __init__(self, skill: Skill, handback: Handback, *, started_ns: int, limit_s: float) -> None:
        self.skill = skill
        """The skill that drives."""
        self._handback, self._started_ns, self._limit_s = handback, started_ns, limit_s

    def update(self, step: Step) -> AttemptStatus:
        """Returns how the attempt stands after this step."""
        if self._handback.update(step.observation, step.arrived.scene):
            return AttemptStatus.SUCCEEDED
        lasted_s = (step.arrived.now_ns - self._started_ns) * 1e-9
        return AttemptStatus.FAILED if lasted_s >= self._limit_s else AttemptStatus.RUNNING
