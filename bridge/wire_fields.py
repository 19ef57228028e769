"""Strict reading of msgpack maps that came over a wire: every field named, typed, bounded; unknown ones refused.

Called by the messages of `bridge.policy_wire` and by the recorder's link in `regrasp`.
"""

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import msgpack
import numpy as np

from core.arrays import Floats
from core.errors import BadAnswer

T = TypeVar("T")

MOST_ITEMS = 4096
"""Largest number of entries of any list or map on the wire."""
MOST_TEXT = 65536
"""Longest text on the wire [bytes]."""


def pack(message: dict[str, object], largest: int) -> bytes:
    """Returns a message as msgpack.

    Raises:
        BadAnswer: It would be larger than `largest` [bytes], so the other side would refuse it.
    """
    data = bytes(msgpack.packb(message, use_bin_type=True))
    if len(data) > largest:
        raise BadAnswer(f"message of {len(data)} bytes; allowed are {largest}; send smaller images or JPEG")
    return data


def unpack(data: bytes, largest: int) -> "Fields":
    """Returns the map that a message is.

    Raises:
        BadAnswer: Larger than `largest` [bytes], not msgpack, or not a map with text keys.
    """
    if len(data) > largest:
        raise BadAnswer(f"message of {len(data)} bytes; allowed are {largest}")
    try:
        found = msgpack.unpackb(
            data, raw=False, strict_map_key=True, max_str_len=MOST_TEXT, max_bin_len=largest,
            max_array_len=MOST_ITEMS, max_map_len=MOST_ITEMS, max_ext_len=0,
        )  # fmt: skip
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise BadAnswer(f"message of {len(data)} bytes is not what was agreed: {error}") from error
    return Fields(found, "message")


class Fields:
    """The fields of one map; each is taken once, and `end` refuses what nobody took.

    Args:
        data: What msgpack made of it.
        where: Name used in errors.
    """

    def __init__(self, data: object, where: str) -> None:
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            raise BadAnswer(f"{where} is {str(data)[:60]!r}; expected a map with text keys")
        self._left: dict[str, Any] = dict(data)
        self._where = where

    def text(self, name: str) -> str:
        """Takes a text."""
        return self._take(name, str)

    def whole(self, name: str) -> int:
        """Takes an integer."""
        return self._take(name, int)

    def number(self, name: str) -> float:
        """Takes a finite number."""
        value = self._take(name, float)
        if not math.isfinite(value):
            raise BadAnswer(f"{self._where}.{name} is {value}; expected a finite number")
        return value

    def blob(self, name: str) -> bytes:
        """Takes bytes."""
        return self._take(name, bytes)

    def texts(self, name: str) -> tuple[str, ...]:
        """Takes a list of texts."""
        return tuple(self._each(name, str))

    def wholes(self, name: str) -> tuple[int, ...]:
        """Takes a list of integers."""
        return tuple(self._each(name, int))

    def inside(self, name: str) -> "Fields":
        """Takes a map in the map."""
        return Fields(self._take(name, dict), f"{self._where}.{name}")

    def names(self) -> tuple[str, ...]:
        """Returns the fields that were not taken yet."""
        return tuple(self._left)

    def empty(self, name: str) -> bool:
        """Whether a field holds nothing; it is taken if so."""
        if name not in self._left or self._left[name] is not None:
            return False
        del self._left[name]
        return True

    def array(self, name: str) -> Floats:
        """Takes an array of any shape, as written by `array_fields`; what it holds is not checked."""
        packed = self.inside(name)
        shape, data = packed.wholes("shape"), packed.blob("f64")
        packed.end()
        if len(shape) > 4 or min(shape, default=0) < 0 or math.prod(shape) * 8 != len(data):
            raise BadAnswer(f"{self._where}.{name} has shape {shape} and {len(data)} bytes, which do not agree")
        return np.frombuffer(data, dtype="<f8").reshape(shape)

    def end(self) -> None:
        """Refuses what was not taken."""
        if self._left:
            raise BadAnswer(f"{self._where} has unknown fields {sorted(self._left)}")

    def _each(self, name: str, kind: type[T]) -> Iterator[T]:
        for i, item in enumerate(self._take(name, list)):
            yield self._of(item, kind, f"{name}[{i}]")

    def _take(self, name: str, kind: type[T]) -> T:
        if name not in self._left:
            raise BadAnswer(f"{self._where} lacks the field {name!r}")
        return self._of(self._left.pop(name), kind, name)

    def _of(self, value: Any, kind: type[T], name: str) -> T:
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise BadAnswer(f"{self._where}.{name} is {str(value)[:60]!r}; expected a {kind.__name__}")
        return value


def array_fields(array: Floats) -> dict[str, object]:
    """Returns an array as fields: its shape and its numbers as little-endian float64, bit for bit."""
    return {"shape": list(array.shape), "f64": np.ascontiguousarray(array, dtype="<f8").tobytes()}
