"""A residual on an arm that follows later than the one it was trained on. Put in by `build_loop`.

It is shown the arm as it will be when the correction takes effect, if the arm goes on as it moves now.
"""

from dataclasses import replace

import numpy as np

from core.arrays import Floats
from core.flow import Observation
from core.kinematics import forward
from core.ports import Residual
from core.scene import SceneState


class LedResidual:
    """A `core.ports.Residual` that looks a little ahead.

    Args:
        residual: Trained on an arm that follows at once.
        lag_s: How much later the arm follows [s].
    """

    def __init__(self, residual: Residual, lag_s: float) -> None:
        self._residual, self._lag_s = residual, lag_s

    def correct(self, obs: Observation, scene: SceneState, base: Floats) -> Floats:
        """Returns (A,), dimensionless in [-1, 1], for the arm as it will be."""
        return self._residual.correct(led_on(obs, self._lag_s), scene, base)

    def reset(self) -> None:
        """Forgets its memory: a new attempt starts."""
        self._residual.reset()


def led_on(obs: Observation, lag_s: float) -> Observation:
    """Returns the observation with joints and tool where they will be after `lag_s` [s] at the measured velocity.

    Args:
        obs: As measured.
        lag_s: How much later [s].
    """
    later = obs.joint_pos + obs.joint_vel * lag_s
    (now_pos, later_pos), _ = forward(np.stack([obs.joint_pos, later]))
    return replace(obs, joint_pos=later, tcp_pos_in_base=obs.tcp_pos_in_base + later_pos - now_pos)
