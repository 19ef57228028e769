"""Warm start: an actor imitates a scripted expert that is squeezed through the residual channel.

DAgger: the expert drives the first round, the actor most of the later ones, and the expert labels every state. Called
by `ppo` before reinforcement learning, which then keeps a fading part of the imitation. Source: Ross et al. (2011).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from core.arrays import Floats, Ints
from core.ports import Expert
from core.worlds import FailureState
from residual.batch import RecoveryBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ImitationConfig:
    """How the warm start runs."""

    rounds: int = 6
    """Rounds of collecting and fitting."""
    steps: int = 80
    """Control steps a round, in every world."""
    epochs: int = 8
    """Passes over all collected rows after each round."""
    batch: int = 256
    """Rows a gradient step."""
    learning_rate: float = 1e-3
    """Of Adam."""
    expert_share: float = 0.1
    """Share of worlds the expert drives after the first round."""
    noise: float = 0.2
    """Noise on what the expert drives, dimensionless; labels stay clean. The actor drives without: where it gets stuck
    it must stay, to be told what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imitated:
    """What was demonstrated, for the fading imitation during reinforcement learning."""

    features: torch.Tensor
    """Shape (M, F)."""
    residuals: torch.Tensor
    """Squeezed expert on the residual space's dims, shape (M, D)."""

    def joined(self, more: "Imitated") -> "Imitated":
        """Returns both sets of rows."""
        return Imitated(
            features=torch.cat([self.features, more.features]),
            residuals=torch.cat([self.residuals, more.residuals]),
        )


def imitate(
    actor: torch.nn.Module,
    batch: RecoveryBatch,
    bank: Sequence[FailureState],
    expert: Expert,
    *,
    config: ImitationConfig,
    rng: np.random.Generator,
) -> Imitated:
    """Trains `actor` in place and returns the collected rows.

    Args:
        actor: Maps features (M, F) to residuals (M, D).
        batch: Where recoveries run.
        bank: Failure states to begin in.
        expert: Demonstrator over ground truth.
        config: Rounds and rates.
        rng: Randomness.
    """
    optimiser = torch.optim.Adam(actor.parameters(), lr=config.learning_rate)
    school = _School(actor, batch, bank, expert, noise=config.noise, rng=rng)
    data = school.collect(config.steps, expert_share=1.0)
    for turn in range(config.rounds):
        if turn > 0:
            data = data.joined(school.collect(config.steps, expert_share=config.expert_share))
        for _ in range(config.epochs):
            order = rng.permutation(len(data.features))
            for start in range(0, len(order), config.batch):
                imitation_step(actor, optimiser, data, torch.as_tensor(order[start : start + config.batch]))
    return data


def imitation_step(
    actor: torch.nn.Module, optimiser: torch.optim.Optimizer, data: Imitated, rows: torch.Tensor
) -> float:
    """Takes one gradient step on the squared error of `rows` and returns that error."""
    loss = (actor(data.features[rows]) - data.residuals[rows]).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.item())


class _School:
    """Rolls out recoveries in which the expert labels every state and drives some worlds."""

    def __init__(
        self,
        actor: torch.nn.Module,
        batch: RecoveryBatch,
        bank: Sequence[FailureState],
        expert: Expert,
        *,
        noise: float,
        rng: np.random.Generator,
    ) -> None:
        self._actor, self._batch, self._bank, self._expert = actor, batch, bank, expert
        self._noise, self._rng = noise, rng
        self._shown = np.zeros(batch.n, dtype=bool)

    def collect(self, steps: int, *, expert_share: float) -> Imitated:
        """Returns `steps` rows of every world; the expert drives `expert_share` of the recoveries."""
        batch, dims = self._batch, list(self._batch.space.dims)
        done = np.ones(batch.n, dtype=bool)
        xs, ys = [], []
        for _ in range(steps):
            self._begin(np.flatnonzero(done), expert_share)
            wanted = batch.squeezed(self._expert.act(batch.state))
            xs.append(torch.as_tensor(batch.features, dtype=torch.float32))
            ys.append(torch.as_tensor(wanted[:, dims], dtype=torch.float32))
            batch.step(self._driven(wanted, xs[-1]))
            done = batch.over() | batch.timed_out()
        return Imitated(features=torch.cat(xs), residuals=torch.cat(ys))

    def _begin(self, ids: Ints, expert_share: float) -> None:
        if len(ids):
            chosen = self._rng.integers(0, len(self._bank), len(ids))
            self._batch.start(ids, [self._bank[k] for k in chosen])
            self._shown[ids] = self._rng.random(len(ids)) < expert_share

    def _driven(self, wanted: Floats, x: torch.Tensor) -> Floats:
        batch = self._batch
        with torch.no_grad():
            own = batch.spread(self._actor(x).numpy().astype(np.float64))
        noise = batch.spread(self._rng.normal(0.0, self._noise, (batch.n, len(batch.space.dims))))
        return np.where(self._shown[:, None], np.clip(wanted + noise, -1.0, 1.0), own)
