"""What the frozen policy last saw, handed to skills that read it: its image features, at the start of an attempt.

Training records them with each failure state and holds them constant; here they are those of the policy's last answer
before the skill begins. Called by `brain`.
"""

from core.arrays import Floats
from core.flow import ActionChunk, Observation
from core.ports import Policy
from core.scene import SceneState
from residual.policy import ResidualSkill


class OverheardPolicy:
    """A `core.ports.Policy` whose last image features can be asked for.

    Args:
        policy: The frozen policy.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.features: Floats | None = None
        """Of its last answer, shape (P,); None before the first."""

    @property
    def policy_id(self) -> str:
        """name@hash of the policy."""
        return self._policy.policy_id

    def submit(self, obs: Observation) -> None:
        """Passes a request on."""
        self._policy.submit(obs)

    def poll(self) -> ActionChunk | None:
        """Passes an answer on and remembers its features."""
        chunk = self._policy.poll()
        if chunk is not None:
            self.features = chunk.features
        return chunk

    def reset(self) -> None:
        """Starts a new episode."""
        self._policy.reset()
        self.features = None


class InformedSkill:
    """A `core.ports.Residual` that is shown what the policy last saw whenever an attempt begins.

    Args:
        skill: Reads the policy's features.
        policy: Overheard.
    """

    def __init__(self, skill: ResidualSkill, policy: OverheardPolicy) -> None:
        self._skill, self._policy = skill, policy

    def correct(self, obs: Observation, scene: SceneState, base: Floats) -> Floats:
        """Returns the skill's correction (A,), dimensionless in [-1, 1]."""
        return self._skill.correct(obs, scene, base)

    def reset(self) -> None:
        """Begins an attempt.

        Raises:
            ContractError: The policy gives another number of features than the skill was trained on.
        """
        self._skill.reset()
        if self._policy.features is not None:
            self._skill.show(self._policy.features)
