"""The cheap alternative to a learned recovery: let go, go up, go back to the start, let the policy try again.

A scripted `core.ports.Residual` with cards like those of trained skills, so that the same loop, guard, budgets and
verified hand-back apply to it. Used by the arm `retry` of an evaluation.
"""

import numpy as np

from core.arrays import Floats
from core.failures import FailureMode
from core.flow import Observation
from core.kinematics import HOME_RAD, forward
from core.recovery import Rate, RecoveryStage, SkillCard
from core.robots import EE_DELTA, ResidualSpace
from core.scene import SceneState
from core.tasks import TaskInfo
from core.transforms import quat_conjugate, quat_multiply, rotvec_from_quat
from runtime.hand import HOME_POS_M
from runtime.recover.skills import Skill

OPEN_TICKS = 8
"""The hand opens for so long before it goes [control steps]."""
UP_M = 0.02
"""It is up when it is at most this far below the height of home [m]."""
GAIN, SHARE = 0.6, 0.7
"""Share of the way that is asked for in one step, and the largest share of the action range."""
_STRAIGHT_UP = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
_HOME_XYZW = forward(HOME_RAD[None])[1][0]
ALONE = ResidualSpace(dims=tuple(range(EE_DELTA.size)), alpha=np.zeros(EE_DELTA.size), beta=np.ones(EE_DELTA.size))
"""The base policy has no say while the arm goes back."""


class ReturnHome:
    """Opens the hand, lifts it straight up, brings it home; implements `core.ports.Residual`.

    The hand opens first: what it holds then falls from no higher than where it failed.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begins again."""
        self._ticks, self._up = 0, False

    def correct(self, obs: Observation, scene: SceneState, base: Floats) -> Floats:  # noqa: ARG002  # it looks at neither
        """Returns the whole action (A,), dimensionless in [-1, 1]."""
        self._ticks += 1
        self._up |= bool(obs.tcp_pos_in_base[2] >= HOME_POS_M[2] - UP_M)
        way = HOME_POS_M - obs.tcp_pos_in_base
        turn = rotvec_from_quat(quat_multiply(_HOME_XYZW, quat_conjugate(obs.tcp_quat_xyzw_in_base)))
        moved = np.concatenate([way, turn]) * (1.0 if self._up else _STRAIGHT_UP) * (self._ticks > OPEN_TICKS)
        most = SHARE * EE_DELTA.high[:6]
        return EE_DELTA.normalise(np.append(np.clip(GAIN * moved, -most, most), 1.0))


def retry_skills(info: TaskInfo, base_policy: str) -> tuple[Skill, ...]:
    """Returns the way home as a skill for each manner of the task's sub-tasks, against every failure there is.

    Args:
        info: The task.
        base_policy: name@hash of the policy that is to try again.
    """
    manners = dict.fromkeys(sub.manner for sub in info.subtasks)
    modes = tuple(m for m in FailureMode if m is not FailureMode.UNKNOWN)
    nothing = Rate(k=0, n=0)
    return tuple(
        Skill(
            card=SkillCard(
                name=f"{manner}-home", task=info.name, manner=manner, modes=modes, stages=tuple(RecoveryStage),
                space=ALONE, resume_when="home", weights_file="", weights_sha256="", reward_hash="",
                base_policy=base_policy, surrogate="", warm_start="scripted", lint="passed", inputs="state",
                train_seed=0, train_steps=0, eval_seeds=(0, 0), evaluation=nothing, base_alone=nothing,
            ),
            residual=ReturnHome(),
        )
        for manner in manners
    )  # fmt: skip
