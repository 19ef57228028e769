"""The reward library "regrasp@1": names, versions and parameter schemas of all terms.

`compile` validates masks and parameters against it, `reward` calls its functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Literal

from core.arrays import Floats
from core.errors import ConfigError, unknown_name
from core.scene import ROLES
from residual import penalties, terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A numeric parameter; its name ends in its unit."""

    name: str
    default: float
    low: float
    high: float

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

    name: str
    function: Callable[..., Floats]
    """value: (state: WorldState, **parameters); penalty: (step: Transition, **parameters); both give (N,)."""
    kind: Literal["value", "penalty"]
    """A value lies in [0, 1] and depends on the state alone; a penalty lies in [-1, 0]."""
    parameters: tuple[Number | Role, ...] = ()

    def bind(self, params: Mapping[str, float | str]) -> dict[str, float | str]:
        """Returns every parameter, checked, defaults filled in.

        Args:
            params: By name; a missing one takes its default.

        Raises:
            ConfigError: Unknown parameter, or one outside its range.
        """
        names = [p.name for p in self.parameters]
        for name in params:
            if name not in names:
                raise unknown_name(f"parameter of reward term {self.name!r}", name, names)
        return {p.name: p.check(self.name, params.get(p.name, p.default)) for p in self.parameters}


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A fixed set of terms under one name and version; a change of any function needs a new version."""

    name: str
    version: int
    terms: Mapping[str, Term]

    @property
    def id(self) -> str:
        """name@version, as in a mask."""
        return f"{self.name}@{self.version}"

    def term(self, name: str) -> Term:
        """Returns the term called `name`, or raises `ConfigError` naming the nearest."""
        if name not in self.terms:
            raise unknown_name("reward term", name, self.terms)
        return self.terms[name]

    def require(self, library: str) -> None:
        """Raises `ConfigError` unless `library` is this library's id."""
        if library != self.id:
            raise ConfigError(f"reward library {library!r} is not known here; this version has {self.id!r}: recompile")


def _value(function: Callable[..., Floats], *parameters: Number | Role) -> Term:
    return Term(name=function.__name__, function=function, kind="value", parameters=parameters)


def _penalty(function: Callable[..., Floats], *parameters: Number | Role) -> Term:
    return Term(name=function.__name__, function=function, kind="penalty", parameters=parameters)


def _number(name: str, default: float, low: float, high: float) -> Number:
    return Number(name=name, default=default, low=low, high=high)


_TARGET = Role(name="role", default="target")
_GOAL = Role(name="goal", default="goal")
_DISTRACTOR = Role(name="role", default="distractor")
_OBSTACLE = Role(name="role", default="obstacle")
_NEAR = _number("near_m", 0.03, 0.005, 0.1)

_TERMS = (
    _value(terms.always),
    _value(terms.approach, _TARGET, _number("height_m", 0.0, 0.0, 0.3), _number("scale_m", 0.12, 0.01, 1.0)),
    _value(terms.align, _TARGET, _number("scale_m", 0.03, 0.005, 0.5)),
    _value(terms.near, _TARGET, _number("radius_m", 0.02, 0.005, 0.2)),
    _value(terms.grasp_open, _TARGET, _NEAR),
    _value(terms.grasp_close, _TARGET, _NEAR),
    _value(terms.held, _TARGET, _NEAR),
    _value(terms.lift, _TARGET, _number("rest_m", 0.03, 0.0, 0.2), _number("height_m", 0.08, 0.01, 0.4)),
    _value(terms.transport, _TARGET, _GOAL, _number("scale_m", 0.12, 0.01, 1.0)),
    _value(terms.over_goal, _TARGET, _GOAL, _number("radius_m", 0.045, 0.005, 0.2)),
    _value(terms.lower, _TARGET, _GOAL, _number("height_m", 0.15, 0.02, 0.5)),
    _value(terms.on_goal, _TARGET, _GOAL, _number("radius_m", 0.066, 0.01, 0.3), _number("height_m", 0.05, 0.005, 0.3)),
    _value(terms.released, _TARGET, _NEAR),
    _value(terms.retreat, _TARGET, _number("distance_m", 0.08, 0.03, 0.4)),
    _value(terms.avoid, _OBSTACLE, _number("margin_m", 0.1, 0.02, 0.4)),
    _value(terms.clearance, _OBSTACLE, _number("radius_m", 0.1, 0.02, 0.4), _number("height_m", 0.12, 0.02, 0.4)),
    _value(terms.upright, _number("limit_rad", 1.0, 0.1, 3.14)),
    _value(terms.still, _number("speed_rad_s", 2.0, 0.1, 6.3)),
    _penalty(penalties.elapsed),
    _penalty(penalties.effort),
    _penalty(penalties.jerkiness),
    _penalty(penalties.speeding, _number("limit_m_s", 0.5, 0.05, 1.0)),
    _penalty(penalties.collision_force, _number("limit_n", 30.0, 1.0, 500.0)),
    _penalty(penalties.off_table, _TARGET),
    _penalty(penalties.disturbed, _DISTRACTOR, _number("scale_m", 0.01, 0.001, 0.1)),
    _penalty(penalties.intrusion, _OBSTACLE, _number("margin_m", 0.08, 0.02, 0.4)),
    _penalty(penalties.tilted, _number("limit_rad", 0.6, 0.1, 3.14)),
)

LIBRARY = Library(name="regrasp", version=1, terms=MappingProxyType({t.name: t for t in _TERMS}))
"""The library every mask of this release names."""
