"""Encoded demonstrations and the batches drawn from them. Filled by `regrasp`, used by `residual.bc`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.arrays import Bools, Floats, Image, Ints
from core.errors import ContractError

Numbers = NDArray[np.float32]


class Pictures:
    """Pictures of M rows in several arrays, which may lie on disk.

    Args:
        parts: Arrays (P, C, H, W, 3) uint8 RGB, at the network's size, one after the other.
    """

    def __init__(self, parts: Sequence[Image]) -> None:
        self._parts = tuple(parts)
        self._ends = np.cumsum([len(p) for p in self._parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def parts(self) -> tuple[Image, ...]:
        """The arrays."""
        return self._parts

    def take(self, rows: Ints) -> Image:
        """Returns the pictures of `rows` (B,), shape (B, C, H, W, 3)."""
        which = np.searchsorted(self._ends, rows, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        return np.stack([self._parts[p][r - starts[p]] for p, r in zip(which, rows, strict=True)])


@dataclass(frozen=True, slots=True, kw_only=True)
class BcData:
    """M rows ready for the network; O objects of all tasks, T actions a chunk, W words an instruction.

    An order is one thing that a task may be told to do; R is the largest number of orders of one task.
    """

    pictures: Pictures
    """Of M rows."""
    states: Numbers
    """Normalised robot state, shape (M, S)."""
    chunks: Numbers
    """Normalised actions from each row on, shape (M, T, A)."""
    valid: Bools
    """Which of them lie inside the episode, shape (M, T)."""
    step: Ints
    """Control step inside its episode, shape (M,)."""
    objects_m: Numbers
    """Object centres in base, shape (M, O, 3) [m]."""
    present: Bools
    """Which objects are there, shape (M, O)."""
    task: Ints
    """Task of each row, shape (M,)."""
    order: Ints
    """Which of its task's orders each row carries out, shape (M,)."""
    named_m: Numbers
    """Centres of present target and goal if the row followed each order of its task, shape (M, R, 2, 3) [m]."""
    corrects: Bools
    """Which rows correct the policy's own way instead of demonstrating one, shape (M,)."""
    phrases: tuple[tuple[Ints, ...], ...]
    """By task and order, ids of every training instruction, shape (P, W)."""

    def __post_init__(self) -> None:
        rows = {len(getattr(self, name)) for name in ("pictures", "states", "chunks", "valid", "step", "objects_m",
                                                      "present", "task", "order", "named_m", "corrects")}  # fmt: skip
        if len(rows) != 1:
            raise ContractError(f"rows {sorted(rows)} must agree")
        for task, order in np.unique(np.stack([self.task, self.order]), axis=1).T:
            if task >= len(self.phrases) or order >= len(self.phrases[task]) or not len(self.phrases[task][order]):
                raise ContractError(f"order {order} of task {task} is demonstrated and has no training instruction")


def joined(parts: Sequence[BcData]) -> BcData:
    """Returns the rows of several tasks as one; each part's rows must already have their own task number.

    Args:
        parts: At least one; all with the phrases of all tasks.
    """
    orders = max(p.named_m.shape[1] for p in parts)
    wide = [np.pad(p.named_m, ((0, 0), (0, orders - p.named_m.shape[1]), (0, 0), (0, 0))) for p in parts]

    def column(name: str) -> Any:
        return np.concatenate([getattr(p, name) for p in parts])

    return BcData(
        pictures=Pictures([image for p in parts for image in p.pictures.parts]),
        states=column("states"),
        chunks=column("chunks"),
        valid=column("valid"),
        step=column("step"),
        objects_m=column("objects_m"),
        present=column("present"),
        task=column("task"),
        order=column("order"),
        named_m=np.concatenate(wide),
        corrects=column("corrects"),
        phrases=parts[0].phrases,
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
    """Centres of present target and goal of the order told, shape (B, 2, 3) [m]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How a training batch differs from what was recorded."""

    brightness: float = 0.15
    """Largest relative change of an image's brightness."""
    colour: float = 6.0
    """Largest shift of one colour channel [of 255]."""
    state_noise: float = 0.03
    """Standard deviation added to the normalised state."""
    first_share: float = 0.2
    """Share of a batch taken from the first steps of episodes whose task has several orders: only the words tell."""
    first_steps: int = 10
    """How many steps those are."""
    corrected_share: float = 0.5
    """Share of a batch taken from corrections of the policy's own way, where there are any."""
    other_told: float = 0.125
    """Share of rows that are told another order; they teach the readout, not the actions."""


class Sampler:
    """Draws training batches.

    Args:
        data: Demonstrations.
        augmentation: See there.
        rng: Source of every draw.
    """

    def __init__(self, data: BcData, augmentation: Augmentation, rng: np.random.Generator) -> None:
        self._data, self._augmentation, self._rng = data, augmentation, rng
        self._orders = np.array([len(table) for table in data.phrases])
        self._first = np.flatnonzero((data.step < augmentation.first_steps) & (self._orders[data.task] > 1))
        self._shown, self._corrected = np.flatnonzero(~data.corrects), np.flatnonzero(data.corrects)

    def draw(self, size: int) -> Batch:
        """Returns `size` rows with instructions drawn anew, so that no phrase belongs to an episode."""
        rng, how = self._rng, self._augmentation
        early = round(size * how.first_share) if len(self._first) else 0
        late = round(size * how.corrected_share) if len(self._corrected) else 0
        rows = rng.choice(self._shown, size)
        rows[:early] = rng.choice(self._first, early) if early else rows[:0]
        rows[size - late :] = rng.choice(self._corrected, late) if late else rows[:0]
        told, follows = self._told(rows)
        batch = encode_rows(self._data, rows, told, instructions(self._data, rows, told, rng))
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

    def _told(self, rows: Ints) -> tuple[Ints, Bools]:
        """Returns which order each row is told, and whether its actions follow it."""
        order, count = self._data.order[rows], self._orders[self._data.task[rows]]
        follows = self._rng.random(len(rows)) >= self._augmentation.other_told
        picked = self._rng.integers(count)
        told = np.where(follows, order, picked)
        return told, told == order

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


def instructions(data: BcData, rows: Ints, told: Ints, rng: np.random.Generator) -> Ints:
    """Returns ids (B, W) of one training instruction a row, drawn from those of the order it is told.

    Args:
        data: Demonstrations.
        rows: Row numbers, shape (B,).
        told: Order each is told, shape (B,).
        rng: Of the draw.
    """
    tables = [data.phrases[t][o] for t, o in zip(data.task[rows], told, strict=True)]
    return np.stack([table[rng.integers(len(table))] for table in tables])


def encode_rows(data: BcData, rows: Ints, told: Ints, text: Ints) -> Batch:
    """Returns rows of `data` as they were recorded, told to do `told`.

    Args:
        data: Demonstrations.
        rows: Row numbers, shape (B,).
        told: Order each is told, shape (B,).
        text: Ids that tell so, shape (B, W).
    """
    images = torch.from_numpy(data.pictures.take(rows))
    return Batch(
        pixels=images.permute(0, 1, 4, 2, 3).float() / 127.5 - 1.0,
        text=torch.from_numpy(text),
        state=torch.from_numpy(data.states[rows]),
        actions=torch.from_numpy(data.chunks[rows]),
        weight=torch.from_numpy(data.valid[rows].astype(np.float32)),
        objects_m=torch.from_numpy(data.objects_m[rows]),
        present=torch.from_numpy(data.present[rows].astype(np.float32)),
        named_m=torch.from_numpy(data.named_m[rows, told]),
    )
