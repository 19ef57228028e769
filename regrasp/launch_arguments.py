"""The fields of a dataclass of settings as arguments of a ROS launch file, and back. Called by launch/*.launch.py."""

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from core.errors import ConfigError, unknown_name

T = TypeVar("T")
_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a launch file."""

    name: str
    default: str
    """"" where there is none."""
    description: str
    choices: tuple[str, ...]
    """Allowed texts; any when empty."""


def arguments(config: type) -> tuple[Argument, ...]:
    """Returns an argument for every field of a dataclass whose fields have defaults and docstrings."""
    says = descriptions(config)
    return tuple(
        Argument(name=one.name, default=_word(one.default), description=says[one.name], choices=_choices(one.type))
        for one in fields(config)
    )


def parsed(config: type[T], words: Mapping[str, str]) -> T:
    """Returns the dataclass that launch arguments describe; "" stands for no value where that is allowed.

    Raises:
        ConfigError: A name or value is not allowed.
    """
    known = {one.name: one.type for one in fields(config)}  # type: ignore[arg-type]
    for name in words:
        if name not in known:
            raise unknown_name("launch argument", name, known)
    return config(**{name: _value(name, known[name], word) for name, word in words.items()})


def descriptions(config: type) -> dict[str, str]:
    """Returns the docstring under each field of a dataclass, by the field's name."""
    (body,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(config))).body
    assert isinstance(body, ast.ClassDef)
    said = {}
    for field, text in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            said[ast.unparse(field.target)] = str(ast.literal_eval(text.value))
    return said


def _word(default: object) -> str:
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def _choices(kind: Any) -> tuple[str, ...]:
    return get_args(kind) if get_origin(kind) is Literal else tuple(_BOOLS) if kind is bool else ()


def _value(name: str, kind: Any, word: str) -> object:
    allowed = _choices(kind)
    if allowed and word not in allowed:
        raise ConfigError(f"launch argument {name} is {word!r}; allowed: {', '.join(allowed)}")
    if kind is bool:
        return _BOOLS[word]
    if kind is int:
        return _whole(name, word)
    if Path in (kind, *get_args(kind)):
        return Path(word) if word else None
    return word


def _whole(name: str, word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ConfigError(f"launch argument {name} is {word!r}; allowed: a whole number") from None
