"""N recoveries at once: failure states restored, base driven by the surrogate, tracker noise, composed actions.

No reward and no learning in here: `env` adds them for PPO, `evaluate` and `imitation` roll it as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.arrays import Bools, Floats, Ints
from core.ports import World
from core.robots import EE_DELTA, ResidualSpace
from core.worlds import FailureState
from residual.driver import BaseDriver
from residual.features import FEATURES, Trace, assemble, body_of_state, tracked_of_state
from residual.noise import DomainRanges, NoisyTracker, TrackerNoise
from residual.surrogate import Surrogate


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryConfig:
    """How recoveries are rolled out."""

    episode_steps: int = 80
    """Control steps after which a recovery has failed."""
    replan_steps: int = 4
    """Rows of a base chunk that are taken before the next is planned."""
    noise: TrackerNoise = field(default_factory=TrackerNoise)
    domain: DomainRanges | None = None
    """Physical parameters drawn per episode; the nominal cell when None."""
    stage_dropout: float = 0.1
    """Probability that an episode is not told its stage."""
    base_knows: float = 0.3
    """Probability that the base sees where things are, instead of keeping its wrong belief."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySetup:
    """Where and against what recoveries run."""

    world: World
    """Simulated cells; a batch uses all of them."""
    surrogate: Surrogate
    """Stands in for the frozen base policy."""
    space: ResidualSpace
    """How base and residual are composed."""
    config: RecoveryConfig = field(default_factory=RecoveryConfig)
    """Episode length, noise."""

    def hard(self) -> "RecoverySetup":
        """Returns the same in the nominal cell, the base wrong throughout, the stage always told: for figures."""
        config = replace(self.config, stage_dropout=0.0, base_knows=0.0, domain=None)
        return replace(self, config=config)


class RecoveryBatch:
    """N worlds in the middle of a recovery.

    Args:
        setup: World, base, composition, noise.
        rng: Randomness.
    """

    def __init__(self, setup: RecoverySetup, rng: np.random.Generator) -> None:
        world, config, n = setup.world, setup.config, setup.world.n
        self.n, self.space, self.config, self._world, self._rng = n, setup.space, config, world, rng
        self._driver = BaseDriver(setup.surrogate, n, config.replan_steps)
        self._tracker = NoisyTracker(n, config.noise, rng)
        self._trace = Trace(n)
        self._told = np.ones(n, dtype=bool)
        self.base: Floats = np.zeros((n, EE_DELTA.size))
        """Base actions for the coming step, shape (N, A), in `EE_DELTA` units."""
        self.features: Floats = np.zeros((n, FEATURES))
        """Input of the residual policy, shape (N, F)."""
        self.steps: Ints = np.zeros(n, dtype=np.int64)
        """Steps since the recovery began, shape (N,)."""
        self.state = world.state()
        """Ground truth, for rewards, experts and scoring."""

    def start(self, ids: Ints, states: Sequence[FailureState]) -> None:
        """Begins recoveries in worlds `ids` from captured failures, one each."""
        domain = None if self.config.domain is None else self.config.domain.draw(len(ids), self._rng)
        self._world.restore(ids, [s.snapshot for s in states], domain)
        self.state = self._world.state()
        truth = tracked_of_state(self.state.take(ids))
        self._tracker.start(ids, truth)
        self._trace.forget(ids)
        self._driver.start(ids, states, truth, self._rng.random(len(ids)) < self.config.base_knows)
        self._told[ids] = self._rng.random(len(ids)) >= self.config.stage_dropout
        self.steps[ids] = 0
        self._sense(ids)

    def step(self, residual: Floats) -> None:
        """Runs one control step.

        Args:
            residual: Dimensionless in [-1, 1], shape (N, A), 0 outside the residual space's dims.
        """
        composed = self.space.compose(EE_DELTA, self.base, residual)
        self._trace.acted(residual, composed)
        self._world.step(composed)
        self.state = self._world.state()
        self.steps += 1
        self._sense(np.arange(self.n))

    def spread(self, values: Floats) -> Floats:
        """Returns residuals (N, A) from values (N, D) on the residual space's dims."""
        residual = np.zeros((len(values), EE_DELTA.size))
        residual[:, self.space.dims] = np.clip(values, -1.0, 1.0)
        return residual

    def squeezed(self, wanted: Floats) -> Floats:
        """Returns the residuals (N, A) that come closest to composing `wanted` actions (N, A) with the base."""
        with np.errstate(divide="ignore", invalid="ignore"):
            rest = EE_DELTA.normalise(EE_DELTA.clip(wanted)) - self.space.alpha * EE_DELTA.normalise(self.base)
            return np.where(self.space.beta > 0, np.clip(rest / self.space.beta, -1.0, 1.0), 0.0)

    def timed_out(self) -> Bools:
        """Returns whether the time is up, shape (N,)."""
        return np.asarray(self.steps >= self.config.episode_steps)

    def _sense(self, ids: Ints) -> None:
        state = self.state if len(ids) == self.n else self.state.take(ids)
        body, truth = body_of_state(state), tracked_of_state(state)
        self.base[ids] = self._driver.act(ids, body, truth)
        tracked = self._tracker.track(ids, truth)
        self._trace.observe(ids, body.tcp_pos_in_base)
        self.features[ids] = assemble(body, tracked, self.base[ids], self._trace.take(ids), self._told[ids])
