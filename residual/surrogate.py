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
from core.scene import ROLES, SceneRoles, SceneState
from residual.features import Body, body_of_observation, tracked_of_scene
from residual.mlp import Mlp

INPUTS = 8 + 5 * 3
"""Proprioception, tool to target, goal and distractor, target to goal, target height and place."""
_TARGET, _DISTRACTOR, _GOAL = ROLES.index("target"), ROLES.index("distractor"), ROLES.index("goal")


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

    def plan(self, body: Body, positions: Floats) -> Floats:
        """Returns chunks (N, T, A) in `EE_DELTA` units.

        Args:
            body: N arms.
            positions: Where the policy thinks the objects are, by role, shape (N, 4, 3) [m].
        """
        x = (surrogate_inputs(body.proprio, positions) - self.mean) / self.scale
        unit = np.clip(self.network(x), -1.0, 1.0).reshape(len(x), self.chunk, EE_DELTA.size)
        return EE_DELTA.denormalise(unit)


def surrogate_inputs(proprio: Floats, positions: Floats) -> Floats:
    """Returns the network's inputs before scaling, shape (N, INPUTS).

    Args:
        proprio: As `core.demonstrations.proprio` gives it, shape (N, 8).
        positions: By role in the order of `ROLES`, shape (N, 4, 3) [m].
    """
    tcp = proprio[:, :3]
    target, goal, distractor = positions[:, _TARGET], positions[:, _GOAL], positions[:, _DISTRACTOR]
    return np.concatenate([proprio, target - tcp, goal - tcp, distractor - tcp, goal - target, target], axis=1)


class SurrogatePolicy:
    """A `core.ports.Policy` that reads positions from a believed scene.

    Args:
        surrogate: Trained network.
        roles: Reads who is who from an instruction, e.g. `TaskInfo.roles`.
        scene: Returns the latest believed scene.
    """

    def __init__(
        self, surrogate: Surrogate, roles: Callable[[str], SceneRoles], scene: Callable[[], SceneState]
    ) -> None:
        self._surrogate, self._roles, self._scene = surrogate, roles, scene
        self._ready: ActionChunk | None = None

    @property
    def policy_id(self) -> str:
        """name@hash of the network."""
        return self._surrogate.policy_id

    def submit(self, obs: Observation) -> None:
        """Plans at once; the chunk waits for `poll`."""
        tracked = tracked_of_scene(self._scene(), self._roles(obs.instruction))
        values = self._surrogate.plan(body_of_observation(obs), tracked.pos_in_base)[0]
        self._ready = ActionChunk(obs_t_ns=obs.t_ns, values=values, dt_s=EE_DELTA.dt_s, policy_id=self.policy_id)

    def poll(self) -> ActionChunk | None:
        """Returns the planned chunk once, else None."""
        ready, self._ready = self._ready, None
        return ready

    def reset(self) -> None:
        """Forgets the planned chunk."""
        self._ready = None
