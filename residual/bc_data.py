"""Encoded demonstrations and the batches drawn from them. Filled by `regrasp`, used by `residual.bc`."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.arrays import Bools, Floats, Image, Ints
from core.errors import ContractError

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class BcData:
    """M rows ready for the network; E episodes, O objects, T actions a chunk, W words an instruction."""

    images: Image
    """Shape (M, C, H, W, 3) uint8 RGB, at the network's size."""
    states: Numbers
    """Normalised robot state, shape (M, S)."""
    chunks: Numbers
    """Normalised actions from each row on, shape (M, T, A)."""
    valid: Bools
    """Which of them lie inside the episode, shape (M, T)."""
    step: Ints
    """Row number inside its episode, shape (M,)."""
    objects_m: Numbers
    """Object centres in base, shape (M, O, 3) [m]."""
    present: Bools
    """Which objects are on the table, shape (M, O)."""
    target: Ints
    """Index of the named object of each row, shape (M,)."""
    goal: int
    """Index of the object the target belongs on."""
    phrases: tuple[Ints, ...]
    """By object, ids of every training instruction that names it, shape (P, W); P is 0 for what cannot be named."""

    def __post_init__(self) -> None:
        rows = {len(getattr(self, name)) for name in ("images", "states", "chunks", "valid", "step", "objects_m",
                                                      "present", "target")}  # fmt: skip
        if len(rows) != 1 or len(self.phrases) != self.objects_m.shape[1]:
            raise ContractError(
                f"rows {sorted(rows)} must agree, and {len(self.phrases)} phrase tables name all objects"
            )
        if any(not len(self.phrases[i]) for i in np.unique(self.target)):
            raise ContractError("an object that demonstrations name has no training instruction")

    @property
    def nameable(self) -> Ints:
        """Indices of objects an instruction can name."""
        return np.array([i for i, table in enumerate(self.phrases) if len(table)])

    def rows_of(self, keep: Bools) -> "BcData":
        """Returns the rows where `keep` (M,) is true."""
        return BcData(
            images=self.images[keep],
            states=self.states[keep],
            chunks=self.chunks[keep],
            valid=self.valid[keep],
            step=self.step[keep],
            objects_m=self.objects_m[keep],
            present=self.present[keep],
            target=self.target[keep],
            goal=self.goal,
            phrases=self.phrases,
        )


def chunk_rows(actions: Floats, episode: Ints, length: int) -> tuple[Floats, Bools, Ints]:
    """Returns the next `length` actions of every row (M, T, A), which lie in its episode (M, T), and its step (M,).

    Rows past the episode's end repeat its last action and are not valid.

    Args:
        actions: Shape (M, A), episodes one after the other.
        episode: Episode number of each row, shape (M,).
        length: T.
    """
    starts = np.flatnonzero(np.r_[True, np.diff(episode) != 0])
    ends = np.r_[starts[1:], len(episode)]
    which = np.repeat(np.arange(len(starts)), ends - starts)
    wanted = np.arange(len(episode))[:, None] + np.arange(length)
    last = ends[which][:, None] - 1
    return actions[np.minimum(wanted, last)], wanted <= last, np.arange(len(episode)) - starts[which]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """B rows as tensors."""

    pixels: Tensor
    """Shape (B, C, 3, H, W), in [-1, 1]."""
    text: Tensor
    """Shape (B, W) int64."""
    state: Tensor
    """Shape (B, S)."""
    actions: Tensor
    """Shape (B, T, A)."""
    weight: Tensor
    """1 where an action counts, shape (B, T)."""
    objects_m: Tensor
    """Shape (B, O, 3) [m]."""
    present: Tensor
    """Shape (B, O)."""
    named_m: Tensor
    """Centres of named object and goal, shape (B, 2, 3) [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How a training batch differs from what was recorded."""

    brightness: float = 0.15
    """Largest relative change of an image's brightness."""
    colour: float = 6.0
    """Largest shift of one colour channel [of 255]."""
    state_noise: float = 0.03
    """Standard deviation added to the normalised state."""
    first_share: float = 0.25
    """Share of a batch taken from the first steps of episodes, where only the words tell the target."""
    first_steps: int = 10
    """How many steps those are."""
    other_named: float = 0.125
    """Share of rows that are told to take another object; they teach the readout, not the actions."""


class Sampler:
    """Draws training batches.

    Args:
        data: Demonstrations.
        augmentation: See there.
        rng: Source of every draw.
    """

    def __init__(self, data: BcData, augmentation: Augmentation, rng: np.random.Generator) -> None:
        self._data, self._augmentation, self._rng = data, augmentation, rng
        self._first = np.flatnonzero(data.step < augmentation.first_steps)

    def draw(self, size: int) -> Batch:
        """Returns `size` rows with instructions drawn anew, so that no phrase belongs to an episode."""
        rng, how = self._rng, self._augmentation
        early = round(size * how.first_share)
        rows = np.concatenate([rng.choice(self._first, early), rng.integers(len(self._data.step), size=size - early)])
        named, follows = self._named(rows)
        batch = encode_rows(self._data, rows, named, self._words(named))
        return Batch(
            pixels=self._recolour(batch.pixels),
            text=batch.text,
            state=batch.state + how.state_noise * self._normal(batch.state.shape),
            actions=batch.actions,
            weight=batch.weight * torch.from_numpy(follows.astype(np.float32))[:, None],
            objects_m=batch.objects_m,
            present=batch.present,
            named_m=batch.named_m,
        )

    def _named(self, rows: Ints) -> tuple[Ints, Bools]:
        """Returns which object each row is told to take, and whether its actions do so."""
        target, others = self._data.target[rows], self._data.nameable
        follows = self._rng.random(len(rows)) >= self._augmentation.other_named
        picked = others[self._rng.integers(len(others), size=len(rows))]
        named = np.where(follows, target, picked)
        return named, named == target

    def _words(self, named: Ints) -> Ints:
        tables = self._data.phrases
        return np.stack([tables[i][self._rng.integers(len(tables[i]))] for i in named])

    def _recolour(self, pixels: Tensor) -> Tensor:
        rows, cameras = pixels.shape[:2]
        how = self._augmentation
        gain = 1.0 + how.brightness * (2 * self._uniform((rows, cameras, 1, 1, 1)) - 1)
        shift = how.colour / 127.5 * (2 * self._uniform((rows, cameras, 3, 1, 1)) - 1)
        return ((pixels + 1.0) * gain - 1.0 + shift).clamp_(-1.0, 1.0)

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self._rng.random(shape, dtype=np.float32))

    def _normal(self, shape: torch.Size) -> Tensor:
        return torch.from_numpy(self._rng.standard_normal(tuple(shape), dtype=np.float32))


def encode_rows(data: BcData, rows: Ints, named: Ints, text: Ints) -> Batch:
    """Returns rows of `data` as they were recorded, told to take `named`.

    Args:
        data: Demonstrations.
        rows: Row numbers, shape (B,).
        named: Object each is told to take, shape (B,).
        text: Ids that tell so, shape (B, W).
    """
    images = torch.from_numpy(np.ascontiguousarray(data.images[rows]))
    objects = data.objects_m[rows]
    pairs = np.stack([objects[np.arange(len(rows)), named], objects[:, data.goal]], axis=1)
    return Batch(
        pixels=images.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0,
        text=torch.from_numpy(text),
        state=torch.from_numpy(data.states[rows]),
        actions=torch.from_numpy(data.chunks[rows]),
        weight=torch.from_numpy(data.valid[rows].astype(np.float32)),
        objects_m=torch.from_numpy(objects),
        present=torch.from_numpy(data.present[rows].astype(np.float32)),
        named_m=torch.from_numpy(pairs),
    )
