"""The reward compiler: a recovery descriptor becomes a grounded, stage-gated reward, or a clear refusal.

    R(s, a) = success + lambda * [phi(s') - phi(s)] + costs(a)
    phi(s)  = sum over stages z of  w_z * prod over y < z of done_y(s) * G_z(s) * V_z(s),   sum of w_z = 1

V_z is the template's tree without the leaves that the mask switches off, the remaining weights scaled back to 1. So
that phi never falls when a later stage is reached, V_z and G_z are joined by OR with done_z, and done_z by OR with the
exits of all later stages. The same mask, parameters and library give the same hash. Called by `train` and `compile`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from core.errors import ConfigError, unknown_name
from core.recovery import RecoveryDescriptor, RecoveryStage
from core.rewards import RewardNode, RewardSpec, StageReward
from core.subtasks import Manner
from residual.library import LIBRARY, Library
from residual.stages import Fit, StageTemplate, Template, both, leaves, numbered
from residual.templates import find_template

Parameters = Mapping[str, Mapping[str, float | str]]
"""Values by term and parameter name; what is not given keeps the template's or the library's default."""

Trees = Mapping[str, RewardNode]
"""Value trees by stage, a second stage of one name as NAME#2; parameters that a leaf does not give take the library's
defaults."""

SCALE = 10.0
"""lambda: the whole potential in reward units, twice the success bonus, so that no stage is lost in the costs."""

_SOUGHT = ("approach", "align", "near", "grasp_open", "grasp_close", "held", "lift")
_SHUNNED = ("avoid", "clearance", "intrusion", "disturbed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What a model was shown and asked when it made a descriptor; "" when no model was."""

    prompt_sha256: str = ""
    frames_sha256: str = ""
    """Of the images, one after another."""


def compile_reward(
    descriptor: RecoveryDescriptor,
    *,
    manner: Manner = Manner.PLACE,
    fit: Fit | None = None,
    parameters: Parameters = MappingProxyType({}),
    trees: Trees = MappingProxyType({}),
    costs: Sequence[RewardNode] | None = None,
    origin: Origin | None = None,
    library: Library = LIBRARY,
) -> RewardSpec:
    """Compiles a diagnoser's answer.

    Args:
        descriptor: Mode and stage choose the template, its mask the terms.
        manner: How the sub-task in which it failed is done.
        fit: Distances that fit its things, see `fitting.fit_of`; those of small things on a plate when None.
        parameters: Overrides by term; they hold wherever the term occurs, but in guards.
        trees: Trees of AND, IF and OR that take the place of a stage's own; weights are scaled to sum to 1.
        costs: Penalties with weights in reward units that take the place of the template's; its guards stay.
        origin: What the model that made the descriptor was asked, for the record.
        library: Terms to compile against.

    Raises:
        ConfigError: Unknown mode, stage, term, parameter or library; a parameter out of range; parameters that
            contradict each other; a stage that no active term drives; a tree with a term that the mask leaves out.
    """
    _check_names(descriptor, parameters, library)
    template = _from_stage(find_template(manner, descriptor.mode, fit), descriptor.stage)
    template = _with_trees(template, trees, descriptor.mask.active, library)
    template = template if costs is None else _with_costs(template, costs, descriptor.mask.active, library)
    active = descriptor.mask.active
    values = [_masked(_bound(s.value, parameters, library), active) for s in template.stages]
    charged = [c for c in (_masked(_bound(c, parameters, library), active) for c in template.costs) if c is not None]
    guards = [_bound(c, MappingProxyType({}), library) for c in template.guards]
    spec = RewardSpec(
        library=library.id,
        stages=_stages(template.stages, values, parameters, library),
        costs=both(*charged, *guards),
        scale=SCALE,
        provenance=_provenance(descriptor, manner, origin or Origin(), library),
    )
    check_consistency(spec)
    return spec


def written_out(spec: RewardSpec, library: Library = LIBRARY) -> RewardSpec:
    """Returns the same reward with every parameter of every leaf written out; one made by hand may leave them out.

    Args:
        spec: Made by hand or by the compiler, whose specs are written out already.
        library: Terms it is made of.

    Raises:
        ConfigError: An unknown term or parameter, or one out of range.
    """
    none: Parameters = {}
    stages = [
        replace(
            s,
            value=_bound(s.value, none, library),
            gate=_bound(s.gate, none, library),
            done=_bound(s.done, none, library),
        )
        for s in spec.stages
    ]
    return replace(spec, stages=tuple(stages), costs=_bound(spec.costs, none, library))


def _check_names(descriptor: RecoveryDescriptor, parameters: Parameters, library: Library) -> None:
    library.require(descriptor.mask.library)
    for name in sorted(descriptor.mask.active):
        library.term(name)
    for name, params in parameters.items():
        library.term(name).bind(params)
    if descriptor.target and descriptor.target in descriptor.obstacles:
        raise ConfigError(
            f"{descriptor.target!r} is both the target and an obstacle of the descriptor; take it out of one"
        )


def _from_stage(template: Template, stage: RecoveryStage) -> Template:
    names = [s.stage for s in template.stages]
    if stage not in names:
        raise unknown_name("recovery stage of this mode", str(stage), map(str, names))
    return replace(template, stages=template.stages[names.index(stage) :])


def _with_trees(template: Template, trees: Trees, active: frozenset[str], library: Library) -> Template:
    """Returns the template with the trees given for its stages, each weighing what the stage's own weighed."""
    names = numbered(s.stage for s in template.stages)
    for stage, tree in trees.items():
        if stage not in names:
            raise unknown_name("recovery stage of a reward tree", str(stage), names)
        for node in leaves(tree):
            if library.term(node.term).kind != "value":
                raise ConfigError(f"tree of stage {str(stage)!r}: term {node.term!r} is a penalty; use it as a cost")
            if node.term not in active:
                raise ConfigError(
                    f"tree of stage {str(stage)!r} uses term {node.term!r}, which the mask leaves out; activate it"
                )
    stages = [
        replace(s, value=replace(_summing(trees[name]), weight=s.value.weight)) if name in trees else s
        for name, s in zip(names, template.stages, strict=True)
    ]
    return replace(template, stages=tuple(stages))


def _with_costs(template: Template, costs: Sequence[RewardNode], active: frozenset[str], library: Library) -> Template:
    for cost in costs:
        if cost.kind != "term" or library.term(cost.term).kind != "penalty":
            raise ConfigError(f"{cost.term or cost.kind!r} is no cost: give penalties of the library alone")
        if cost.term not in active:
            raise ConfigError(f"cost {cost.term!r} is left out by the mask; activate it")
    return replace(template, costs=tuple(costs))


def _summing(node: RewardNode) -> RewardNode:
    """Returns the tree with the weights of each `and` scaled to sum to 1."""
    children = tuple(_summing(c) for c in node.children)
    total = sum(c.weight for c in children)
    if node.kind != "and":
        return replace(node, children=children)
    if total <= 0.0:
        raise ConfigError(f"the weights of {', '.join(n.term for n in leaves(node))} sum to 0; make one larger")
    return replace(node, children=tuple(replace(c, weight=c.weight / total) for c in children))


def _stages(
    templates: tuple[StageTemplate, ...],
    values: list[RewardNode | None],
    parameters: Parameters,
    library: Library,
) -> tuple[StageReward, ...]:
    exits = _exits([_bound(t.reached, parameters, library) for t in templates])
    total = sum(t.value.weight for t in templates)
    stages = []
    for template, value, done in zip(templates, values, exits, strict=True):
        if value is None:
            drivers = sorted({n.term for n in leaves(template.value)})
            raise ConfigError(
                f"stage {str(template.stage)!r} is unreachable: the mask has no term that drives it; "
                f"activate at least one of {', '.join(drivers)}"
            )
        stages.append(
            StageReward(
                stage=str(template.stage),
                value=_either(replace(value, weight=1.0), done, weight=template.value.weight / total),
                gate=_either(_bound(template.gate, parameters, library), done),
                done=done,
            )
        )
    return tuple(stages)


def _exits(reached: list[RewardNode]) -> list[RewardNode]:
    """Returns done_z of every stage: its own exit or that of any later stage."""
    exits = [reached[-1]]
    for own in reversed(reached[:-1]):
        exits.insert(0, _either(own, exits[0]))
    return exits


def _either(*children: RewardNode, weight: float = 1.0) -> RewardNode:
    return RewardNode(kind="or", weight=weight, children=children)


def _bound(node: RewardNode, parameters: Parameters, library: Library) -> RewardNode:
    """Returns the tree with every parameter of every leaf written out and checked."""
    if node.kind == "term":
        given = {**node.params, **parameters.get(node.term, {})}
        return replace(node, params=library.term(node.term).bind(given))
    return replace(node, children=tuple(_bound(c, parameters, library) for c in node.children))


def _masked(node: RewardNode, active: frozenset[str]) -> RewardNode | None:
    """Returns the tree without inactive leaves, the weights of each `and` scaled back to their former sum."""
    if node.kind == "term":
        return node if node.term in active else None
    kept = tuple(c for c in (_masked(c, active) for c in node.children) if c is not None)
    if not kept:
        return None
    if node.kind == "and":
        share = sum(c.weight for c in node.children) / sum(c.weight for c in kept)
        return replace(node, children=tuple(replace(c, weight=c.weight * share) for c in kept))
    return replace(node, children=kept) if len(kept) > 1 else replace(kept[0], weight=node.weight)


def _provenance(descriptor: RecoveryDescriptor, manner: Manner, origin: Origin, library: Library) -> dict[str, str]:
    return {
        "report_id": descriptor.report_id,
        "model_id": descriptor.model_id,
        "manner": str(manner),
        "mode": str(descriptor.mode),
        "stage": str(descriptor.stage),
        "target": descriptor.target,
        "library": library.id,
        "prompt_sha256": origin.prompt_sha256,
        "frames_sha256": origin.frames_sha256,
    }


def check_consistency(spec: RewardSpec) -> None:
    """Raises `ConfigError` where parameters of different leaves of a spec contradict each other."""
    nodes = [n for s in spec.stages for tree in (s.value, s.gate, s.done) for n in leaves(tree)]
    nodes += leaves(spec.costs)
    sought = {str(n.params["role"]) for n in nodes if n.term in _SOUGHT}
    shunned = {str(n.params["role"]) for n in nodes if n.term in _SHUNNED}
    if sought & shunned:
        raise ConfigError(f"role {sorted(sought & shunned)} is both sought and to be kept clear of; choose one")
    for node in nodes:
        if "goal" in node.params and node.params["goal"] == node.params["role"]:
            raise ConfigError(f"reward term {node.term!r} has role and goal both {node.params['goal']!r}; they differ")
    _check_distances(nodes)


def _check_distances(nodes: list[RewardNode]) -> None:
    away = min((float(n.params["distance_m"]) for n in nodes if n.term == "retreat"), default=1.0)
    there = max((float(n.params["near_m"]) for n in nodes if "near_m" in n.params), default=0.0)
    if away <= there:
        raise ConfigError(
            f"retreat distance_m {away:g} lies inside near_m {there:g}: the tool would be there and away at once; "
            f"make distance_m larger"
        )
    lowered = min((float(n.params["height_m"]) for n in nodes if n.term == "lower"), default=1.0)
    placed = max((float(n.params["height_m"]) for n in nodes if n.term == "on_goal"), default=0.0)
    if lowered <= placed:
        raise ConfigError(
            f"lower height_m {lowered:g} does not exceed on_goal height_m {placed:g}: the object would be placed "
            f"before it is lowered; make lower height_m larger"
        )
