"""What a tracker does to the truth: bias, noise, delay, dropouts alone and in bursts. Called by `residual.batch`.

In training only. `DomainRanges` draws the physical parameters of an episode.
"""

from dataclasses import dataclass, fields

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.errors import ConfigError
from core.worlds import DomainParams

LONGEST_DELAY = 6
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
    burst: float = 0.005
    """Probability that an object is lost in a step for many steps: something is in front of it."""
    burst_steps: int = 16
    """Most steps for which it is lost then."""


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

    def draw(self, n: int, rng: np.random.Generator, spared: Bools | None = None) -> DomainParams:
        """Returns the parameters of `n` episodes.

        Args:
            n: How many.
            rng: Randomness.
            spared: Which run in the nominal cell in any case, shape (n,).
        """
        nominal, chosen = DomainParams.nominal(n), rng.random(n) < self.share
        chosen &= True if spared is None else ~spared

        def mixed(name: str) -> Floats:
            default: Floats = getattr(nominal, name)
            low, high = getattr(self, name)
            drawn = rng.uniform(low, high, default.shape)
            return np.asarray(np.where(chosen.reshape(-1, *[1] * (default.ndim - 1)), drawn, default))

        return DomainParams(**{f.name: mixed(f.name) for f in fields(DomainParams)})


class NoisyTracker:
    """Tracks the O objects of N worlds badly.

    Args:
        n: Worlds.
        objects: O.
        noise: How badly.
        rng: Randomness.

    Raises:
        ConfigError: A longer delay than is kept.
    """

    def __init__(self, n: int, objects: int, noise: TrackerNoise, rng: np.random.Generator) -> None:
        if not 0 <= noise.delay_steps <= LONGEST_DELAY:
            raise ConfigError(f"tracker noise delay_steps is {noise.delay_steps}; allowed 0..{LONGEST_DELAY}")
        self._noise, self._rng = noise, rng
        self._past: Floats = np.zeros((n, LONGEST_DELAY + 1, objects, 3))
        self._now: Ints = np.zeros(n, dtype=np.int64)
        self._delay: Ints = np.zeros(n, dtype=np.int64)
        self._bias: Floats = np.zeros((n, objects, 3))
        self._estimate: Floats = np.zeros((n, objects, 3))
        self._lost: Ints = np.zeros((n, objects), dtype=np.int64)
        self._calm: Bools = np.zeros(n, dtype=bool)

    def start(self, ids: Ints, truth: Floats, calm: Bools | None = None) -> None:
        """Starts episodes in worlds `ids`.

        Args:
            ids: Shape (M,).
            truth: Where things are, shape (M, O, 3) [m].
            calm: Where everything is seen as it is, shape (M,); nowhere when None.
        """
        self._calm[ids] = False if calm is None else calm
        self._past[ids], self._now[ids], self._lost[ids] = truth[:, None], 0, 0
        self._delay[ids] = self._rng.integers(0, self._noise.delay_steps + 1, len(ids))
        self._bias[ids] = self._rng.normal(0.0, self._noise.bias_m, truth.shape)
        self._bias[ids[self._calm[ids]]] = 0.0
        self._estimate[ids] = truth + self._bias[ids]

    def track(self, ids: Ints, truth: Floats) -> Floats:
        """Returns where the objects of worlds `ids` seem to be, shape (M, O, 3) [m].

        Args:
            ids: Shape (M,).
            truth: Where they are, shape (M, O, 3) [m].
        """
        now = (self._now[ids] + 1) % (LONGEST_DELAY + 1)
        self._now[ids], self._past[ids, now] = now, truth
        late = self._past[ids, (now - self._delay[ids]) % (LONGEST_DELAY + 1)]
        fresh = late + self._bias[ids] + self._noise.noise_m * self._rng.standard_normal(late.shape)
        lost = self._hidden(ids, truth.shape[:2])
        fresh = np.where(lost[:, :, None], self._estimate[ids], fresh)
        self._estimate[ids] = np.where(self._calm[ids, None, None], truth, fresh)
        return self._estimate[ids]

    def _hidden(self, ids: Ints, shape: tuple[int, ...]) -> Bools:
        left, chance = np.maximum(self._lost[ids] - 1, 0), self._rng.random(shape)
        begins = chance < self._noise.burst
        if begins.any():
            left[begins] = self._rng.integers(1, self._noise.burst_steps + 1, int(begins.sum()))
        self._lost[ids] = left
        return np.asarray((left > 0) | (chance > 1.0 - self._noise.dropout))
