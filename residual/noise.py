"""What a tracker does to the truth: bias, noise, delay, dropouts. Called by `residual.batch`, in training only."""

from dataclasses import dataclass, fields

import numpy as np

from core.arrays import Floats, Ints
from core.errors import ConfigError
from core.scene import ROLES
from core.worlds import DomainParams
from residual.features import Tracked

LONGEST_DELAY = 4
"""Control steps of tracked positions that are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerNoise:
    """How wrong tracked positions are."""

    noise_m: float = 0.003
    """Noise of one estimate, standard deviation per axis [m]."""
    bias_m: float = 0.004
    """Offset of one object during one episode, standard deviation per axis [m]."""
    delay_steps: int = 2
    """Largest age of an estimate, in control steps; drawn per episode."""
    dropout: float = 0.1
    """Probability that an object is not found in a step and its last estimate is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainRanges:
    """Ranges that physical parameters are drawn from, low and high."""

    friction_scale: tuple[float, float] = (0.6, 1.3)
    mass_scale: tuple[float, float] = (0.6, 1.5)
    gain_scale: tuple[float, float] = (0.7, 1.2)
    action_latency_s: tuple[float, float] = (0.0, 0.1)
    table_height_m: tuple[float, float] = (-0.005, 0.005)
    gripper_friction_scale: tuple[float, float] = (0.7, 1.2)
    joint_offset_rad: tuple[float, float] = (-0.004, 0.004)
    """Of each joint by itself."""
    share: float = 0.5
    """Share of episodes that are randomised; the others run in the nominal cell."""

    def draw(self, n: int, rng: np.random.Generator) -> DomainParams:
        """Returns the parameters of `n` episodes."""
        nominal, chosen = DomainParams.nominal(n), rng.random(n) < self.share

        def mixed(name: str) -> Floats:
            default: Floats = getattr(nominal, name)
            low, high = getattr(self, name)
            drawn = rng.uniform(low, high, default.shape)
            return np.asarray(np.where(chosen.reshape(-1, *[1] * (default.ndim - 1)), drawn, default))

        return DomainParams(**{f.name: mixed(f.name) for f in fields(DomainParams)})


class NoisyTracker:
    """Tracks N worlds badly.

    Args:
        n: Worlds.
        noise: How badly.
        rng: Randomness.

    Raises:
        ConfigError: A longer delay than is kept.
    """

    def __init__(self, n: int, noise: TrackerNoise, rng: np.random.Generator) -> None:
        if not 0 <= noise.delay_steps <= LONGEST_DELAY:
            raise ConfigError(f"tracker noise delay_steps is {noise.delay_steps}; allowed 0..{LONGEST_DELAY}")
        self._noise, self._rng = noise, rng
        self._past = np.zeros((n, LONGEST_DELAY + 1, len(ROLES), 3))
        self._past_seen = np.zeros((n, LONGEST_DELAY + 1, len(ROLES)), dtype=bool)
        self._delay = np.zeros(n, dtype=np.int64)
        self._bias = np.zeros((n, len(ROLES), 3))
        self._estimate = np.zeros((n, len(ROLES), 3))

    def start(self, ids: Ints, truth: Tracked) -> None:
        """Starts episodes in worlds `ids`; `truth` has one row per id."""
        self._past[ids], self._past_seen[ids] = truth.pos_in_base[:, None], truth.seen[:, None]
        self._delay[ids] = self._rng.integers(0, self._noise.delay_steps + 1, len(ids))
        self._bias[ids] = self._rng.normal(0.0, self._noise.bias_m, (len(ids), len(ROLES), 3))
        self._estimate[ids] = truth.pos_in_base + self._bias[ids]

    def track(self, ids: Ints, truth: Tracked) -> Tracked:
        """Returns where the objects of worlds `ids` seem to be; `truth` has one row per id."""
        self._past[ids] = np.roll(self._past[ids], 1, axis=1)
        self._past_seen[ids] = np.roll(self._past_seen[ids], 1, axis=1)
        self._past[ids, 0], self._past_seen[ids, 0] = truth.pos_in_base, truth.seen
        late, seen = self._past[ids, self._delay[ids]], self._past_seen[ids, self._delay[ids]]
        fresh = late + self._bias[ids] + self._rng.normal(0.0, self._noise.noise_m, late.shape)
        lost = self._rng.random(seen.shape) < self._noise.dropout
        self._estimate[ids] = np.where(lost[:, :, None], self._estimate[ids], fresh)
        return Tracked(pos_in_base=self._estimate[ids], seen=seen)
