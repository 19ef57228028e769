"""Values of N worlds kept as named arrays, saved and restored one world at a time as flat vectors."""

from collections.abc import Sequence

import numpy as np

from core.arrays import Floats
from core.errors import ContractError


def take_row(arrays: Sequence[Floats], i: int) -> Floats:
    """Returns row `i` of every array (N, ...), one after the other, as one vector."""
    return np.concatenate([np.ravel(a[i]) for a in arrays])


def put_row(arrays: Sequence[Floats], i: int, row: Floats) -> None:
    """Writes a vector from `take_row` into row `i` of the arrays, in place.

    Raises:
        ContractError: The vector is of another size: it comes from another cell.
    """
    size = sum(a[i].size for a in arrays)
    if row.size != size:
        raise ContractError(
            f"saved world has {row.size} values; this cell has {size}, restore it in the cell it is from"
        )
    at = 0
    for a in arrays:
        block = a[i : i + 1]
        block[...] = row[at : at + block.size].reshape(block.shape)
        at += block.size
