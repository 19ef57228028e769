"""Reward mask, compiled reward specification, and what its lint found. Compiled in `residual`; carried everywhere."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args

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


Pay = Literal["progress", "rise", "level"]
"""What a stage pays for: "progress" the change of its potential, so that going to and fro is worth nothing; "rise" only
what the potential gains; "level" the potential itself, at every step. The lint finds out whether the last two can be
hacked."""


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
    pays: Pay = "progress"

    def __post_init__(self) -> None:
        if self.pays not in get_args(Pay):
            raise ContractError(f"stage {self.stage!r} pays for {self.pays!r}; allowed: {', '.join(get_args(Pay))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LintCheck:
    """One thing that was looked at before a reward may be trained on."""

    name: str
    value: float
    """What was found; more is better in every check."""
    needed: float
    """Least value that passes."""
    note: str = ""
    """Where the value was found, or what to change."""

    @property
    def ok(self) -> bool:
        """Whether it passed; NaN does not."""
        return self.value >= self.needed


@dataclass(frozen=True, slots=True, kw_only=True)
class LintReport:
    """What linting and probing a reward found."""

    checks: tuple[LintCheck, ...]
    successes: int
    """Scripted recoveries that succeeded and were compared with."""
    rollouts: int
    """Random-policy rollouts that did not succeed and were compared with."""

    @property
    def ok(self) -> bool:
        """Whether the reward may be trained on."""
        return bool(self.checks) and all(c.ok for c in self.checks)

    @property
    def failed(self) -> tuple[LintCheck, ...]:
        """The checks that did not pass."""
        return tuple(c for c in self.checks if not c.ok)


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
    """Where it came from (descriptor, prompt, model, frames); not part of the hash."""
    lint: LintReport | None = None
    """What its lint found, None before it was linted; not part of the hash."""

    def __post_init__(self) -> None:
        in_range("scale", self.scale, 0.0, 1e3)
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def canonical_json(self) -> str:
        """Returns the one text that stands for this reward: sorted keys, no spaces."""
        stages = [
            {
                "stage": s.stage,
                "pays": s.pays,
                "value": s.value.canonical(),
                "gate": s.gate.canonical(),
                "done": s.done.canonical(),
            }
            for s in self.stages
        ]
        data = {"library": self.library, "stages": stages, "costs": self.costs.canonical(), "scale": self.scale}
        return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def hash(self) -> str:
        """SHA-256 of `canonical_json`, hex."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()
