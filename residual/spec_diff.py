"""What differs between two compiled rewards: stages, terms, weights, parameters, gates, exits, costs.

Called by the command that compares two files, and by reports of a mask that changed during training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from core.rewards import RewardNode, RewardSpec
from residual.outline import outlines, told

_Facts = dict[str, dict[str, float | str]]
"""What there is, by place: its figures by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference."""

    kind: Literal["added", "removed", "changed"]
    where: str
    """E.g. "stage lift, value: lift(target)"."""
    what: str
    """The figures that were added or removed, or each with its former and its new value."""

    def __str__(self) -> str:
        """Returns the difference in one line."""
        return f"{self.kind:<7} {self.where}{': ' if self.what else ''}{self.what}"


def spec_diff(before: RewardSpec, after: RewardSpec) -> tuple[Change, ...]:
    """Returns how a reward differs from another, () when they have the same hash.

    Args:
        before: One.
        after: The other.
    """
    if before.hash == after.hash:
        return ()
    old, new = _facts(before), _facts(after)
    gone = [Change(kind="removed", where=k, what=_figures(v)) for k, v in old.items() if k not in new]
    come = [Change(kind="added", where=k, what=_figures(v)) for k, v in new.items() if k not in old]
    kept = [
        Change(kind="changed", where=k, what=_changes(v, new[k])) for k, v in old.items() if k in new and v != new[k]
    ]
    return (*gone, *come, *kept)


def _facts(spec: RewardSpec) -> _Facts:
    facts: _Facts = {"reward": {"library": spec.library, "scale": spec.scale}}
    order = [part.stage for part in outlines(spec)]
    for z, part in enumerate(outlines(spec)):
        place = _numbered(f"stage {part.stage}", facts)
        facts[place] = {"weight": part.weight, "pays": part.pays, "after": order[z - 1] if z else "nothing"}
        for name, tree in (("value", part.value), ("gate", part.gate), ("exit", part.exit)):
            for where, node in _nodes(tree, f"{place}, {name}"):
                facts[_numbered(where, facts)] = _figures_of(node)
    for where, node in _nodes(spec.costs, "costs"):
        facts[_numbered(where, facts)] = _figures_of(node)
    return facts


def _nodes(node: RewardNode, place: str) -> Iterator[tuple[str, RewardNode]]:
    """Yields every leaf with its place: what it is a part of, and its name and role."""
    if node.kind == "term":
        yield f"{place}: {told(node)}", node
    for child in node.children:
        inner = place if node.kind == "and" else f"{place} {node.kind}"
        yield from _nodes(child, inner)


def _figures_of(node: RewardNode) -> dict[str, float | str]:
    return {"weight": node.weight, **node.params}


def _numbered(where: str, facts: _Facts) -> str:
    """Returns a place that is not taken: the second of its kind is numbered 2."""
    number = 1
    while (where if number == 1 else f"{where} {number}") in facts:
        number += 1
    return where if number == 1 else f"{where} {number}"


def _told(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _figures(figures: dict[str, float | str]) -> str:
    return ", ".join(f"{k} {_told(v)}" for k, v in figures.items())


def _changes(old: dict[str, float | str], new: dict[str, float | str]) -> str:
    keys = [k for k in {**old, **new} if old.get(k) != new.get(k)]
    return ", ".join(f"{k} {_told(old.get(k, 'none'))} -> {_told(new.get(k, 'none'))}" for k in keys)
