"""Descriptors and compiled rewards as JSON text, every defect named. Called by `compile`, `train` and cards."""

import json
from math import isfinite
from typing import get_args

from core.errors import ArtifactError, ConfigError, ContractError
from core.failures import FailureMode
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import LintCheck, LintReport, Pay, RewardMask, RewardNode, RewardSpec, StageReward
from core.subtasks import Manner
from residual.library import LIBRARY
from residual.masks import default_mask
from residual.reading import Spot, read_json

SPEC_FORMAT = "regrasp-reward@2"
LARGEST = 1e3
"""Largest weight and scale."""
_KINDS = ("term", "and", "if", "or")


def descriptor_to_json(descriptor: RecoveryDescriptor) -> str:
    """Returns a descriptor as JSON text that `descriptor_from_json` reads."""
    data = {
        "report_id": descriptor.report_id, "mode": str(descriptor.mode), "stage": str(descriptor.stage),
        "target": descriptor.target, "obstacles": list(descriptor.obstacles),
        "mask": {"library": descriptor.mask.library, "active": sorted(descriptor.mask.active)},
        "confidence": descriptor.confidence, "model_id": descriptor.model_id, "rationale": descriptor.rationale,
    }  # fmt: skip
    return json.dumps(data, indent=2, sort_keys=True)


def descriptor_from_json(text: str, manner: Manner = Manner.PLACE) -> RecoveryDescriptor:
    """Reads a descriptor that a person or a model wrote.

    Args:
        text: A JSON object with at least "mode" and "stage"; a missing "mask" means the mode's default.
        manner: How the sub-task in which it failed is done; chooses the default mask.

    Raises:
        ConfigError: Not JSON, an unknown key, mode or stage, or a value of the wrong type.
    """
    optional = [k for k in RecoveryDescriptor.__dataclass_fields__ if k not in ("mode", "stage")]
    spots = read_json("descriptor", text).keys(("mode", "stage"), optional)
    mode = FailureMode(spots["mode"].one_of(map(str, FailureMode)))
    return RecoveryDescriptor(
        report_id=_text(spots, "report_id"),
        mode=mode,
        stage=RecoveryStage(spots["stage"].one_of(map(str, RecoveryStage))),
        target=_text(spots, "target"),
        obstacles=tuple(s.text() for s in spots["obstacles"].items()) if "obstacles" in spots else (),
        mask=_mask(spots["mask"]) if "mask" in spots else default_mask(mode, manner),
        confidence=spots["confidence"].number(0.0, 1.0) if "confidence" in spots else 1.0,
        model_id=_text(spots, "model_id"),
        rationale=_text(spots, "rationale"),
    )


def spec_to_json(spec: RewardSpec) -> str:
    """Returns a compiled reward as JSON text with its hash; provenance and lint stand beside what is hashed."""
    data = {
        "format": SPEC_FORMAT, "hash": spec.hash, "provenance": dict(spec.provenance),
        "lint": None if spec.lint is None else _lint_data(spec.lint), "spec": json.loads(spec.canonical_json()),
    }  # fmt: skip
    return json.dumps(data, indent=2, sort_keys=True)


def spec_from_json(text: str) -> RewardSpec:
    """Reads a compiled reward.

    Args:
        text: What `spec_to_json` wrote.

    Raises:
        ArtifactError: Not ours, damaged, of another version, or edited: its hash does not match. Says where.
    """
    try:
        spot = read_json("reward spec", text)
        _known_format(spot)
        spots = spot.keys(("format", "hash", "provenance", "lint", "spec"))
        spec = _spec(spots)
        digest = spots["hash"].text()
    except (ConfigError, ContractError) as error:
        raise ArtifactError(f"{error}; or recompile it from its descriptor") from error
    if spec.hash != digest:
        raise ArtifactError(f"reward spec says hash {digest} but has {spec.hash}; it was edited: recompile it")
    return spec


def node_from(spot: Spot) -> RewardNode:
    """Reads a reward tree; a leaf needs "kind" and "term", an inner node "kind" and "children".

    Args:
        spot: Where it stands in the JSON.

    Raises:
        ConfigError: An unknown kind, term or parameter with the nearest known one, a wrong number of children, a
            weight or a parameter out of range; each with its place.
    """
    spots = spot.keys(("kind",), ("term", "weight", "params", "children"))
    term = spots["term"].text() if "term" in spots else ""
    params = {k: _parameter(s) for k, s in spots["params"].named().items()} if "params" in spots else {}
    try:
        if term:
            LIBRARY.term(term).bind(params)
        return RewardNode(
            kind=spots["kind"].one_of(_KINDS),  # type: ignore[arg-type]  # one of the four
            term=term,
            weight=spots["weight"].number(0.0, LARGEST) if "weight" in spots else 1.0,
            params=params,
            children=tuple(node_from(s) for s in spots["children"].items()) if "children" in spots else (),
        )
    except ContractError as error:
        raise ConfigError(f"{spot.path}: {error}") from error
    except ConfigError as error:
        raise error if str(error).startswith(spot.path) else ConfigError(f"{spot.path}: {error}") from error


def _known_format(spot: Spot) -> None:
    found = spot.named().get("format")
    if found is None or found.value != SPEC_FORMAT:
        raise ConfigError(f"{spot.path}.format is {found and found.value!r}; this version reads {SPEC_FORMAT!r}")


def _spec(spots: dict[str, Spot]) -> RewardSpec:
    inner = spots["spec"].keys(("library", "stages", "costs", "scale"))
    LIBRARY.require(inner["library"].text())
    return RewardSpec(
        library=inner["library"].text(),
        stages=tuple(_stage(s) for s in inner["stages"].items()),
        costs=node_from(inner["costs"]),
        scale=inner["scale"].number(0.0, LARGEST),
        provenance={k: s.text() for k, s in spots["provenance"].named().items()},
        lint=None if spots["lint"].value is None else _lint(spots["lint"]),
    )


def _stage(spot: Spot) -> StageReward:
    spots = spot.keys(("stage", "pays", "value", "gate", "done"))
    return StageReward(
        stage=spots["stage"].one_of(map(str, RecoveryStage)),
        pays=spots["pays"].one_of(get_args(Pay)),  # type: ignore[arg-type]  # one of its values
        value=node_from(spots["value"]),
        gate=node_from(spots["gate"]),
        done=node_from(spots["done"]),
    )


def _lint_data(lint: LintReport) -> dict[str, object]:
    checks = [
        {"name": c.name, "value": _finite(c.value), "needed": _finite(c.needed), "ok": c.ok, "note": c.note}
        for c in lint.checks
    ]
    return {"ok": lint.ok, "successes": lint.successes, "rollouts": lint.rollouts, "checks": checks}


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _lint(spot: Spot) -> LintReport:
    spots = spot.keys(("ok", "successes", "rollouts", "checks"))
    checks = tuple(_check(s) for s in spots["checks"].items())
    report = LintReport(checks=checks, successes=spots["successes"].count(), rollouts=spots["rollouts"].count())
    if spots["ok"].value is not report.ok:
        raise spots["ok"].wrong(f"{str(report.ok).lower()}, as the checks say")
    return report


def _check(spot: Spot) -> LintCheck:
    spots = spot.keys(("name", "value", "needed", "ok", "note"))
    value, needed = (float("-inf") if spots[k].value is None else spots[k].number(-1e12, 1e12) for k in _FIGURES)
    return LintCheck(name=spots["name"].text(), value=value, needed=needed, note=spots["note"].text())


_FIGURES = ("value", "needed")


def _text(spots: dict[str, Spot], key: str) -> str:
    return spots[key].text() if key in spots else ""


def _parameter(spot: Spot) -> float | str:
    if isinstance(spot.value, str):
        return spot.value
    return spot.number(-1e9, 1e9)


def _mask(spot: Spot) -> RewardMask:
    spots = spot.keys(("library", "active"))
    return RewardMask(library=spots["library"].text(), active=frozenset(s.text() for s in spots["active"].items()))
