"""At which stage a recovery starts: back off from a contact, else what is to be done next. Called by the diagnosers."""

from core.failures import FailureMode
from core.flow import Observation
from core.recovery import RecoveryStage
from core.scene import SceneState
from core.stages import stage_now
from core.subtasks import Course

BACK_OFF = frozenset({FailureMode.COLLISION, FailureMode.JAM})
"""Modes that press on something: first of all the hand gives way."""


def stage_for(mode: FailureMode, obs: Observation, scene: SceneState | None, course: Course) -> RecoveryStage:
    """Returns the stage at which recovery from `mode` starts.

    Args:
        mode: What failed.
        obs: What is measured.
        scene: Where things are thought to be.
        course: What the robot was told to do.
    """
    if mode in BACK_OFF or scene is None:
        return RecoveryStage.RETREAT
    return stage_now(course, obs, scene)
