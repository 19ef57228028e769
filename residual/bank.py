"""The bank: failure states that the frozen policy walked into, on disk and divided for training. Called by `train`.

On disk a bank is `bank.safetensors` (physics, controllers, queues, beliefs as arrays) beside `bank.json` (who is who,
modes, seeds, the arrays' SHA-256). Captured elsewhere, through the simulator; used by the trainers of this room.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.arrays import Floats
from core.errors import ArtifactError, ConfigError
from core.failures import FailureMode
from core.flow import ActionChunk
from core.scene import SceneRoles, SceneState, TrackedObject
from core.worlds import FailureState, WorldSnapshot
from residual.tensors import read_manifest, read_tensors, write_manifest, write_tensors

BANK_FORMAT = "regrasp-bank@2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """A bank in three parts that share no episode seed."""

    train: tuple[FailureState, ...]
    validation: tuple[FailureState, ...]
    """For early stopping."""
    held_out: tuple[FailureState, ...]
    """For the figures on the card."""


def divide(
    bank: Sequence[FailureState], *, validation: float = 0.15, held_out: float = 0.25, seed: int = 0
) -> Division:
    """Divides a bank by episode seed.

    Args:
        bank: Failure states.
        validation: Share of the seeds for validation.
        held_out: Share of the seeds that are held out.
        seed: Of the shuffle.

    Raises:
        ConfigError: Too few episodes for three parts.
    """
    seeds = sorted({s.seed for s in bank})
    order = np.random.default_rng(seed).permutation(seeds)
    a, b = round(len(seeds) * held_out), round(len(seeds) * (held_out + validation))
    parts = [set(order[b:].tolist()), set(order[a:b].tolist()), set(order[:a].tolist())]
    if not all(parts):
        raise ConfigError(f"a bank from {len(seeds)} episodes cannot be divided in three; capture at least 20 episodes")
    train, valid, held = (tuple(s for s in bank if s.seed in part) for part in parts)
    return Division(train=train, validation=valid, held_out=held)


def mixed(bank: Sequence[FailureState], count: int, *, late: float = 0.5, seed: int = 0) -> tuple[FailureState, ...]:
    """Returns `count` states of which a given share is late, each used as evenly as can be.

    Args:
        bank: Failure states.
        count: How many are wanted; states repeat when the bank is smaller.
        late: Share of states older than the bank's median age, [0, 1].
        seed: Of the shuffle.

    Raises:
        ConfigError: The bank is empty.
    """
    if not bank:
        raise ConfigError("the bank of failure states is empty; capture some from the base policy first")
    rng = np.random.default_rng(seed)
    middle = float(np.median([s.age_s for s in bank]))
    old = [s for s in bank if s.age_s > middle] or list(bank)
    young = [s for s in bank if s.age_s <= middle]
    wanted = round(count * late)
    chosen = _cycled(old, wanted, rng) + _cycled(young, count - wanted, rng)
    return tuple(chosen[k] for k in rng.permutation(len(chosen)))


def by_subtask(bank: Sequence[FailureState]) -> dict[int, tuple[FailureState, ...]]:
    """Returns the states of each sub-task that failed, by its index, rising."""
    return {k: tuple(s for s in bank if s.subtask == k) for k in sorted({s.subtask for s in bank})}


def _cycled(states: list[FailureState], count: int, rng: np.random.Generator) -> list[FailureState]:
    rounds = -(-count // len(states))
    order = np.concatenate([rng.permutation(len(states)) for _ in range(rounds)]) if rounds else np.zeros(0, dtype=int)
    return [states[k] for k in order[:count]]


def save_bank(folder: Path, bank: Sequence[FailureState]) -> None:
    """Writes a bank.

    Args:
        folder: Made when missing; `bank.safetensors` and `bank.json` are written into it.
        bank: Failure states of one world model, one or more.

    Raises:
        ConfigError: No states.
    """
    if not bank:
        raise ConfigError(f"nothing to save in {folder}: the bank of failure states is empty")
    sha256 = write_tensors(folder / "bank.safetensors", _tensors(bank))
    entries = [_entry(s) for s in bank]
    write_manifest(folder / "bank.json", {"format": BANK_FORMAT, "sha256": sha256, "states": entries})


def load_bank(folder: Path) -> tuple[FailureState, ...]:
    """Reads a bank that `save_bank` wrote.

    Raises:
        ArtifactError: Missing, damaged or foreign.
    """
    manifest = read_manifest(folder / "bank.json", BANK_FORMAT)
    try:
        entries, sha256 = list(manifest["states"]), str(manifest["sha256"])
        tensors = read_tensors(folder / "bank.safetensors", sha256)
        return tuple(_state(i, entry, tensors) for i, entry in enumerate(entries))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(f"{folder} holds a damaged bank ({error!r}); capture it again") from error


def _tensors(bank: Sequence[FailureState]) -> dict[str, NDArray[Any]]:
    tensors = {name: np.stack([getattr(s.snapshot, name) for s in bank]) for name in ("physics", "controller", "task")}
    for i, state in enumerate(bank):
        tensors[f"belief{i}"] = _positions(state.belief)
        if state.policy_features.size:
            tensors[f"policy{i}"] = np.asarray(state.policy_features)
        if state.queue is not None:
            tensors[f"queue{i}"] = np.asarray(state.queue.values)
    return tensors


def _positions(scene: SceneState) -> Floats:
    return np.array([o.pos_in_base for o in scene.objects.values()]).reshape(len(scene.objects), 3)


def _entry(state: FailureState) -> dict[str, Any]:
    roles, queue = state.snapshot.roles, state.queue
    return {
        "mode": str(state.mode), "seed": state.seed, "age_s": state.age_s, "instruction": state.snapshot.instruction,
        "subtask": state.subtask,
        "roles": {"target": roles.target, "distractor": roles.distractor, "goal": roles.goal,
                  "obstacle": roles.obstacle},
        "queue": None if queue is None else
            {"obs_t_ns": queue.obs_t_ns, "dt_s": queue.dt_s, "policy_id": queue.policy_id},
        "belief": {"t_ns": state.belief.t_ns, "source": state.belief.source,
                   "objects": [[n, o.t_ns, o.confidence] for n, o in state.belief.objects.items()]},
    }  # fmt: skip


def _state(i: int, entry: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> FailureState:
    queue, belief = entry["queue"], entry["belief"]
    objects = {
        name: TrackedObject(pos_in_base=tensors[f"belief{i}"][k], t_ns=int(t_ns), confidence=float(confidence))
        for k, (name, t_ns, confidence) in enumerate(belief["objects"])
    }
    return FailureState(
        snapshot=WorldSnapshot(
            physics=tensors["physics"][i],
            controller=tensors["controller"][i],
            task=tensors["task"][i],
            roles=SceneRoles(**entry["roles"]),
            instruction=entry["instruction"],
        ),
        mode=FailureMode(entry["mode"]),
        seed=int(entry["seed"]),
        age_s=float(entry["age_s"]),
        queue=None if queue is None else ActionChunk(values=tensors[f"queue{i}"], **queue),
        belief=SceneState(t_ns=int(belief["t_ns"]), objects=objects, source=belief["source"]),
        subtask=int(entry["subtask"]),
        policy_features=tensors.get(f"policy{i}", np.zeros(0)),
    )
