"""Reads the answers of a reward synthesis: plain JSON, every name and number checked, nothing ever executed.

An answer that does not validate is a `ConfigError` that says where, what stands there and what is nearest. Size and
depth are bounded before anything is believed. Called by `synthesis_dialogue`.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, cast

from core.errors import ConfigError, ContractError, unknown_name
from core.rewards import RewardNode
from core.scene import ROLES
from residual.curriculum import KINDS, Kind, SceneEdit
from residual.library import LIBRARY
from residual.reading import Spot
from residual.synthesis import (
    MOST_COST,
    MOST_WEIGHT,
    CausalAnalysis,
    Instantiation,
    Numbers,
    Relations,
    Selection,
    TermRequest,
    completed,
)
from residual.synthesis_case import Case
from residual.synthesis_prompt import parts_in
from residual.term import Number, Role

LONGEST = 50_000
"""Characters of an answer that are looked at."""
MOST_STARTS = 200
"""Places at which a JSON object is looked for."""
TEXT_KEPT = 600
"""Characters of a reason, a plan or a request that are kept."""
MOST_REQUESTS = 8
DEEPEST = 5
"""Levels of a reward tree."""
MOST_NODES = 32
"""Nodes of a reward tree."""


def parse_analysis(text: str) -> CausalAnalysis:
    """Returns the first answer; raises `ConfigError`."""
    spots = _answer(text, ("cause", "plan")).keys(("cause", "plan"))
    return CausalAnalysis(cause=_words(spots["cause"]), plan=_words(spots["plan"]))


def parse_selection(text: str) -> Selection:
    """Returns the second answer; raises `ConfigError` naming the nearest term for an unknown one."""
    spots = _answer(text, ("terms",)).keys(("terms",), ("requests",))
    reasons: dict[str, str] = {}
    for spot in _few(spots["terms"], len(LIBRARY.terms)):
        inner = spot.keys(("term",), ("reason",))
        name = inner["term"].one_of(LIBRARY.terms)
        reasons.setdefault(name, _words(inner["reason"], empty=True) if "reason" in inner else "")
    if not any(LIBRARY.term(t).kind == "value" for t in reasons):
        raise spots["terms"].wrong("at least one term that is a value: penalties alone lead nowhere")
    wanted = _few(spots["requests"], MOST_REQUESTS) if "requests" in spots else []
    requests = tuple(_request(s.keys(("name", "description"))) for s in wanted)
    return Selection(reasons=reasons, requests=requests)


def parse_relations(text: str, case: Case, selection: Selection) -> Relations:
    """Returns the third answer.

    Args:
        text: What the model said.
        case: Whose stages may be given trees.
        selection: Whose values may be used in them.

    Raises:
        ConfigError: A stage, term or role that is not allowed, a tree too deep or too large, a stage that nothing
            drives.
    """
    spots = _answer(text, ("stages",)).keys(("stages",))
    stages = list(case.stages())
    values = [t for t in selection.terms if LIBRARY.term(t).kind == "value"]
    trees: dict[str, RewardNode] = {}
    for name, spot in spots["stages"].named().items():
        if name not in stages:
            raise unknown_name(f"stage of {spot.path}", name, stages)
        trees[name] = _tree(spot, values, _present(case), iter(range(MOST_NODES)), DEEPEST)
    return completed(case, selection, trees)


def parse_instantiation(text: str, case: Case, selection: Selection, relations: Relations) -> Instantiation:
    """Returns the fourth answer.

    Args:
        text: What the model said.
        case: For the numbers that fit.
        selection: Whose costs may be given numbers.
        relations: Whose parts may be.

    Raises:
        ConfigError: An unknown part, cost or parameter, a number that is not finite, negative or out of its range.
    """
    spots = _answer(text, ("parts", "costs")).keys((), ("parts", "costs"))
    parts = parts_in(case, relations)
    costs = {t: RewardNode(kind="term", term=t) for t in selection.costs}
    return Instantiation(
        parts=_numbers_by_name(spots.get("parts"), parts, MOST_WEIGHT),
        costs=_numbers_by_name(spots.get("costs"), costs, MOST_COST),
    )


def parse_scene(text: str, case: Case) -> tuple[SceneEdit, ...]:
    """Returns how a scene is made easier; raises `ConfigError` for an edit that is not allowed, or of nobody."""
    spots = _answer(text, ("edits",)).keys(("edits",))
    edits: list[SceneEdit] = []
    for spot in _few(spots["edits"], len(KINDS) + len(ROLES)):
        inner = spot.keys(("kind",), ("role", "reason"))
        role = inner["role"].text() if "role" in inner else ""
        if role in ROLES and not case.roles.of(role):
            raise ConfigError(f"{spot.path}.role: there is no {role} here; there are {', '.join(_present(case))}")
        edits.append(SceneEdit(kind=cast(Kind, inner["kind"].one_of(KINDS)), role=role))
    return tuple(dict.fromkeys(edits))


def _present(case: Case) -> list[str]:
    return [r for r in ROLES if case.roles.of(r)]


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """Yields the JSON objects in a text that may say other things too, in order, outermost only."""
    text, decoder, start = text[:LONGEST], json.JSONDecoder(parse_int=_whole), -1
    for _ in range(MOST_STARTS):
        start = text.find("{", start + 1)
        if start < 0:
            return
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        yield found
        start = end - 1


def _answer(text: str, keys: Iterable[str]) -> Spot:
    """Returns the first object of a chatty answer that has one of the keys, else its first object."""
    found = list(objects_in(text))
    if not found:
        raise ConfigError(f"no JSON object in {text[:80]!r}")
    return Spot("answer", next((o for o in found if any(k in o for k in keys)), found[0]))


def _whole(digits: str) -> int | float:
    """Returns a whole number, infinity where it has more digits than any number here needs."""
    return int(digits) if len(digits) < 20 else float("inf")


def _words(spot: Spot, *, empty: bool = False) -> str:
    text = "".join(c if c.isprintable() else " " for c in spot.text()).strip()[:TEXT_KEPT]
    if not text and not empty:
        raise spot.wrong("a sentence")
    return text


def _few(spot: Spot, most: int) -> list[Spot]:
    items = spot.items()
    if len(items) > most:
        raise ConfigError(f"{spot.path}: {len(items)} items stand here; give at most {most}")
    return items


def _request(spots: dict[str, Spot]) -> TermRequest:
    return TermRequest(name=_words(spots["name"]), description=_words(spots["description"], empty=True))


def _tree(spot: Spot, values: list[str], roles: list[str], budget: Iterator[int], levels: int) -> RewardNode:
    if levels == 0 or next(budget, None) is None:
        raise ConfigError(f"{spot.path}: the tree is too large; give at most {DEEPEST} levels and {MOST_NODES} nodes")
    found = spot.named()
    kinds = [k for k in ("term", "and", "or", "if") if k in found]
    if len(kinds) != 1:
        raise spot.wrong('an object with exactly one of "term", "and", "or", "if"')
    if kinds[0] == "term":
        return _leaf(spot, values, roles)
    inner = spot.keys(kinds)[kinds[0]]
    if kinds[0] == "if":
        pair = inner.keys(("body", "condition"))
        below = [pair["body"], pair["condition"]]
    else:
        below = inner.items()
    children = tuple(_tree(s, values, roles, budget, levels - 1) for s in below)
    try:
        return RewardNode(kind=kinds[0], children=children)
    except ContractError as error:
        raise ConfigError(f"{spot.path}: {error}") from error


def _leaf(spot: Spot, values: list[str], roles: list[str]) -> RewardNode:
    spots = spot.keys(("term",), ("role",))
    name = spots["term"].one_of(LIBRARY.terms)
    if name not in values:
        raise ConfigError(
            f"{spots['term'].path}: {name!r} is not among the selected values; use one of {', '.join(sorted(values))}"
        )
    if "role" not in spots:
        return RewardNode(kind="term", term=name)
    if not any(isinstance(p, Role) and p.name == "role" for p in LIBRARY.term(name).parameters):
        raise ConfigError(f"{spots['role'].path}: term {name!r} takes no role; leave it out")
    return RewardNode(kind="term", term=name, params={"role": spots["role"].one_of(roles)})


def _numbers_by_name(spot: Spot | None, parts: dict[str, RewardNode], most: float) -> dict[str, Numbers]:
    if spot is None:
        return {}
    given = {}
    for name, inner in spot.named().items():
        if name not in parts:
            raise unknown_name(f"part of {spot.path}", name, parts or ["none"])
        given[name] = _numbers(inner, parts[name], most)
    return given


def _numbers(spot: Spot, node: RewardNode, most: float) -> Numbers:
    term = LIBRARY.term(node.term) if node.kind == "term" else None
    ranges = {p.name: p for p in (term.parameters if term else ()) if isinstance(p, Number)}
    spots = spot.keys((), ("weight", *ranges))
    weight = spots.pop("weight").number(0.0, most) if "weight" in spots else None
    parameters = {name: s.number(ranges[name].low, ranges[name].high) for name, s in spots.items()}
    if term is not None:
        try:
            term.bind({**node.params, **parameters})
        except ConfigError as error:
            raise ConfigError(f"{spot.path}: {error}") from error
    return Numbers(weight=weight, parameters=parameters)
