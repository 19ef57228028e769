"""A synthesis as JSON text and back. Called by the command that synthesises, and by reflection, to resume from it."""

import json
from collections.abc import Mapping
from typing import Any

from core.errors import ArtifactError, ConfigError, ContractError
from residual.compile import Origin
from residual.library import LIBRARY
from residual.reading import Spot, read_json
from residual.spec_io import node_from
from residual.synthesis import (
    MOST_WEIGHT,
    CausalAnalysis,
    Instantiation,
    Numbers,
    Relations,
    Selection,
    Synthesis,
    TermRequest,
)

SYNTHESIS_FORMAT = "regrasp-synthesis@1"
_KEYS = ("format", "library", "model_id", "fallback", "origin", "analysis", "selection", "relations", "instantiation")


def synthesis_to_json(synthesis: Synthesis) -> str:
    """Returns a synthesis as JSON text that `synthesis_from_json` reads."""
    made = synthesis
    data = {
        "format": SYNTHESIS_FORMAT, "library": LIBRARY.id, "model_id": made.model_id, "fallback": made.fallback,
        "origin": {"prompt_sha256": made.origin.prompt_sha256, "frames_sha256": made.origin.frames_sha256},
        "analysis": {"cause": made.analysis.cause, "plan": made.analysis.plan},
        "selection": {
            "reasons": dict(made.selection.reasons),
            "requests": [{"name": r.name, "description": r.description} for r in made.selection.requests],
        },
        "relations": [{"stage": s, "tree": tree.canonical()} for s, tree in made.relations.trees.items()],
        "instantiation": {"parts": _plain(made.instantiation.parts), "costs": _plain(made.instantiation.costs)},
    }  # fmt: skip
    return json.dumps(data, indent=1)


def synthesis_from_json(text: str) -> Synthesis:
    """Reads a synthesis.

    Raises:
        ArtifactError: Not ours, damaged, or of another version of the library; says where.
    """
    try:
        return _synthesis(read_json("synthesis", text).keys(_KEYS))
    except (ConfigError, ContractError) as error:
        raise ArtifactError(f"{error}; synthesise again") from error


def _synthesis(spots: dict[str, Spot]) -> Synthesis:
    spots["format"].one_of([SYNTHESIS_FORMAT])
    LIBRARY.require(spots["library"].text())
    origin = spots["origin"].keys(("prompt_sha256", "frames_sha256"))
    analysis = spots["analysis"].keys(("cause", "plan"))
    trees = [s.keys(("stage", "tree")) for s in spots["relations"].items()]
    numbers = spots["instantiation"].keys(("parts", "costs"))
    return Synthesis(
        analysis=CausalAnalysis(cause=analysis["cause"].text(), plan=analysis["plan"].text()),
        selection=_selection(spots["selection"]),
        relations=Relations(trees={s["stage"].text(): node_from(s["tree"]) for s in trees}),
        instantiation=Instantiation(parts=_numbers(numbers["parts"]), costs=_numbers(numbers["costs"])),
        model_id=spots["model_id"].text(),
        origin=Origin(**{k: s.text() for k, s in origin.items()}),
        fallback=spots["fallback"].text(),
    )


def _selection(spot: Spot) -> Selection:
    spots = spot.keys(("reasons", "requests"))
    reasons = {LIBRARY.term(name).name: s.text() for name, s in spots["reasons"].named().items()}
    wanted = [s.keys(("name", "description")) for s in spots["requests"].items()]
    requests = tuple(TermRequest(name=w["name"].text(), description=w["description"].text()) for w in wanted)
    return Selection(reasons=reasons, requests=requests)


def _numbers(spot: Spot) -> dict[str, Numbers]:
    return {name: _one(s.keys(("weight", "parameters"))) for name, s in spot.named().items()}


def _one(spots: dict[str, Spot]) -> Numbers:
    weight = None if spots["weight"].value is None else spots["weight"].number(0.0, MOST_WEIGHT)
    return Numbers(weight=weight, parameters={k: s.number(-1e9, 1e9) for k, s in spots["parameters"].named().items()})


def _plain(numbers: Mapping[str, Numbers]) -> dict[str, Any]:
    return {name: {"weight": n.weight, "parameters": dict(n.parameters)} for name, n in numbers.items()}
