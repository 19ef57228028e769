"""What a reward synthesis consists of, whoever made it: a model in dialogue or the diagnosis table.

Four parts, one for each query: why it failed, which terms matter, how they are joined, with which numbers. Together
with the case they make a descriptor, trees and costs, which the compiler turns into a reward, or refuses. Nothing here
is ever executed: a model chooses among names and gives numbers. Made by `synthesis_dialogue` and `synthesis_table`.
Source: Reflective Self-Adaptation, reward synthesis by four queries.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from core.arrays import in_range
from core.errors import ConfigError
from core.recovery import RecoveryDescriptor
from core.rewards import RewardMask, RewardNode, RewardSpec
from residual.compile import Origin, compile_reward
from residual.library import LIBRARY
from residual.outline import told
from residual.stages import Template, leaves, numbered
from residual.synthesis_case import Case

TABLE_ID = "diagnosis-table@1"
"""Model id of what the embedded path made."""
MOST_WEIGHT = 10.0
"""Largest weight of a part inside its sum."""
MOST_COST = 2.0
"""Largest weight of a cost, reward units a step: a success is worth 5."""
PLAIN_COST = 0.02
"""Weight of a cost that neither model nor template gives, reward units a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CausalAnalysis:
    """First answer: why it failed and what to do, in plain words; shown to people and to the next query only."""

    cause: str
    plan: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TermRequest:
    """A term that a model would like the library to have: written down for a person, never executed."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Second answer: which terms of the library matter."""

    reasons: Mapping[str, str]
    """Why, by term; its keys are the mask."""
    requests: tuple[TermRequest, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "reasons", MappingProxyType(dict(sorted(self.reasons.items()))))

    @property
    def terms(self) -> frozenset[str]:
        """The active terms."""
        return frozenset(self.reasons)

    @property
    def costs(self) -> tuple[str, ...]:
        """The active penalties, sorted."""
        return tuple(t for t in self.reasons if LIBRARY.term(t).kind == "penalty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relations:
    """Third answer: how the terms of a stage are joined by AND, IF and OR."""

    trees: Mapping[str, RewardNode]
    """By stage of the recovery, see `Case.stages`: structure and roles only, every weight 1, no numbers."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "trees", MappingProxyType(dict(self.trees)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """What one part of a tree, or one cost, is told."""

    weight: float | None = None
    """Inside the AND around it, or of a cost in reward units; None keeps the template's."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Margins and thresholds by name, each in the unit that its name ends in; what is missing keeps the fitted one."""

    def __post_init__(self) -> None:
        if self.weight is not None:
            in_range("weight", self.weight, 0.0, MOST_WEIGHT)
        object.__setattr__(self, "parameters", MappingProxyType(dict(sorted(self.parameters.items()))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Instantiation:
    """Fourth answer: the numbers."""

    parts: Mapping[str, Numbers] = field(default_factory=dict)
    """By part, e.g. "approach/grasp_open(target)"; see `parts_of`."""
    costs: Mapping[str, Numbers] = field(default_factory=dict)
    """By penalty."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", MappingProxyType(dict(sorted(self.parts.items()))))
        object.__setattr__(self, "costs", MappingProxyType(dict(sorted(self.costs.items()))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """All four answers and where they come from."""

    analysis: CausalAnalysis
    selection: Selection
    relations: Relations
    instantiation: Instantiation
    model_id: str = TABLE_ID
    """Who made it, name@version."""
    origin: Origin = field(default_factory=Origin)
    """What the model was asked and shown."""
    fallback: str = ""
    """Why the table answered in a model's place, "" when it did not."""


def descriptor_of(case: Case, synthesis: Synthesis) -> RecoveryDescriptor:
    """Returns what a synthesis says of a case, as a diagnoser would."""
    roles = case.roles
    return RecoveryDescriptor(
        report_id=case.report_id,
        mode=case.mode,
        stage=case.stage,
        target=roles.target,
        obstacles=(roles.obstacle,) if roles.obstacle else (),
        mask=RewardMask(library=LIBRARY.id, active=synthesis.selection.terms),
        confidence=case.confidence,
        model_id=synthesis.model_id,
        rationale=synthesis.analysis.cause,
    )


def reward_of(case: Case, synthesis: Synthesis) -> RewardSpec:
    """Returns the compiled reward of a synthesis.

    Args:
        case: What failed; gives manner, mode, stage and the distances that fit.
        synthesis: Made for it.

    Raises:
        ConfigError: The compiler refuses it; says what and what is allowed.
    """
    return compile_reward(
        descriptor_of(case, synthesis),
        manner=case.manner,
        fit=case.fit,
        trees=grown_trees(case, synthesis),
        costs=_costs(case.template(), synthesis),
        origin=synthesis.origin,
    )


def grown_trees(case: Case, synthesis: Synthesis) -> dict[str, RewardNode]:
    """Returns the trees of a synthesis with the numbers it gives, fitted ones where it gives none."""
    known = usual_parts(case)
    return {
        stage: _grown(stage, tree, known, synthesis.instantiation) for stage, tree in synthesis.relations.trees.items()
    }


def parts_of(stage: str, tree: RewardNode) -> Iterator[tuple[str, RewardNode]]:
    """Yields name and node of everything in a stage's tree that can be given numbers, top down, left to right.

    That is every leaf, and every inner node but the root. A name is stage/term(role) or stage/and; the second of its
    kind in a stage ends in "#2".

    Args:
        stage: Whose tree it is.
        tree: With or without numbers.
    """
    nodes = list(_nodes(tree))[0 if tree.kind == "term" else 1 :]
    yield from zip(numbered(f"{stage}/{_called(n)}" for n in nodes), nodes, strict=True)


def usual_parts(case: Case) -> dict[str, RewardNode]:
    """Returns the parts of the template's trees of a case by name, with the numbers that fit."""
    return dict(part for name, s in case.stages().items() for part in parts_of(name, s.value))


def fitted(known: Mapping[str, RewardNode], name: str, node: RewardNode) -> RewardNode:
    """Returns a part with the numbers that fit the case: this stage's, else another stage's, else the library's.

    Args:
        known: From `usual_parts`.
        name: Of the part, from `parts_of`.
        node: The part.
    """
    if name in known:
        weight, params = known[name].weight, known[name].params
    else:
        alike = [n for n in known.values() if n.kind == "term" and _called(n) == _called(node)]
        weight, params = 1.0, alike[0].params if alike else {}
    return replace(node, weight=weight, params={**params, **node.params})


def plain_cost(template: Template, term: str) -> RewardNode:
    """Returns a cost with the template's weight and numbers, a small one where the template has none."""
    found = [c for c in template.costs if c.term == term]
    return found[0] if found else RewardNode(kind="term", term=term, weight=PLAIN_COST)


def bare(tree: RewardNode) -> RewardNode:
    """Returns the structure of a tree: roles stay, weights are 1, numbers are gone."""
    roles = {k: v for k, v in tree.params.items() if isinstance(v, str)}
    return replace(tree, weight=1.0, params=roles, children=tuple(bare(c) for c in tree.children))


def completed(case: Case, selection: Selection, trees: Mapping[str, RewardNode]) -> Relations:
    """Returns a tree for every stage: the given one, else the template's own without what was not selected.

    Args:
        case: Whose stages they are.
        selection: Active terms.
        trees: Structure by stage; () for the template's.

    Raises:
        ConfigError: A stage that no selected term drives; names the terms that could.
    """
    found: dict[str, RewardNode] = {}
    for name, stage in case.stages().items():
        tree = trees.get(name) or _without(stage.value, selection.terms)
        if tree is None:
            drivers = sorted({n.term for n in leaves(stage.value)})
            raise ConfigError(
                f"stage {name!r} is driven by no selected term; select at least one of "
                f"{', '.join(drivers)}, or give it a tree of selected values"
            )
        found[name] = bare(tree)
    return Relations(trees=found)


def narrowed(case: Case, synthesis: Synthesis, kept: frozenset[str]) -> Synthesis:
    """Returns a synthesis with fewer terms; raises `ConfigError` where a stage loses all that drives it."""
    reasons = {t: why for t, why in synthesis.selection.reasons.items() if t in kept}
    selection = replace(synthesis.selection, reasons=reasons)
    trees = {name: _without(tree, kept) for name, tree in synthesis.relations.trees.items()}
    relations = completed(case, selection, {name: tree for name, tree in trees.items() if tree is not None})
    costs = {t: n for t, n in synthesis.instantiation.costs.items() if t in kept}
    return replace(
        synthesis,
        selection=selection,
        relations=relations,
        instantiation=replace(synthesis.instantiation, costs=costs),
    )


def _without(tree: RewardNode, kept: frozenset[str]) -> RewardNode | None:
    """Returns the tree without leaves that are not kept, None when nothing is left."""
    if tree.kind == "term":
        return tree if tree.term in kept else None
    children = tuple(c for c in (_without(c, kept) for c in tree.children) if c is not None)
    if not children:
        return None
    lone = len(children) == 1 and tree.kind != "and"
    return replace(children[0], weight=tree.weight) if lone else replace(tree, children=children)


def _grown(stage: str, tree: RewardNode, known: Mapping[str, RewardNode], numbers: Instantiation) -> RewardNode:
    named = iter([name for name, _ in parts_of(stage, tree)])

    def grow(node: RewardNode) -> RewardNode:
        name = "" if node is tree and node.kind != "term" else next(named)
        plain = fitted(known, name, node) if name else node
        given = numbers.parts.get(name, Numbers())
        return replace(
            plain,
            weight=plain.weight if given.weight is None else given.weight,
            params={**plain.params, **given.parameters},
            children=tuple(grow(c) for c in node.children),
        )

    return grow(tree)


def _costs(template: Template, synthesis: Synthesis) -> tuple[RewardNode, ...]:
    order = [c.term for c in template.costs]
    terms = sorted(synthesis.selection.costs, key=lambda t: (order.index(t) if t in order else len(order), t))
    costs = []
    for term in terms:
        plain, given = plain_cost(template, term), synthesis.instantiation.costs.get(term, Numbers())
        weight = plain.weight if given.weight is None else given.weight
        costs.append(replace(plain, weight=weight, params={**plain.params, **given.parameters}))
    return tuple(costs)


def _nodes(tree: RewardNode) -> Iterator[RewardNode]:
    yield tree
    for child in tree.children:
        yield from _nodes(child)


def _called(node: RewardNode) -> str:
    """Returns a leaf as term(role), its own role or the term's; an inner node by its kind."""
    if node.kind != "term":
        return node.kind
    role = next((p.default for p in LIBRARY.term(node.term).parameters if p.name == "role"), None)
    return told(replace(node, params={"role": node.params.get("role", role)})) if role is not None else node.term
