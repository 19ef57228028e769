"""JSON schemas of what is recorded, made from the values' own types. Called by the writer."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from runtime.record.codec import recorded_fields, required

Schema = dict[str, Any]


def schema_of(kind: Any) -> Schema:
    """Returns the JSON schema of what `codec.encode` makes of a value of type `kind`."""
    origin = get_origin(kind)
    if origin is not None:
        return _MAKERS[origin](get_args(kind))
    if is_dataclass(kind):
        return _object(kind)
    if issubclass(kind, Enum):
        return {"type": "string", "enum": [m.value for m in kind]}
    return dict(_PLAIN[kind])


def _object(kind: Any) -> Schema:
    layout = recorded_fields(kind)
    return {
        "type": "object",
        "title": kind.__name__,
        "properties": {name: schema_of(hint) for name, (_, hint) in layout.items()},
        "required": [name for name, (field, _) in layout.items() if required(field)],
    }


def _union(kinds: tuple[Any, ...]) -> Schema:
    return {"anyOf": [{"type": "null"} if k is NoneType else schema_of(k) for k in kinds]}


def _array(kinds: tuple[Any, ...]) -> Schema:
    (dtype,) = get_args(kinds[1])
    return {"type": ["array", "object"], "description": f"{dtype.__name__}, row by row; {{shape}} when empty"}


_PLAIN: Mapping[type, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": ["number", "string"], "description": "a number, or nan, inf, -inf"},
}
_MAKERS: Mapping[Any, Callable[[tuple[Any, ...]], Schema]] = {
    Union: _union,
    UnionType: _union,
    np.ndarray: _array,
    Mapping: lambda kinds: {"type": "object", "additionalProperties": schema_of(kinds[1])},
    frozenset: lambda kinds: {"type": "array", "items": schema_of(kinds[0])},
    tuple: lambda kinds: {"type": "array", "items": schema_of(kinds[0])},
    Literal: lambda kinds: {"enum": list(kinds)},
}
"""How to describe a generic type, by its origin."""
