"""What the hand holds and where the target lies, judged from fingers and tracked scene. Called by watch and recover."""

import numpy as np

from core.arrays import Floats
from core.flow import Observation
from core.kinematics import HOME_RAD, forward
from core.scene import SceneState
from core.subtasks import Manner, SubTask
from runtime.config import HandRules

HOME_POS_M = forward(HOME_RAD[None])[0][0]
"""Where the tool is when episodes start, in base, shape (3,) [m]."""
AT_HOME_M = 0.02
"""A tool this near to it is there [m]."""


def closing(obs: Observation, rules: HandRules) -> bool:
    """Whether the hand is told to be closed."""
    return obs.gripper_command < rules.closed_command


def gripping(obs: Observation, rules: HandRules) -> bool:
    """Whether something keeps the fingers wider than commanded; true as well while they are still closing."""
    return closing(obs, rules) and obs.gripper_opening - obs.gripper_command > rules.grip_gap


def seen(scene: SceneState | None, name: str, rules: HandRules) -> Floats | None:
    """Returns the position (3,) [m] in base of an object when the estimate is fresh and sure, else None."""
    found = scene.objects.get(name) if scene is not None and name else None
    if scene is None or found is None or found.confidence < rules.confidence or scene.age_s(name) > rules.fresh_s:
        return None
    return found.pos_in_base


def reach(obs: Observation, position: Floats | None) -> float:
    """Returns how far the tool centre point is from a position [m]; infinity when that is None."""
    if position is None:
        return float("inf")
    offset = position - obs.tcp_pos_in_base
    return float(np.sqrt(offset @ offset))


def held(obs: Observation, scene: SceneState | None, name: str, rules: HandRules, table_height_m: float = 0.0) -> bool:
    """Whether the object is in the hand and lifted: fingers blocked, object tracked at the tool, tool high up.

    Args:
        obs: What was measured.
        scene: Where things are thought to be.
        name: The object.
        rules: What counts.
        table_height_m: Table top in base [m].
    """
    high = obs.tcp_pos_in_base[2] - table_height_m >= rules.lifted_m
    return bool(high) and gripping(obs, rules) and reach(obs, seen(scene, name, rules)) <= rules.near_m


def at_home(obs: Observation, rules: HandRules) -> bool:
    """Whether the open hand is where episodes start."""
    opened = not closing(obs, rules) and obs.gripper_opening >= rules.closed_command
    return opened and reach(obs, HOME_POS_M) <= AT_HOME_M


def free(obs: Observation, scene: SceneState | None, sub: SubTask, rules: HandRules) -> bool:
    """Whether the hand has let go of a sub-task's target and has retreated from it.

    A tool for wiping stays in the hand, and a hand that pushed may stay closed.

    Args:
        obs: What was measured.
        scene: Where things are thought to be.
        sub: The sub-task.
        rules: What counts.
    """
    if sub.manner is Manner.WIPE:
        return True
    target = seen(scene, sub.roles.target, rules)
    opened = not closing(obs, rules) and obs.gripper_opening >= rules.closed_command
    if target is None or not (opened or sub.manner is Manner.PUSH):
        return False
    return reach(obs, target) >= rules.retreat_m
