"""A trained skill at run time: `core.ports.Residual` in numpy, fast enough for a tick. Called by the loop."""

import numpy as np

from core.arrays import Floats, floats
from core.errors import ArtifactError
from core.flow import Observation
from core.recovery import SkillCard
from core.robots import EE_DELTA
from core.scene import SceneState
from core.subtasks import Course
from residual.cards import TrainedCard
from residual.features import FEATURES, Trace, assemble, body_of_observation, tracked_of_scene

_ONE = np.zeros(1, dtype=np.int64)


class ResidualSkill:
    """Follows a trained actor, without exploration; knows only what was measured and tracked.

    Args:
        skill: Card and actor.
        course: What the arm was told to do in this episode; who is who follows from it and from what is tracked.
        pace: Share of its motion that is truly commanded, (0, 1].

    Raises:
        ArtifactError: The network does not fit the card.
    """

    def __init__(self, skill: TrainedCard, course: Course, *, pace: float = 1.0) -> None:
        card, actor = skill.card, skill.actor
        if actor.inputs < FEATURES or actor.outputs != len(card.space.dims):
            raise ArtifactError(
                f"actor of skill {card.name!r} maps {actor.inputs} values to {actor.outputs}; expected {FEATURES} "
                f"or more to {len(card.space.dims)}: load it with its own card"
            )
        self._card, self._actor, self._course = card, actor, course
        self._trace, self._pace = Trace(1), pace
        self._policy: Floats = np.zeros((1, actor.inputs - FEATURES))

    @property
    def policy_features(self) -> int:
        """How many of the frozen policy's own features it reads; `show` them before the first correction."""
        return int(self._policy.shape[1])

    def show(self, policy_features: Floats) -> None:
        """Takes the frozen policy's features at the start of an attempt; they are held constant, as in training.

        Args:
            policy_features: `ActionChunk.features` of its last answer, shape (P,).

        Raises:
            ContractError: Another number of them than it was trained on.
        """
        self._policy = floats("policy features", policy_features, (self.policy_features,))[None]

    @property
    def card(self) -> SkillCard:
        """What it is for."""
        return self._card

    def correct(self, obs: Observation, scene: SceneState, base: Floats) -> Floats:
        """Returns the correction (A,), dimensionless in [-1, 1].

        Args:
            obs: Measured now.
            scene: Tracked now.
            base: Base action (A,), in `EE_DELTA` units.
        """
        body = body_of_observation(obs)
        self._trace.observe(_ONE, body.tcp_pos_in_base)
        row = EE_DELTA.clip(np.asarray(base, dtype=np.float64))[None]
        tracked = tracked_of_scene(scene, self._course)
        features = assemble(body, tracked, row, self._trace, policy_features=self._policy)
        residual = np.zeros((1, EE_DELTA.size))
        residual[:, self._card.space.dims] = np.clip(self._actor(features), -1.0, 1.0)
        commanded = self._card.space.compose(EE_DELTA, row, residual)
        commanded[:, :6] *= self._pace
        self._trace.acted(residual, commanded)
        return np.asarray(residual[0])

    def reset(self) -> None:
        """Forgets the previous attempt."""
        self._trace.forget(_ONE)
