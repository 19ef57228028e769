"""The four questions of a reward synthesis and the one about a scene, versioned, each with the schema of its answer.

A question says everything: what happened, what was measured, which names and ranges are allowed, what the answer looks
like; many servers ignore a schema. Called by `synthesis_dialogue` and `synthesis_reflect`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.arrays import Floats
from core.rewards import RewardNode
from core.scene import ROLES
from residual.curriculum import KINDS
from residual.library import LIBRARY
from residual.stages import leaves
from residual.synthesis import (
    MOST_COST,
    MOST_WEIGHT,
    CausalAnalysis,
    Relations,
    Selection,
    fitted,
    parts_of,
    plain_cost,
    usual_parts,
)
from residual.synthesis_case import Case, Moment
from residual.term import Number, Term

PROMPT_VERSION = "synthesise@1"
"""Part of every answer's model id; any change of the words below is a new version."""
_ANSWER_KEPT = 2000
"""Characters of a refused answer that are shown again."""


class Query(StrEnum):
    """What is asked, in the order in which it is."""

    ANALYSIS = "analysis"
    SELECTION = "selection"
    RELATIONS = "relations"
    INSTANTIATION = "instantiation"
    SCENE = "scene"
    """Not of a synthesis: how the scene could be made easier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is asked."""

    query: Query
    text: str
    schema: Mapping[str, Any]


def ask_analysis(case: Case) -> Question:
    """Returns the first question: why it failed and what to do."""
    schema = _object({"cause": _TEXT, "plan": _TEXT})
    body = f"""{_happened(case)}
Look at the pictures and the measurements. Say in one or two sentences why it failed, and in one to five sentences
what the arm has to do, in order, to finish the sub-task from here."""
    return _question(Query.ANALYSIS, body, schema)


def ask_selection(case: Case, analysis: CausalAnalysis) -> Question:
    """Returns the second question: which terms of the library matter."""
    names = list(LIBRARY.terms)
    term = _object({"term": {"type": "string", "enum": names}, "reason": _TEXT})
    request = _object({"name": _TEXT, "description": _TEXT})
    schema = _object({
        "terms": {"type": "array", "minItems": 1, "maxItems": len(names), "items": term},
        "requests": {"type": "array", "maxItems": 8, "items": request},
    })  # fmt: skip
    usual = ", ".join(sorted({n.term for s in case.stages().values() for n in leaves(s.value)}))
    costs = ", ".join(c.term for c in case.template().costs)
    body = f"""{_happened(case)}
{_analysed(analysis)}
A reward for learning the recovery is made of terms. Values lie in [0, 1] and say how good a state is; penalties lie
in [-1, 0] and charge a step. These are all the terms there are:
{_library(LIBRARY.terms)}
The stages of the recovery are {_stages(case)}; a selected value has to drive each of them. Usual here are the values
{usual} and the penalties {costs}.{_present(case)}
Select the terms that matter, each with a reason. If a term is missing in the list, describe it in "requests": a person
will read it; it is not used now."""
    return _question(Query.SELECTION, body, schema)


def ask_relations(case: Case, analysis: CausalAnalysis, selection: Selection) -> Question:
    """Returns the third question: how the terms of each stage are joined."""
    chosen = {t: LIBRARY.term(t) for t in selection.terms if LIBRARY.term(t).kind == "value"}
    trees = _optional({name: {"$ref": "#/$defs/tree2"} for name in case.stages()})
    schema = {
        **_object({"stages": trees}),
        "$defs": _tree_schemas(sorted(chosen), [r for r in ROLES if case.roles.of(r)]),
    }
    own = "\n".join(f"  {name}: {json.dumps(tree_data(s.value))}" for name, s in case.stages().items())
    body = f"""{_happened(case)}
{_analysed(analysis)}
Selected values:
{_library(chosen)}
Each stage of the recovery has a tree of these terms. A tree is one of
  {{"term": "approach", "role": "target"}}             a term; "role" may be left out
  {{"and": [tree, tree, ...]}}                          the weighted sum
  {{"if": {{"body": tree, "condition": tree}}}}           the body, where the condition holds
  {{"or": [tree, tree, ...]}}                           the largest
or of such trees joined again.
Roles are {", ".join(f"{r} ({case.roles.of(r) or 'nobody'})" for r in ROLES)}. The usual trees are
{own}
Give a tree for each stage that should differ. A stage that you leave out keeps its usual tree without the terms that
were not selected. When the arm has to do one stage before another needs no IF: stages are already done in order."""
    return _question(Query.RELATIONS, body, schema)


def ask_instantiation(case: Case, analysis: CausalAnalysis, selection: Selection, relations: Relations) -> Question:
    """Returns the fourth question: the numbers, from what was measured."""
    parts = dict(_parts(case, relations))
    costs = {t: plain_cost(case.template(), t) for t in selection.costs}
    schema = _object({
        "parts": _optional({name: _numbers_schema(node, MOST_WEIGHT) for name, node in parts.items()}),
        "costs": _optional({name: _numbers_schema(node, MOST_COST) for name, node in costs.items()}),
    })  # fmt: skip
    body = f"""{_happened(case)}
{_analysed(analysis)}
These are the parts of the reward, with the numbers that fit the things on the table and the range of each. Weights
inside an AND are scaled to sum to 1; weights of costs are charged at every step, where a success is worth 5.
parts:
{_numbers(parts)}
costs:
{_numbers(costs)}
Give the numbers that should differ, from what was measured; what you leave out stays as it is. Sizes
and heights of the things are already in the numbers above."""
    return _question(Query.INSTANTIATION, body, schema)


def ask_scene(case: Case) -> Question:
    """Returns the question how the scene could be made easier if hardly anything succeeds in training."""
    edit = _object({"kind": {"type": "string", "enum": list(KINDS)}, "role": {"type": "string"}, "reason": _TEXT})
    schema = _object({"edits": {"type": "array", "minItems": 1, "maxItems": len(KINDS), "items": edit}})
    body = f"""{_happened(case)}
Hardly any simulated recovery from this failure succeeds. In half of them the scene may be made easier for a while; the
goal stays what it is. An edit is one of
  kind "remove", role "distractor" or "obstacle": that thing is taken away ("role" is "" for the other kinds)
  kind "steady": no noise of the tracker, no changes of friction, mass and delay
  kind "longer": half more time
On the table are {", ".join(f"{r} {case.roles.of(r)}" for r in ROLES if case.roles.of(r))}. Name the edits that help
most, the fewest that do."""
    return _question(Query.SCENE, body, schema)


def ask_again(question: Question, answer: str, problem: str) -> Question:
    """Returns the question that is put once after an answer that was refused.

    Args:
        question: The first one.
        answer: What came back.
        problem: Why it was refused; names the nearest valid thing.
    """
    text = (
        f"{question.text}\n\nYour answer was:\n{answer[:_ANSWER_KEPT]}\n"
        f"It was refused: {problem[:_ANSWER_KEPT]}\nAnswer again, one JSON object and nothing else."
    )
    return Question(query=question.query, text=clean(text), schema=question.schema)


def clean(text: str) -> str:
    """Returns a text that can be sent and hashed: halves of surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def tree_data(tree: RewardNode) -> dict[str, Any]:
    """Returns the structure of a tree as it is written in questions and answers."""
    if tree.kind == "term":
        role = tree.params.get("role")
        return {"term": tree.term} if role is None else {"term": tree.term, "role": role}
    children = [tree_data(c) for c in tree.children]
    return {"if": {"body": children[0], "condition": children[1]}} if tree.kind == "if" else {tree.kind: children}


def parts_in(case: Case, relations: Relations) -> dict[str, RewardNode]:
    """Returns everything that can be given numbers, by name, with the numbers that fit."""
    return dict(_parts(case, relations))


def _parts(case: Case, relations: Relations) -> Iterable[tuple[str, RewardNode]]:
    known = usual_parts(case)
    for stage, tree in relations.trees.items():
        for name, node in parts_of(stage, tree):
            yield name, fitted(known, name, node)


_TEXT = {"type": "string", "maxLength": 600}


def _question(query: Query, body: str, schema: dict[str, Any]) -> Question:
    text = (
        f"{body}\nAnswer with one JSON object and nothing else. It has to follow this schema:\n"
        f"{json.dumps(schema, separators=(',', ':'))}"
    )
    return Question(query=query, text=text, schema=schema)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": list(properties), "additionalProperties": False,
    }  # fmt: skip


def _optional(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _tree_schemas(values: list[str], roles: list[str]) -> dict[str, Any]:
    """Returns leaf and two levels of trees by name: servers that take references seldom take endless ones."""
    about = [t for t in values if any(p.name == "role" for p in LIBRARY.term(t).parameters)]
    others = [t for t in values if t not in about]
    shapes = [_object({"term": {"type": "string", "enum": others}})] if others else []
    if about:
        named = _object({"term": {"type": "string", "enum": about}, "role": {"type": "string", "enum": roles}})
        shapes.append({**named, "required": ["term"]})
    leaf = {"anyOf": shapes}
    found: dict[str, Any] = {"tree0": leaf}
    for level in (1, 2):
        below = {"$ref": f"#/$defs/tree{level - 1}"}
        several = {"type": "array", "minItems": 1, "maxItems": 8, "items": below}
        choice = {"type": "array", "minItems": 2, "maxItems": 8, "items": below}
        gated = _object({"body": below, "condition": below})
        shapes = [_object({"and": several}), _object({"or": choice}), _object({"if": gated})]
        found[f"tree{level}"] = {"anyOf": [{"$ref": "#/$defs/tree0"}, *shapes]}
    return found


def _numbers_schema(node: RewardNode, most: float) -> dict[str, Any]:
    numbers = {"weight": {"type": "number", "minimum": 0, "maximum": most}}
    for p in _ranges(node):
        numbers[p.name] = {"type": "number", "minimum": p.low, "maximum": p.high}
    return _optional(numbers)


def _ranges(node: RewardNode) -> list[Number]:
    if node.kind != "term":
        return []
    return [p for p in LIBRARY.term(node.term).parameters if isinstance(p, Number)]


def _numbers(parts: Mapping[str, RewardNode]) -> str:
    return "\n".join(f"  {name}: {_figures(node)}" for name, node in parts.items()) or "  none"


def _figures(node: RewardNode) -> str:
    told = [f"weight {node.weight:g}"]
    for p in _ranges(node):
        told.append(f"{p.name} {float(node.params.get(p.name, p.default)):g} [{p.unit}] in {p.low:g}..{p.high:g}")
    return ", ".join(told)


def _library(terms: Mapping[str, Term]) -> str:
    return "\n".join(_entry(name, term) for name, term in sorted(terms.items()))


def _entry(name: str, term: Term) -> str:
    numbers = ", ".join(
        f"{p.name} [{p.unit}] in {p.low:g}..{p.high:g}, usually {p.default:g}"
        if isinstance(p, Number)
        else f"{p.name}, usually {p.default}"
        for p in term.parameters
    )
    what = (term.function.__doc__ or "").strip().split("\n")[0]
    shape = f"{term.monotone}" + (f", by {term.variable} [{term.unit}]" if term.variable else "")
    return f"  {name} ({term.kind}, {term.category}): {what} It {shape}" + (f"; {numbers}" if numbers else "")


def _happened(case: Case) -> str:
    pictures = "; ".join(f"picture {i + 1}: {what}" for i, what in enumerate(case.shown)) or "none"
    roles = ", ".join(f"{r} {case.roles.of(r)}" for r in ROLES if case.roles.of(r))
    return f"""A robot arm with a parallel gripper was told: "{case.instruction}" (task {case.task}).
It failed in the sub-task {case.subtask!r}, which is done by {case.manner.value}: {case.mode.value} (probability
{case.confidence:.2f}). Roles: {roles}. The recovery starts at stage {case.stage.value} and goes {_stages(case)}.
Pictures: {pictures}.
Measured, oldest first (places of centres in the arm's base frame in metres, z up, table at 0; gripper 0 is
closed, 1 open):
{_table(case.moments)}{_progress(case)}"""


def _stages(case: Case) -> str:
    return ", ".join(case.stages())


def _progress(case: Case) -> str:
    return f"\nThis recovery is being trained: {case.progress}" if case.progress else ""


def _present(case: Case) -> str:
    return f"\nActive at present are {', '.join(sorted(case.present))}." if case.present else ""


def _analysed(analysis: CausalAnalysis) -> str:
    return f"Cause: {analysis.cause}\nPlan: {analysis.plan}"


def _table(moments: Iterable[Moment]) -> str:
    return "\n".join(_line(m) for m in moments) or "(nothing)"


def _line(moment: Moment) -> str:
    places = ", ".join(f"{name} at {_point(p)}" for name, p in sorted(moment.places.items()))
    facts = [
        "" if moment.tool is None else f"tool at {_point(moment.tool)}",
        "" if moment.speed_m_s is None else f"tool speed {moment.speed_m_s:.3f} m/s",
        "" if moment.told is None else f"gripper told {moment.told:.2f}",
        "" if moment.opening is None else f"gripper measured {moment.opening:.2f}",
        "" if moment.force_n is None else f"contact force {moment.force_n:.1f} N",
        places or "no object seen",
        f"stage {moment.stage}" if moment.stage else "",
        "" if moment.done is None else f"sub-tasks done {moment.done}",
    ]
    return f"t = {moment.t_s:+.2f} s: " + "; ".join(f for f in facts if f)


def _point(place: Floats) -> str:
    return "(" + ", ".join(f"{v:.3f}" for v in place) + ")"
