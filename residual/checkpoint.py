"""A training run on disk: everything that it has learned so far, after every round. Called by `ppo`.

Two files, `NAME.safetensors` and `NAME.json`; the second names the first by its hash and is replaced in one step, so
that a run killed at any moment goes on after its last whole round. Worlds begin new recoveries then; all else is kept.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO

from core.errors import ArtifactError
from residual.mlp import Mlp
from residual.success_buffer import Success
from residual.tensors import fingerprint, read_manifest, read_tensors, write_tensors

FORMAT = "regrasp-training@1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """A run as it stands after a round."""

    rounds: int
    steps: int
    """Environment steps."""
    policy: Mapping[str, NDArray[Any]]
    """Weights of actor and critic by name."""
    moments: Mapping[str, NDArray[Any]]
    """Adam's moments and step counts by parameter number and name."""
    best: Mlp
    """Best actor that an evaluation saw."""
    successes: tuple[tuple[Success, ...], ...]
    """Kept successes of the scenes as they are, and of the eased ones."""
    notes: Mapping[str, Any]
    """Plain JSON: counters, history, mask, why it changed."""


def save_progress(folder: Path, name: str, found: Progressed) -> None:
    """Writes a run; what was there before stays valid until the last instant.

    Args:
        folder: Made when missing.
        name: Of the run.
        found: Where it stands.
    """
    tensors = _tensors(found)
    file = f"{name}-{fingerprint(tensors)[:8]}.safetensors"
    sha256 = write_tensors(folder / f"{file}.new", tensors)
    os.replace(folder / f"{file}.new", folder / file)
    counts = [[len(s.features) for s in kept] for kept in found.successes]
    qualities = [[s.quality for s in kept] for kept in found.successes]
    document = {
        "format": FORMAT, "file": file, "sha256": sha256, "rounds": found.rounds, "steps": found.steps,
        "counts": counts, "qualities": qualities, "notes": found.notes,
    }  # fmt: skip
    fresh = folder / f"{name}.json.new"
    fresh.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(fresh, folder / f"{name}.json")
    for old in folder.glob(f"{name}-????????.safetensors"):
        if old.name != file:
            old.unlink(missing_ok=True)


def load_progress(folder: Path, name: str) -> Progressed | None:
    """Returns where a run stands, None when it never finished a round.

    Raises:
        ArtifactError: Damaged files.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    document = read_manifest(path, FORMAT)
    try:
        tensors = read_tensors(folder / Path(str(document["file"])).name, str(document["sha256"]))
        return _progressed(document, tensors)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is a damaged training run ({error!r}); delete it to train anew") from error


def weights_of(model: PPO) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Returns a model's weights and its optimiser's moments, copied."""
    weights = {k: v.detach().numpy().copy() for k, v in model.policy.state_dict().items()}
    moments = {
        f"{number}.{key}": value.detach().numpy().copy()
        for number, kept in model.policy.optimizer.state_dict()["state"].items()
        for key, value in kept.items()
    }
    return weights, moments


def put_weights(model: PPO, found: Progressed) -> None:
    """Puts weights and moments back into a fresh model of the same sizes.

    Raises:
        ArtifactError: The sizes differ.
    """
    optimizer = model.policy.optimizer
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in found.moments.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = torch.as_tensor(np.array(value))
    try:
        model.policy.load_state_dict({k: torch.as_tensor(np.array(v)) for k, v in found.policy.items()})
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    except (RuntimeError, ValueError) as error:
        raise ArtifactError(f"the training run does not fit this version ({error}); delete it to train anew") from error


def _tensors(found: Progressed) -> dict[str, NDArray[Any]]:
    tensors = {f"policy/{k}": v for k, v in found.policy.items()} | {f"adam/{k}": v for k, v in found.moments.items()}
    tensors |= {f"best/{k}": v for k, v in found.best.tensors().items()}
    for number, kept in enumerate(found.successes):
        if kept:
            tensors[f"features/{number}"] = np.concatenate([s.features for s in kept])
            tensors[f"residuals/{number}"] = np.concatenate([s.residuals for s in kept])
    return tensors


def _progressed(document: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Progressed:
    def part(prefix: str) -> dict[str, NDArray[Any]]:
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    return Progressed(
        rounds=int(document["rounds"]),
        steps=int(document["steps"]),
        policy=part("policy/"),
        moments=part("adam/"),
        best=Mlp.of(part("best/"), "tanh"),
        successes=tuple(
            _successes(tensors, number, counts, qualities)
            for number, (counts, qualities) in enumerate(zip(document["counts"], document["qualities"], strict=True))
        ),
        notes=document["notes"],
    )


def _successes(
    tensors: Mapping[str, NDArray[Any]], number: int, counts: list[int], qualities: list[float]
) -> tuple[Success, ...]:
    if not counts:
        return ()
    ends, rows = np.cumsum(counts), [tensors[f"{what}/{number}"] for what in ("features", "residuals")]
    if any(len(r) != ends[-1] for r in rows):
        raise ValueError(f"{ends[-1]} rows of successes are named, {[len(r) for r in rows]} are there")
    features, residuals = (np.split(r, ends[:-1]) for r in rows)
    parts = zip(features, residuals, qualities, strict=True)
    return tuple(Success(features=f, residuals=r, quality=float(q)) for f, r, q in parts)
