"""The frozen policy's own image features as further inputs of a residual: standardised in training, raw on the robot.

State-only training cannot run the image policy: what it last saw was recorded with each failure state and is held
constant over the episode. Called by `batch` in training, and afterwards to make a trained actor read raw values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.arrays import Floats
from core.errors import ConfigError
from core.worlds import FailureState
from residual.mlp import Mlp

LARGEST = 4.0
"""Standard deviations beyond which a feature is cut in training; on the robot it is not."""
_SMALLEST = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyScale:
    """Mean and spread of the frozen policy's features over a bank."""

    mean: Floats
    """Shape (P,)."""
    scale: Floats
    """Standard deviation, above 0, shape (P,)."""

    @property
    def size(self) -> int:
        """P."""
        return len(self.mean)

    @staticmethod
    def of(bank: Sequence[FailureState]) -> "PolicyScale":
        """Returns the statistics of a bank.

        Raises:
            ConfigError: Its states carry no features, or not equally many.
        """
        sizes = sorted({s.policy_features.size for s in bank})
        if len(sizes) != 1 or not sizes[0]:
            raise ConfigError(f"failure states carry {sizes} policy features; capture them from a policy that has some")
        values = np.stack([s.policy_features for s in bank])
        return PolicyScale(mean=values.mean(axis=0), scale=np.maximum(values.std(axis=0), _SMALLEST))

    def standardised(self, states: Sequence[FailureState]) -> Floats:
        """Returns the features of `states`, standardised, shape (M, P).

        Raises:
            ConfigError: A state carries another number of features.
        """
        sizes = {s.policy_features.size for s in states} - {self.size}
        if sizes:
            raise ConfigError(f"a failure state has {sizes.pop()} policy features, not {self.size}; capture it again")
        values = (np.stack([s.policy_features for s in states]) - self.mean) / self.scale
        return np.clip(values, -LARGEST, LARGEST)

    def folded(self, actor: Mlp) -> Mlp:
        """Returns the same actor reading raw features in its last P inputs: what is saved and run."""
        first = actor.weights[0].astype(np.float64)
        raw = first.copy()
        raw[:, -self.size :] = first[:, -self.size :] / self.scale
        bias = actor.biases[0] - raw[:, -self.size :] @ self.mean
        return replace(
            actor,
            weights=(raw.astype(np.float32), *actor.weights[1:]),
            biases=(bias.astype(np.float32), *actor.biases[1:]),
        )
