"""At which stage a recovery starts: a rule of failure mode and geometry. Called by the probe as diagnoser."""

import numpy as np

from core.failures import FailureMode
from core.flow import Observation
from core.recovery import RecoveryStage
from core.scene import SceneRoles, SceneState
from runtime.config import HandRules
from runtime.hand import gripping, held, reach, seen

_ABOVE_M = 0.03
"""A tool this near to the target in the table plane is above it [m]."""
_BACK_OFF = frozenset({FailureMode.COLLISION, FailureMode.JAM})


def stage_for(
    mode: FailureMode, obs: Observation, scene: SceneState | None, roles: SceneRoles, rules: HandRules
) -> RecoveryStage:
    """Returns the stage at which recovery from `mode` starts.

    One of RETREAT, RELEASE, TRANSPORT, LIFT, GRASP, APPROACH: back off from a contact; let go of what is not the
    target; carry on with a target in the hand; else fetch it.

    Args:
        mode: What failed.
        obs: What is measured.
        scene: Where things are thought to be.
        roles: Who is who in this episode.
        rules: What counts as held.
    """
    if mode in _BACK_OFF:
        return RecoveryStage.RETREAT
    target = seen(scene, roles.target, rules)
    if gripping(obs, rules):
        if mode is FailureMode.WRONG_OBJECT or reach(obs, target) > rules.near_m:
            return RecoveryStage.RELEASE
        high = held(obs, scene, roles.target, rules)
        return RecoveryStage.TRANSPORT if high else RecoveryStage.LIFT
    above = target is not None and float(np.hypot(*(target - obs.tcp_pos_in_base)[:2])) < _ABOVE_M
    return RecoveryStage.GRASP if above else RecoveryStage.APPROACH
