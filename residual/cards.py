"""Skill cards: `NAME.json` says what a skill is for and how good it is, `NAME.safetensors` holds its actor.

Called by `train` to write, and by whoever runs the arm to load. No pickle. What is damaged, foreign or trained for
another base policy is refused with its remedy.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import ArtifactError, ContractError
from core.recovery import Rate, SkillCard
from core.robots import EE_DELTA, ResidualSpace
from residual.features import FEATURE_LAYOUT, FEATURES
from residual.mlp import Mlp
from residual.tensors import fingerprint, read_manifest, read_tensors, write_manifest, write_tensors

CARD_FORMAT = "regrasp-skill@2"
STATE, STATE_AND_POLICY = "state", "state and policy"
"""What an actor may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCard:
    """A skill as it lies on disk: its card and its actor."""

    card: SkillCard
    actor: Mlp


def actor_sha256(actor: Mlp) -> str:
    """Returns the SHA-256 of the file that `save_skill` will write for `actor`, hex."""
    return fingerprint(actor.tensors())


def save_skill(folder: Path, skill: TrainedCard) -> Path:
    """Writes a skill and returns the path of its card.

    Args:
        folder: Made when missing; `NAME.json` and `NAME.safetensors` are written into it.
        skill: Card and actor.

    Raises:
        ArtifactError: The card is of another actor.
    """
    card, actor = skill.card, skill.actor
    if actor_sha256(actor) != card.weights_sha256:
        raise ArtifactError(f"card {card.name!r} is of another actor than the one given; build it from this one")
    write_tensors(folder / card.weights_file, actor.tensors())
    path = folder / f"{card.name}.json"
    write_manifest(path, {"format": CARD_FORMAT, "features": FEATURE_LAYOUT, "card": _plain(card)})
    return path


def load_skills(folder: Path, *, base_policy: str) -> tuple[TrainedCard, ...]:
    """Reads every skill in a folder, by name.

    Args:
        folder: Holds one card or more.
        base_policy: name@hash of the policy that will run.

    Raises:
        ArtifactError: No card, or one that `load_skill` refuses.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise ArtifactError(f"no skill card in {folder}; train some with `regrasp train` or pass another models folder")
    return tuple(load_skill(path, base_policy=base_policy) for path in paths)


def load_skill(path: Path, *, base_policy: str) -> TrainedCard:
    """Reads a skill for the policy that will run.

    Args:
        path: Card, `NAME.json`; its weights lie beside it.
        base_policy: name@hash of the policy that will run.

    Raises:
        ArtifactError: Missing, damaged, foreign, or trained for another base policy.
    """
    card = load_card(path)
    if card.base_policy != base_policy:
        raise ArtifactError(
            f"skill {path} was trained for base policy {card.base_policy!r}, not for {base_policy!r}; "
            f"use the skills of that policy or retrain them with `regrasp train`"
        )
    actor = Mlp.of(read_tensors(path.parent / card.weights_file, card.weights_sha256), "tanh")
    if actor.inputs < FEATURES or actor.outputs != len(card.space.dims):
        raise ArtifactError(
            f"skill {path} maps {actor.inputs} values to {actor.outputs}; this version needs {FEATURES} or more to "
            f"{len(card.space.dims)}: retrain it"
        )
    return TrainedCard(card=card, actor=actor)


def load_card(path: Path) -> SkillCard:
    """Reads a card without its weights.

    Raises:
        ArtifactError: Missing, damaged, or of another format or feature layout.
    """
    manifest = read_manifest(path, CARD_FORMAT)
    if manifest.get("features") != FEATURE_LAYOUT:
        raise ArtifactError(
            f"skill {path} reads features {manifest.get('features')!r}; this version gives {FEATURE_LAYOUT!r}: "
            f"retrain it"
        )
    try:
        return _card(manifest["card"])
    except (ContractError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"card {path} is damaged ({error!r}); restore it or retrain the skill") from error


def _plain(card: SkillCard) -> dict[str, Any]:
    data = {name: getattr(card, name) for name in SkillCard.__dataclass_fields__}
    data["manner"] = str(card.manner)
    data["modes"] = [str(m) for m in card.modes]
    data["stages"] = [str(s) for s in card.stages]
    data["space"] = {
        "dims": list(card.space.dims), "alpha": card.space.alpha.tolist(), "beta": card.space.beta.tolist(),
    }  # fmt: skip
    for name in ("evaluation", "base_alone"):
        data[name] = asdict(data[name])
    return data


def _card(data: Mapping[str, Any]) -> SkillCard:
    space = data["space"]
    fields = {
        **data,
        "modes": tuple(data["modes"]),
        "stages": tuple(data["stages"]),
        "space": ResidualSpace(dims=tuple(space["dims"]), alpha=np.array(space["alpha"]), beta=np.array(space["beta"])),
        "eval_seeds": (int(data["eval_seeds"][0]), int(data["eval_seeds"][1])),
        "evaluation": Rate(**data["evaluation"]),
        "base_alone": Rate(**data["base_alone"]),
    }
    card = SkillCard(**fields)
    weights = Path(card.weights_file)
    if card.space.alpha.size != EE_DELTA.size or weights.name != card.weights_file or weights.suffix != ".safetensors":
        raise ValueError(f"weights file {card.weights_file!r} or space of {card.space.alpha.size} dims is not ours")
    return card
