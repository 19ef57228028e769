"""Values of `core` and of this room to JSON text and back, exactly. Called by writer, reader and replay.

Floats are written so that they come back bit for bit; what is not finite is written as a word. Images are left out:
they are recorded beside the steps. A field that a newer version added with a default may be missing; an unknown one may
not be there.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import numpy as np

from core.arrays import Image
from core.errors import ArtifactError, RegraspError

T = TypeVar("T")
Decoder = Callable[[Any, str], Any]
"""From plain JSON data, and the name to use in errors, to the value."""

_WORDS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def dumps(value: object) -> str:
    """Returns the JSON text of a value; equal text means equal bits."""
    return json.dumps(encode(value), separators=(",", ":"), allow_nan=False)


def loads(kind: type[T], text: str | bytes) -> T:
    """Returns the value of type `kind` in a JSON text.

    Raises:
        ArtifactError: Not JSON, or not such a value; names the field.
    """
    wanted: Any = kind
    try:
        return cast(T, _decoder(wanted)(json.loads(text), kind.__name__))
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{kind.__name__}: {error}") from error


def encode(value: Any) -> Any:
    """Returns plain JSON data for a value; `TypeError` for a type that cannot be recorded."""
    kind: Any = type(value)
    return _encoder(kind)(value)


@lru_cache(maxsize=256)
def _encoder(kind: Any) -> Callable[[Any], Any]:
    if is_dataclass(kind):
        return _fields_encoder(kind)
    for base, how in _ENCODERS:
        if issubclass(kind, base):
            return how
    raise TypeError(f"{kind.__name__} cannot be recorded; record plain values, arrays and dataclasses")


def _fields_encoder(kind: Any) -> Callable[[Any], Any]:
    names = tuple(recorded_fields(kind))
    return lambda value: {name: encode(getattr(value, name)) for name in names}


def _encode_float(value: float) -> Any:
    return value if value - value == 0.0 else repr(value)


def _encode_array(array: Any) -> Any:
    if not array.size:
        return {"shape": list(array.shape)}
    rows = array.tolist()
    return rows if array.dtype.kind != "f" or np.isfinite(array).all() else encode(rows)


_ENCODERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (np.ndarray, _encode_array),
    (np.generic, lambda v: encode(v.item())),
    (Enum, lambda v: v.value),
    (float, _encode_float),
    ((str, int, NoneType), lambda v: v),
    (Mapping, lambda m: {str(k): encode(v) for k, v in m.items()}),
    (frozenset, lambda s: sorted(encode(v) for v in s)),
    ((tuple, list), lambda many: [encode(v) for v in many]),
)
"""The first that fits is used; bool is an int, a StrEnum is an Enum first."""


@lru_cache(maxsize=256)
def recorded_fields(kind: Any) -> Mapping[str, tuple["Field[Any]", Any]]:
    """Returns the recorded fields of a dataclass with their types, by name; all but images."""
    hints = get_type_hints(kind)
    return {f.name: (f, hints[f.name]) for f in fields(kind) if hints[f.name] != Mapping[str, Image]}


def required(field: "Field[Any]") -> bool:
    """Whether a recorded field has no default."""
    return field.default is MISSING and field.default_factory is MISSING


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> Decoder:
    origin = get_origin(kind)
    if origin is not None:
        return _MAKERS[origin](kind)
    if is_dataclass(kind):
        return _dataclass_decoder(kind)
    if issubclass(kind, Enum):
        return lambda data, _: kind(data)
    return _decode_float if kind is float else _plain_decoder(kind)


def _optional_decoder(kind: Any) -> Decoder:
    (inner,) = (k for k in get_args(kind) if k is not NoneType)
    return lambda data, where: None if data is None else _decoder(inner)(data, where)


def _array_decoder(kind: Any) -> Decoder:
    (dtype,) = get_args(get_args(kind)[1])

    def decode(data: Any, where: str) -> Any:
        if isinstance(data, dict):
            return np.zeros(data["shape"], dtype=dtype)
        return np.array(_with_words(_expected(data, isinstance(data, list), where, "an array")), dtype=dtype)

    return decode


def _with_words(data: Any) -> Any:
    if isinstance(data, list):
        return [_with_words(v) for v in data]
    return _WORDS[data] if isinstance(data, str) else data


def _mapping_decoder(kind: Any) -> Decoder:
    key, item = get_args(kind)

    def decode(data: Any, where: str) -> Any:
        pairs = _expected(data, isinstance(data, dict), where, "an object").items()
        return {_decoder(key)(k, where): _decoder(item)(v, f"{where}.{k}") for k, v in pairs}

    return decode


def _frozenset_decoder(kind: Any) -> Decoder:
    (item,) = get_args(kind)
    return lambda data, where: frozenset(_decoder(item)(v, where) for v in _listed(data, where))


def _tuple_decoder(kind: Any) -> Decoder:
    kinds = get_args(kind)

    def decode(data: Any, where: str) -> Any:
        rows = _listed(data, where)
        each = kinds[:1] * len(rows) if kinds[-1] is Ellipsis else kinds
        pairs = enumerate(zip(each, rows, strict=True))
        return tuple(_decoder(k)(v, f"{where}[{i}]") for i, (k, v) in pairs)

    return decode


def _literal_decoder(kind: Any) -> Decoder:
    allowed = get_args(kind)
    return lambda data, where: _expected(data, data in allowed, where, f"one of {allowed}")


def _dataclass_decoder(kind: Any) -> Decoder:
    layout = recorded_fields(kind)
    needed = {name for name, (field, _) in layout.items() if required(field)}

    def decode(data: Any, where: str) -> Any:
        given = _expected(data, isinstance(data, dict), where, "an object")
        unknown, missing = sorted(set(given) - set(layout)), sorted(needed - set(given))
        if unknown or missing:
            raise ArtifactError(f"{where}: unknown fields {unknown}, missing fields {missing}")
        values = {name: _decoder(layout[name][1])(v, f"{where}.{name}") for name, v in given.items()}
        try:
            return kind(**values)
        except RegraspError as error:
            raise ArtifactError(f"{where}: {error}") from error

    return decode


def _decode_float(data: Any, where: str) -> float:
    number = _WORDS.get(data) if isinstance(data, str) else data
    sound = isinstance(number, int | float) and not isinstance(number, bool)
    return float(_expected(number, sound, where, "a number"))


def _plain_decoder(kind: Any) -> Decoder:
    return lambda data, where: _expected(data, type(data) is kind, where, f"a {kind.__name__}")


def _listed(data: Any, where: str) -> list[Any]:
    return list(_expected(data, isinstance(data, list), where, "a list"))


def _expected(data: Any, sound: bool, where: str, what: str) -> Any:
    if not sound:
        raise ArtifactError(f"{where} is {str(data)[:60]!r}; expected {what}")
    return data


_MAKERS: Mapping[Any, Callable[[Any], Decoder]] = {
    Union: _optional_decoder,
    UnionType: _optional_decoder,
    np.ndarray: _array_decoder,
    Mapping: _mapping_decoder,
    frozenset: _frozenset_decoder,
    tuple: _tuple_decoder,
    Literal: _literal_decoder,
}
"""How to make a decoder of a generic type, by its origin."""
