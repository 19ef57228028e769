"""Reads JSON that a person, a model or another version wrote: every defect is named with its place and what is allowed.

Called by `spec_io`, and by whoever reads a model's answer that holds a reward tree.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from core.errors import ConfigError, unknown_name


@dataclass(frozen=True, slots=True)
class Spot:
    """A value of a JSON text and where it is."""

    path: str
    """E.g. "spec.stages[2].value.weight"."""
    value: object

    def wrong(self, allowed: str) -> ConfigError:
        """Returns the error for this value; `allowed` says what may stand here."""
        told = json.dumps(self.value)
        return ConfigError(f"{self.path}: {told if len(told) < 60 else told[:56] + ' ...'} stands here; give {allowed}")

    def keys(self, needed: Iterable[str], optional: Iterable[str] = ()) -> dict[str, "Spot"]:
        """Returns the values of an object by key.

        Args:
            needed: Keys that must be there.
            optional: Keys that may be.

        Raises:
            ConfigError: Not an object, a key that is missing, or one that is neither, with the nearest that is.
        """
        needed, known = list(needed), [*needed, *optional]
        if not isinstance(self.value, dict):
            raise self.wrong(f"an object with {', '.join(known)}")
        for key in self.value:
            if key not in known:
                raise unknown_name(f"key of {self.path}", str(key), known)
        for key in needed:
            if key not in self.value:
                raise ConfigError(f"{self.path}: key {key!r} is missing; give {', '.join(needed)}")
        return {key: Spot(f"{self.path}.{key}", value) for key, value in self.value.items()}

    def named(self) -> dict[str, "Spot"]:
        """Returns the values of an object whose keys are free, or raises `ConfigError`."""
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return {str(key): Spot(f"{self.path}.{key}", value) for key, value in self.value.items()}

    def items(self) -> list["Spot"]:
        """Returns the values of a list, or raises `ConfigError`."""
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return [Spot(f"{self.path}[{i}]", value) for i, value in enumerate(self.value)]

    def text(self) -> str:
        """Returns a text, or raises `ConfigError`."""
        if not isinstance(self.value, str):
            raise self.wrong("a text")
        return self.value

    def one_of(self, allowed: Iterable[str]) -> str:
        """Returns a text that is one of `allowed`, or raises `ConfigError` with the nearest of them."""
        text, names = self.text(), list(allowed)
        if text not in names:
            raise unknown_name(self.path, text, names)
        return text

    def number(self, low: float, high: float) -> float:
        """Returns a number in [low, high], or raises `ConfigError`."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self.wrong(f"a finite number in [{low:g}, {high:g}]")
        if not low <= value <= high:
            raise self.wrong(f"a number in [{low:g}, {high:g}]")
        return float(value)

    def count(self) -> int:
        """Returns a whole number that is not negative, or raises `ConfigError`."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self.wrong("a whole number, 0 or more")
        return self.value


def read_json(what: str, text: str) -> Spot:
    """Returns the value of a JSON text, or raises `ConfigError`.

    Args:
        what: What it holds; every path begins with it.
        text: JSON.
    """
    try:
        return Spot(what, json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{what} is not JSON ({error}); write one JSON object") from error
