"""What one entry of the reward library is: a function, its parameters with ranges, and what is known of its shape.

Called by `residual.library`, which lists all entries; `compile` checks parameters through `Term.bind`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Literal

from core.arrays import Floats
from core.errors import ConfigError, unknown_name
from core.scene import ROLES

Category = Literal["positional", "orientational", "kinematic", "state", "contact"]
"""What a term looks at: places, turns, motion, conditions of things and hand, or forces."""


UNITS: Mapping[str, str] = MappingProxyType(
    {"_m": "m", "_rad": "rad", "_n": "N", "_m_s": "m/s", "_rad_s": "rad/s", "_rad_s2": "rad/s^2", "_share": "1",
     "_count": "1"}
)  # fmt: skip
"""What the ending of a parameter's name says of its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A numeric parameter; its name ends in its unit."""

    name: str
    default: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not any(self.name.endswith(ending) for ending in UNITS):
            raise ConfigError(f"parameter {self.name!r} has no unit; end its name in one of {', '.join(UNITS)}")
        if not self.low <= self.default <= self.high:
            raise ConfigError(f"default {self.default:g} of {self.name!r} is outside [{self.low:g}, {self.high:g}]")

    @property
    def unit(self) -> str:
        """Unit of the value, "1" when it has none."""
        return UNITS[max((e for e in UNITS if self.name.endswith(e)), key=len)]

    def check(self, term: str, value: float | str) -> float:
        """Returns `value` as a float inside the range, or raises `ConfigError`."""
        if isinstance(value, str | bool) or not isfinite(value) or not self.low <= value <= self.high:
            raise ConfigError(
                f"parameter {self.name} of reward term {term!r} is {value!r}; "
                f"give a finite number in [{self.low:g}, {self.high:g}], for example {self.default:g}"
            )
        return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A parameter that names a role of the scene."""

    name: str
    default: str

    def check(self, term: str, value: float | str) -> str:
        """Returns `value` as a role, or raises `ConfigError` naming the nearest role."""
        if not isinstance(value, str):
            raise ConfigError(f"parameter {self.name} of reward term {term!r} is {value!r}; give one of {ROLES}")
        if value not in ROLES:
            raise unknown_name(f"role for {self.name} of reward term {term!r}", value, ROLES)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One entry of the library."""

    function: Callable[..., Floats]
    """value: (state: WorldState, **parameters); penalty: (step: Transition, **parameters); both give (N,)."""
    kind: Literal["value", "penalty"]
    """A value lies in [0, 1] and depends on the state alone; a penalty lies in [-1, 0]."""
    category: Category
    variable: str
    """What it mainly depends on, in words; "" when on nothing."""
    unit: str
    """Unit of that variable; "1" when it has none."""
    scale: float
    """Typical magnitude of that variable, in its unit: the term changes markedly over so much."""
    monotone: str
    """How it changes with that variable: "rises with ...", "falls with ...", "peaks at ..." or "is constant"."""
    parameters: tuple[Number | Role, ...] = ()
    ordered: tuple[tuple[str, str], ...] = ()
    """Pairs of parameters of which the first must be smaller."""

    @property
    def name(self) -> str:
        """Name in masks, descriptors and specs."""
        return self.function.__name__

    def bind(self, params: Mapping[str, float | str]) -> dict[str, float | str]:
        """Returns every parameter, checked, defaults filled in.

        Args:
            params: By name; a missing one takes its default.

        Raises:
            ConfigError: Unknown parameter, one outside its range, or two that contradict each other.
        """
        names = [p.name for p in self.parameters]
        for name in params:
            if name not in names:
                raise unknown_name(f"parameter of reward term {self.name!r}", name, names)
        bound = {p.name: p.check(self.name, params.get(p.name, p.default)) for p in self.parameters}
        for small, large in self.ordered:
            if float(bound[small]) >= float(bound[large]):
                raise ConfigError(
                    f"parameters of reward term {self.name!r} contradict each other: {small} is {bound[small]} and "
                    f"{large} is {bound[large]}; make {small} smaller than {large}"
                )
        return bound


def number(name: str, default: float, low: float, high: float) -> Number:
    """Returns a numeric parameter; the tables of the library stay tables this way."""
    return Number(name=name, default=default, low=low, high=high)


TARGET = Role(name="role", default="target")
"""Whom most terms are about."""
NEAR = number("near_m", 0.03, 0.005, 0.1)
"""How near the tool is to what it can grasp."""
