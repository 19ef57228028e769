"""Where things are, as the loop believes: tracked at run time, ground truth only in training and ablation."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from core.arrays import Floats, floats, in_range
from core.errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedObject:
    """One object as last seen."""

    pos_in_base: Floats
    """Centre, shape (3,) [m]."""
    t_ns: int
    """Capture time of the image it was last seen in [ns]; age is now minus this."""
    confidence: float
    """[0, 1]; falls with age and with occlusion."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "pos_in_base", floats("pos_in_base [m]", self.pos_in_base, (3,)))
        in_range("confidence", self.confidence, 0.0, 1.0)


ROLES = ("target", "distractor", "goal", "obstacle")
"""What an object can be to a task; the order of every role axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRoles:
    """Which named object plays which role in this episode; "" when none does."""

    target: str
    """What the instruction names."""
    distractor: str = ""
    """What must not be mistaken for the target."""
    goal: str = ""
    """Where the target belongs."""
    obstacle: str = ""
    """What is in the way, when something is."""

    def of(self, role: str) -> str:
        """Returns the object's name in `role`, "" when none."""
        if role not in ROLES:
            raise ContractError(f"role {role!r} is unknown; allowed {ROLES}")
        return str(getattr(self, role))


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneState:
    """Every tracked object at one instant."""

    t_ns: int
    """When this estimate was made [ns]."""
    objects: Mapping[str, TrackedObject]
    """By name; an object never seen is absent."""
    source: str
    """"image" or "truth"."""

    def __post_init__(self) -> None:
        if self.source not in ("image", "truth"):
            raise ContractError(f"scene source {self.source!r}; allowed 'image' or 'truth'")
        object.__setattr__(self, "objects", MappingProxyType(dict(self.objects)))

    def position(self, name: str) -> Floats | None:
        """Returns the position (3,) [m] of `name` in base, None when it was never seen."""
        found = self.objects.get(name)
        return None if found is None else found.pos_in_base

    def age_s(self, name: str) -> float:
        """Returns how old the estimate of `name` is [s]; infinity when never seen."""
        found = self.objects.get(name)
        return float(np.inf) if found is None else (self.t_ns - found.t_ns) * 1e-9
