"""A state-input base policy: stands in for the image policy in residual training and in CI, never on the robot.

It is trained on the same demonstrations, from proprioception and object positions, and acts on whatever positions it is
told, right or wrong. Called by `train`; its weights are read and written by `surrogate_io`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.arrays import Floats
from core.flow import ActionChunk, Observation
from core.robots import EE_DELTA
from core.scene import ROLES, SceneState
from core.stages import MANNERS
from core.subtasks import Course
from residual.features import Body, Tracked, body_of_observation, tracked_of_scene
from residual.mlp import Mlp

MOST_SUBTASKS = 4
"""Sub-tasks that the network tells apart; any beyond count as the last."""
INPUTS = 8 + 5 * 3 + 2 * 9 + len(MANNERS) + MOST_SUBTASKS + 1
"""Proprioception, tool to target, goal and distractor, target to goal, target; tool to target and target to goal once
more, close up; manner, sub-tasks done."""
CLOSE_M, WAVE_M = 0.06, 0.05
"""How near the close-up reaches, and its wave length [m]: a hand closes and a peg enters within a tenth of it."""
_TARGET, _DISTRACTOR, _GOAL = ROLES.index("target"), ROLES.index("distractor"), ROLES.index("goal")
_MANNER_ROWS, _PROGRESS_ROWS = np.eye(len(MANNERS)), np.eye(MOST_SUBTASKS + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surrogate:
    """The trained network with its input statistics."""

    network: Mlp
    mean: Floats
    """Input mean, shape (INPUTS,)."""
    scale: Floats
    """Input standard deviation, shape (INPUTS,)."""
    chunk: int
    """T, rows in a chunk."""
    policy_id: str
    """name@hash."""

    def plan(self, body: Body, tracked: Tracked) -> Floats:
        """Returns chunks (N, T, A) in `EE_DELTA` units.

        Args:
            body: N arms.
            tracked: What the policy thinks is due, and where it thinks the objects are.
        """
        x = (surrogate_inputs(body.proprio, tracked) - self.mean) / self.scale
        unit = np.clip(self.network(x), -1.0, 1.0).reshape(len(x), self.chunk, EE_DELTA.size)
        return EE_DELTA.denormalise(unit)


def surrogate_inputs(proprio: Floats, tracked: Tracked) -> Floats:
    """Returns the network's inputs before scaling, shape (N, INPUTS).

    Args:
        proprio: As `core.demonstrations.proprio` gives it, shape (N, 8).
        tracked: What is due, and where everything is thought to be.
    """
    tcp, pos = proprio[:, :3], tracked.pos_in_base
    target, goal, distractor = pos[:, _TARGET], pos[:, _GOAL], pos[:, _DISTRACTOR]
    done = _PROGRESS_ROWS[np.minimum(tracked.due.progress, MOST_SUBTASKS)]
    places = [target - tcp, goal - tcp, distractor - tcp, goal - target, target]
    near = [_close_up(target - tcp), _close_up(goal - target)]
    return np.concatenate([proprio, *places, *near, _MANNER_ROWS[tracked.due.manner], done], axis=1)


def _close_up(offset: Floats) -> Floats:
    """Returns what tells small offsets (N, 3) [m] apart, and is 0 for large ones, shape (N, 9).

    Source: Fourier features (Tancik et al. 2020), here of one wave length, faded out with the distance.
    """
    fade = np.exp(-(offset * offset).sum(axis=1, keepdims=True) / CLOSE_M**2)
    phase = offset * (2.0 * np.pi / WAVE_M)
    return np.concatenate([fade * np.sin(phase), fade * np.cos(phase), np.tanh(offset / CLOSE_M)], axis=1)


class SurrogatePolicy:
    """A `core.ports.Policy` that reads positions from a believed scene.

    Args:
        surrogate: Trained network.
        course: Reads what is to be done from an instruction, e.g. `TaskInfo.course`.
        scene: Returns the latest believed scene.
    """

    def __init__(self, surrogate: Surrogate, course: Callable[[str], Course], scene: Callable[[], SceneState]) -> None:
        self._surrogate, self._course, self._scene = surrogate, course, scene
        self._ready: ActionChunk | None = None

    @property
    def policy_id(self) -> str:
        """name@hash of the network."""
        return self._surrogate.policy_id

    def submit(self, obs: Observation) -> None:
        """Plans at once; the chunk waits for `poll`."""
        tracked = tracked_of_scene(self._scene(), self._course(obs.instruction))
        values = self._surrogate.plan(body_of_observation(obs), tracked)[0]
        self._ready = ActionChunk(obs_t_ns=obs.t_ns, values=values, dt_s=EE_DELTA.dt_s, policy_id=self.policy_id)

    def poll(self) -> ActionChunk | None:
        """Returns the planned chunk once, else None."""
        ready, self._ready = self._ready, None
        return ready

    def reset(self) -> None:
        """Forgets the planned chunk."""
        self._ready = None
