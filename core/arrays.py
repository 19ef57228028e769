"""Named array types and the one check they all pass through.

Letters: J joints, A action dims, D residual dims, T chunk length, K reward terms, N parallel worlds,
O objects, H W image height and width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import ContractError

Floats = NDArray[np.float64]
"""Any float64 array; the docstring of each field gives its shape and unit."""
Image = NDArray[np.uint8]
"""Shape (H, W, 3), RGB, 0..255."""
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def floats(name: str, value: Any, shape: tuple[int | None, ...], *, finite: bool = True) -> Floats:
    """Returns `value` as a read-only float64 array after checking its shape.

    Args:
        name: Name used in the error, with its unit.
        value: Anything numpy can convert.
        shape: Expected shape; None matches any length.
        finite: Whether NaN and infinity are refused.

    Raises:
        ContractError: Wrong shape, or not finite.
    """
    array = np.array(value, dtype=np.float64)
    if len(array.shape) != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, array.shape, strict=True)
    ):
        raise ContractError(f"{name} has shape {array.shape}; expected {shape}")
    if finite and not np.isfinite(array).all():
        raise ContractError(f"{name} holds NaN or infinity: {array}; send finite values only")
    array.setflags(write=False)
    return array


def image(name: str, value: Any) -> Image:
    """Returns `value` as a read-only RGB image, or raises `ContractError`."""
    array = np.asarray(value)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ContractError(f"image {name!r} is {array.dtype} {array.shape}; expected uint8 (H, W, 3)")
    array = array.view()
    array.setflags(write=False)
    return array


def in_range(name: str, value: float, low: float, high: float) -> float:
    """Returns `value` as a float inside [low, high], or raises `ContractError`."""
    number = float(value)
    if not low <= number <= high:
        raise ContractError(f"{name} is {number}; allowed [{low}, {high}]")
    return number
