"""A compiled reward as a person reads it: each stage's own trees, without what the compiler joined to them.

The compiler joins every value and gate by OR with the stage's exit, and every exit with those of later stages. Called
by the lint, by `spec_diff` and by the command that prints a spec.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from core.rewards import Pay, RewardNode, RewardSpec, StageReward


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """One stage's own parts."""

    stage: str
    weight: float
    """Its share of the potential."""
    pays: Pay
    value: RewardNode
    gate: RewardNode
    exit: RewardNode


def outlines(spec: RewardSpec) -> tuple[Outline, ...]:
    """Returns the own parts of every stage, in order."""
    later = [s.done for s in spec.stages[1:]]
    return tuple(
        Outline(
            stage=stage.stage,
            weight=stage.value.weight,
            pays=stage.pays,
            value=own_value(stage),
            gate=_without(stage.gate, stage.done),
            exit=_without(stage.done, later[z]) if z < len(later) else stage.done,
        )
        for z, stage in enumerate(spec.stages)
    )


def own_value(stage: StageReward) -> RewardNode:
    """Returns the tree that drives a stage, without the exit that the compiler joined to it."""
    return _without(stage.value, stage.done)


def told(node: RewardNode) -> str:
    """Returns a tree in one line: approach(target), or(held(target), gone(goal))."""
    if node.kind != "term":
        return f"{node.kind}({', '.join(told(c) for c in node.children)})"
    role = node.params.get("role")
    return f"{node.term}({role})" if role else node.term


def tell_spec(spec: RewardSpec) -> str:
    """Returns a compiled reward as an indented tree, with weights, parameters, hash, provenance and lint."""
    lines = [f"reward {spec.hash}", f"library {spec.library}, potential worth {spec.scale:g}"]
    given = {k: v for k, v in spec.provenance.items() if v}
    lines += ["from " + ", ".join(f"{k} {v}" for k, v in sorted(given.items()))] if given else []
    for part in outlines(spec):
        lines += ["", f"{part.stage}: {part.weight:.3f} of the potential, pays for {part.pays}"]
        for name, tree in (("value", part.value), ("gate", part.gate), ("exit", part.exit)):
            lines += [f"  {name}", *_tree(tree, 2, weighted=False)]
    lines += ["", "costs a step", *(line for c in spec.costs.children for line in _tree(c, 1, weighted=True))]
    return "\n".join([*lines, "", *_lint(spec)])


def _without(node: RewardNode, joined: RewardNode) -> RewardNode:
    if node.kind == "or" and len(node.children) == 2 and node.children[1] == joined:
        return node.children[0]
    return node


def _tree(node: RewardNode, depth: int, *, weighted: bool) -> Iterator[str]:
    share = f"{node.weight:.3f} " if weighted else ""
    params = ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in sorted(node.params.items()))
    yield f"{'  ' * depth}{share}{node.term or node.kind.upper()}{f' [{params}]' if params else ''}"
    for child in node.children:
        yield from _tree(child, depth + 1, weighted=node.kind == "and")


def _lint(spec: RewardSpec) -> list[str]:
    if spec.lint is None:
        return ["lint: not probed yet; training probes it"]
    failed = [f"  {c.name}: {c.value:.4g}, at least {c.needed:.4g} needed {c.note}".rstrip() for c in spec.lint.failed]
    count = len(spec.lint.checks)
    word = f"lint: {count - len(failed)} of {count} checks passed, against {spec.lint.successes} successes"
    return [word, *failed]
