"""The look-up tables of the LUT kernels: popcounts of nibbles, for one pixel and for two."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .memory import aligned

__all__ = ["pair_table", "single_table"]


@cache
def single_table() -> NDArray[np.uint8]:
    """Return uint8 ``[17, 16]``: popcount(row xor column); row 16, zero padding, is 2: it adds 4 − 2·2 = 0."""
    table = aligned(17 * 16).reshape(17, 16)
    nibbles = np.arange(16, dtype=np.uint8)
    different = (nibbles[:, None] ^ nibbles)[:, :, None]
    table[:16] = np.unpackbits(different, axis=2).sum(axis=2)  # numpy 1.26, which we promise, has no bitwise_count
    table[16] = 2
    return table


@cache
def pair_table() -> NDArray[np.uint8]:
    """Return uint8 ``[289, 16]``: row a + 17·b holds the counts of a, plus 16 times those of b."""
    one = single_table()
    table = aligned(289 * 16).reshape(17, 17, 16)
    table[:] = one[None, :] + 16 * one[:, None]
    return table.reshape(289, 16)
