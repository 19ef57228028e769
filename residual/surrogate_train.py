"""Trains the surrogate on demonstrations. Called by `learn surrogate`; half a minute of one core for 400 episodes."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from core.arrays import Floats
from core.demonstrations import Demonstrations
from core.errors import ConfigError
from core.robots import EE_DELTA
from core.stages import Due, due_now
from core.subtasks import Course
from residual.features import Tracked, tracked_by_role
from residual.mlp import Mlp
from residual.networks import network_of, perceptron
from residual.surrogate import INPUTS, Surrogate, surrogate_inputs

Progress = Callable[[int, float], None]
"""Told the epoch and its loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurrogateConfig:
    """How the surrogate is trained."""

    chunk: int = 8
    """T, actions planned at once."""
    hidden: tuple[int, ...] = (256, 256, 256)
    """Widths of the hidden layers."""
    epochs: int = 40
    """Passes over the demonstrations."""
    batch: int = 512
    """Rows a gradient step."""
    learning_rate: float = 1e-3
    """Of Adam, annealed along a cosine to 2 %."""
    noise_m: float = 0.001
    """Noise on positions, standard deviation [m]."""
    decisive: float = 6.0
    """Weight of rows in which the hand opens or closes: there are few, and nothing goes on without them."""
    seed: int = 0


def train_surrogate(
    demos: Demonstrations,
    course: Callable[[str], Course],
    config: SurrogateConfig,
    progress: Progress | None = None,
) -> Surrogate:
    """Trains a state policy by regression to the demonstrated chunks, least absolute error.

    Args:
        demos: Demonstrations; images are not used.
        course: Reads what is to be done from an instruction, e.g. `TaskInfo.course`.
        config: Sizes and rates.
        progress: Called after every epoch with its number and its loss.

    Raises:
        ConfigError: An instruction names an object that the demonstrations do not track.
    """
    torch.set_num_threads(1)
    torch.manual_seed(config.seed)
    rows = _Rows(demos, tracked_rows(demos, course), config)
    model = perceptron(INPUTS, config.hidden, config.chunk * EE_DELTA.size, "relu")
    _fit(model, rows, config, progress)
    return finished(network_of(model, "relu"), rows.mean, rows.scale, config.chunk)


def finished(network: Mlp, mean: Floats, scale: Floats, chunk: int) -> Surrogate:
    """Returns the surrogate under the id that its weights give it."""
    return Surrogate(
        network=network, mean=mean, scale=scale, chunk=chunk, policy_id=f"surrogate@{network.fingerprint[:12]}"
    )


def tracked_rows(demos: Demonstrations, course: Callable[[str], Course]) -> Tracked:
    """Returns what was due in every row of the demonstrations, and where those who mattered to it truly were.

    Args:
        demos: M rows.
        course: Reads what is to be done from an instruction.

    Raises:
        ConfigError: An instruction needs objects that the demonstrations do not track.
    """
    told = np.array(demos.instructions)[demos.episode]
    rows, parts = [], []
    for text in sorted(set(demos.instructions)):
        wanted = course(text)
        if wanted.names != demos.object_names:
            raise ConfigError(f"instruction {text!r} needs {wanted.names}; demonstrations track {demos.object_names}")
        rows.append(np.flatnonzero(told == text))
        parts.append(due_now(wanted, demos.objects_in_base[rows[-1]]))
    order = np.argsort(np.concatenate(rows))
    due = Due(**{f.name: np.concatenate([getattr(p, f.name) for p in parts])[order] for f in fields(Due)})
    return tracked_by_role(demos.objects_in_base, due)


def chunked(demos: Demonstrations, length: int) -> Floats:
    """Returns the next `length` actions of every row, shape (M, length, A); an episode's last action is repeated."""
    count = len(demos.episode)
    last = np.searchsorted(demos.episode, demos.episode, side="right") - 1
    rows = np.minimum(np.arange(count)[:, None] + np.arange(length), last[:, None])
    return np.asarray(demos.actions[rows])


class _Rows:
    """Network inputs and targets of all rows; positions are shaken anew every epoch."""

    def __init__(self, demos: Demonstrations, tracked: Tracked, config: SurrogateConfig) -> None:
        self._proprio, self._tracked, self._noise = demos.proprio, tracked, config.noise_m
        x = surrogate_inputs(demos.proprio, tracked)
        self.mean, self.scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-3)
        unit = EE_DELTA.normalise(chunked(demos, config.chunk)).reshape(len(x), -1)
        self.targets = torch.as_tensor(unit, dtype=torch.float32)
        turns = np.abs(demos.actions[:, -1] - demos.proprio[:, 7]) > 0.5
        weights = np.where(turns, config.decisive, 1.0)
        self.weights = torch.as_tensor(weights[:, None] / weights.mean(), dtype=torch.float32)

    def shaken(self, rng: np.random.Generator) -> torch.Tensor:
        """Returns scaled inputs (M, INPUTS) with fresh noise on the positions."""
        pos = self._tracked.pos_in_base
        moved = replace(self._tracked, pos_in_base=pos + rng.normal(0.0, self._noise, pos.shape))
        x = (surrogate_inputs(self._proprio, moved) - self.mean) / self.scale
        return torch.as_tensor(x, dtype=torch.float32)


def _fit(model: torch.nn.Module, rows: _Rows, config: SurrogateConfig, progress: Progress | None) -> None:
    rng, count = np.random.default_rng(config.seed), len(rows.targets)
    steps = config.epochs * -(-count // config.batch)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, config.learning_rate * 0.02)
    for epoch in range(config.epochs):
        inputs, order, total = rows.shaken(rng), torch.as_tensor(rng.permutation(count)), 0.0
        for start in range(0, count, config.batch):
            part = order[start : start + config.batch]
            loss = ((model(inputs[part]) - rows.targets[part]).abs() * rows.weights[part]).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.item()) * len(part)
        if progress is not None:
            progress(epoch, total / count)
