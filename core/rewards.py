"""Reward mask and compiled reward specification. Compiled and evaluated in `residual`; carried everywhere."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from core.arrays import in_range
from core.errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardMask:
    """Which terms of which library version are active: m in {0, 1}^K."""

    library: str
    """name@version, e.g. "regrasp@1"."""
    active: frozenset[str]
    """Names of the active terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardNode:
    """A node of a stage's reward tree.

    `term` is a leaf. `and` is the weighted sum of its children, `if` is body times gate (two children: body,
    condition), `or` is the largest child.
    """

    kind: Literal["term", "and", "if", "or"]
    term: str = ""
    """Name in the library, for a leaf."""
    weight: float = 1.0
    """Weight inside the parent `and`, >= 0, dimensionless."""
    params: Mapping[str, float | str] = field(default_factory=dict)
    """Parameters of the term; every numeric key ends in its unit, strings are roles."""
    children: tuple["RewardNode", ...] = ()

    def __post_init__(self) -> None:
        in_range("weight", self.weight, 0.0, 1e3)
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))
        arity = {"term": (0, 0), "if": (2, 2), "and": (1, 64), "or": (2, 64)}
        if self.kind not in arity or not arity[self.kind][0] <= len(self.children) <= arity[self.kind][1]:
            raise ContractError(f"reward node {self.kind!r} with {len(self.children)} children; allowed {arity}")
        if (self.kind == "term") != bool(self.term):
            raise ContractError(f"reward node {self.kind!r} with term {self.term!r}: exactly the leaves name a term")

    def canonical(self) -> dict[str, Any]:
        """Returns this node as plain JSON data with a fixed layout."""
        return {
            "kind": self.kind, "term": self.term, "weight": self.weight,
            "params": dict(sorted(self.params.items())), "children": [c.canonical() for c in self.children],
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReward:
    """One stage: its gate, its value tree, and when it is done."""

    stage: str
    """A `RecoveryStage` value."""
    value: RewardNode
    """V_z(s), in [0, 1]."""
    gate: RewardNode
    """G_z(s), smooth in [0, 1]."""
    done: RewardNode
    """done_z(s), in [0, 1]; 1 when the stage is reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSpec:
    """The compiled reward: stages in order, costs, scale. Never edited by hand."""

    library: str
    stages: tuple[StageReward, ...]
    costs: RewardNode
    """Penalties in [-1, 0], an `and` node."""
    scale: float
    """lambda, the weight of the shaped part against the sparse task reward."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Where it came from (descriptor id, model); not part of the hash."""

    def __post_init__(self) -> None:
        in_range("scale", self.scale, 0.0, 1e3)
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def canonical_json(self) -> str:
        """Returns the one text that stands for this reward: sorted keys, no spaces."""
        stages = [
            {"stage": s.stage, "value": s.value.canonical(), "gate": s.gate.canonical(), "done": s.done.canonical()}
            for s in self.stages
        ]
        data = {"library": self.library, "stages": stages, "costs": self.costs.canonical(), "scale": self.scale}
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def hash(self) -> str:
        """SHA-256 of `canonical_json`, hex."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()
