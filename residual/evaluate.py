"""Recovery rates from captured failure states, batched. Called by `ppo`, `authority` and `train`."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from core.arrays import Bools, Floats
from core.errors import ConfigError
from core.ports import Expert
from core.recovery import Rate
from core.robots import EE_DELTA, ResidualSpace
from core.worlds import FailureState
from residual.batch import RecoveryBatch, RecoverySetup
from residual.mlp import Mlp

Actor = Callable[[RecoveryBatch], Floats]
"""Residuals (N, A) for the coming step."""

UNTOUCHED = ResidualSpace(dims=(), alpha=np.ones(EE_DELTA.size), beta=np.zeros(EE_DELTA.size))
"""The space in which the base acts alone."""


def network_actor(network: Mlp) -> Actor:
    """Returns the actor that follows a trained network, without exploration."""
    return lambda batch: batch.spread(network(batch.features))


def expert_actor(expert: Expert) -> Actor:
    """Returns the actor that squeezes a demonstrator through the residual channel."""
    return lambda batch: batch.squeezed(expert.act(batch.state))


def idle_actor(batch: RecoveryBatch) -> Floats:
    """Returns no correction at all, shape (N, A)."""
    return np.zeros((batch.n, EE_DELTA.size))


def recovered(batch: RecoveryBatch, states: Sequence[FailureState], act: Actor) -> Bools:
    """Runs a recovery from every state and returns which succeeded in time, shape (M,).

    Args:
        batch: Where they run, N at a time.
        states: M failure states.
        act: Who corrects.

    Raises:
        ConfigError: No states.
    """
    if not states:
        raise ConfigError("no failure states to recover from; capture or load a bank first")
    parts = [_block(batch, states[i : i + batch.n], act) for i in range(0, len(states), batch.n)]
    return np.concatenate(parts)


def _block(batch: RecoveryBatch, states: Sequence[FailureState], act: Actor) -> Bools:
    filled = [states[k % len(states)] for k in range(batch.n)]
    batch.start(np.arange(batch.n), filled)
    open_, won = np.ones(batch.n, dtype=bool), np.zeros(batch.n, dtype=bool)
    for _ in range(batch.config.episode_steps):
        batch.step(act(batch))
        won |= open_ & batch.recovered()
        open_ &= ~batch.over()
        if not open_.any():
            break
    return won[: len(states)]


def recovery_rate(setup: RecoverySetup, states: Sequence[FailureState], act: Actor, *, seed: int = 0) -> Rate:
    """Returns how many of the states `act` recovers.

    Args:
        setup: World, base, composition, noise.
        states: Held-out failure states.
        act: Who corrects.
        seed: Of tracker noise and domain.
    """
    won = recovered(RecoveryBatch(setup, np.random.default_rng(seed)), states, act)
    return Rate(k=int(won.sum()), n=len(won))


def base_alone_rate(setup: RecoverySetup, states: Sequence[FailureState], *, seed: int = 0) -> Rate:
    """Returns how many of the states the base recovers without any correction."""
    return recovery_rate(replace(setup, space=UNTOUCHED), states, idle_actor, seed=seed)
