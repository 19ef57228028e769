"""Descriptors and compiled rewards as JSON text, every defect named. Called by `compile`, `train` and cards."""

import json
from collections.abc import Mapping
from typing import Any

from core.errors import ArtifactError, ConfigError, ContractError, unknown_name
from core.failures import FailureMode
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardMask, RewardNode, RewardSpec, StageReward
from residual.masks import default_mask

SPEC_FORMAT = "regrasp-reward@1"


def descriptor_to_json(descriptor: RecoveryDescriptor) -> str:
    """Returns a descriptor as JSON text that `descriptor_from_json` reads."""
    data = {
        "report_id": descriptor.report_id, "mode": str(descriptor.mode), "stage": str(descriptor.stage),
        "target": descriptor.target, "obstacles": list(descriptor.obstacles),
        "mask": {"library": descriptor.mask.library, "active": sorted(descriptor.mask.active)},
        "confidence": descriptor.confidence, "model_id": descriptor.model_id, "rationale": descriptor.rationale,
    }  # fmt: skip
    return json.dumps(data, indent=2, sort_keys=True)


def descriptor_from_json(text: str) -> RecoveryDescriptor:
    """Reads a descriptor that a person or a model wrote.

    Args:
        text: A JSON object with at least "mode" and "stage"; a missing "mask" means the mode's default.

    Raises:
        ConfigError: Not JSON, an unknown key, mode or stage, or a value of the wrong type.
    """
    data = _object("descriptor", text)
    allowed = RecoveryDescriptor.__dataclass_fields__
    for key in data:
        if key not in allowed:
            raise unknown_name("descriptor key", key, allowed)
    mode = FailureMode(_named("failure mode", data, "mode", [str(m) for m in FailureMode]))
    stage = RecoveryStage(_named("recovery stage", data, "stage", [str(s) for s in RecoveryStage]))
    try:
        return RecoveryDescriptor(
            report_id=_text(data, "report_id"),
            mode=mode,
            stage=stage,
            target=_text(data, "target"),
            obstacles=tuple(_names("obstacles", data.get("obstacles", []))),
            mask=_mask(data["mask"]) if "mask" in data else default_mask(mode),
            confidence=float(data.get("confidence", 1.0)),
            model_id=_text(data, "model_id"),
            rationale=_text(data, "rationale"),
        )
    except (ContractError, TypeError, ValueError) as error:
        raise ConfigError(f"descriptor: {error}") from error


def spec_to_json(spec: RewardSpec) -> str:
    """Returns a compiled reward as JSON text with its hash."""
    data = {
        "format": SPEC_FORMAT, "hash": spec.hash, "provenance": dict(spec.provenance),
        "spec": json.loads(spec.canonical_json()),
    }  # fmt: skip
    return json.dumps(data, indent=2, sort_keys=True)


def spec_from_json(text: str) -> RewardSpec:
    """Reads a compiled reward.

    Args:
        text: What `spec_to_json` wrote.

    Raises:
        ArtifactError: Not ours, damaged, or its hash does not match.
    """
    try:
        data = json.loads(text)
        if data["format"] != SPEC_FORMAT:
            raise ArtifactError(f"reward spec has format {data['format']!r}; expected {SPEC_FORMAT!r}: recompile it")
        spec = _spec(data["spec"], data["provenance"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"reward spec is damaged or foreign ({error!r}); recompile it from its descriptor"
        ) from error
    if spec.hash != data["hash"]:
        raise ArtifactError(f"reward spec says hash {data['hash']} but has {spec.hash}; it was edited: recompile it")
    return spec


def _object(what: str, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{what} is not JSON ({error}); write one JSON object") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{what} is a JSON {type(data).__name__}; write one JSON object")
    return data


def _named(kind: str, data: Mapping[str, Any], key: str, allowed: list[str]) -> str:
    value = str(data.get(key, ""))
    if value not in allowed:
        raise unknown_name(kind, value, allowed)
    return value


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"descriptor key {key!r} is {value!r}; write a text")
    return value


def _names(what: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ConfigError(f"{what} is {value!r}; write a list of names")
    return value


def _mask(value: Any) -> RewardMask:
    if not isinstance(value, dict) or set(value) != {"library", "active"} or not isinstance(value["library"], str):
        raise ConfigError(f'mask is {value!r}; write {{"library": "regrasp@2", "active": [names of terms]}}')
    return RewardMask(library=value["library"], active=frozenset(_names("mask active", value["active"])))


def _spec(data: Mapping[str, Any], provenance: Mapping[str, str]) -> RewardSpec:
    stages = tuple(
        StageReward(stage=s["stage"], value=_node(s["value"]), gate=_node(s["gate"]), done=_node(s["done"]))
        for s in data["stages"]
    )
    return RewardSpec(
        library=data["library"],
        stages=stages,
        costs=_node(data["costs"]),
        scale=float(data["scale"]),
        provenance=provenance,
    )


def _node(data: Mapping[str, Any]) -> RewardNode:
    return RewardNode(
        kind=data["kind"],
        term=data["term"],
        weight=float(data["weight"]),
        params=data["params"],
        children=tuple(_node(c) for c in data["children"]),
    )
