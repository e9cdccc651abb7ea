"""Weights and look-up table of kernel perm: codes of six channels, an output channel a byte."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from .memory import aligned

__all__ = ["code_table", "code_weights"]

_LANES, _BITS, _CODES = 64, 6, 4


@cache
def code_table() -> NDArray[np.uint8]:
    """Return uint8 ``[2, 64, 64]``: popcounts of row xor column, and 16 times the same."""
    codes = np.arange(64, dtype=np.uint8)
    table = aligned(2 * 64 * 64).reshape(2, 64, 64)
    table[0] = np.unpackbits((codes[:, None] ^ codes)[:, :, None], axis=2).sum(axis=2)
    table[1] = 16 * table[0]
    return table


def code_weights(layer: BinaryLayer) -> NDArray[np.uint8]:
    """Return uint8 ``[blocks, bytes]``: by chunks of four codes, taps, codes, lanes.

    A chunk of one code has a second one, zeros: it is counted as two. Even lanes are output channels 0 … 31 of the
    block, odd ones 32 … 63; absent ones are zeros.
    """
    outputs, inputs, height, width = layer.shape
    blocks, codes, taps = -(-outputs // _LANES), -(-inputs // _BITS), height * width
    bits = np.zeros((blocks * _LANES, taps, codes * _BITS), np.uint8)
    bits[:outputs, :, :inputs] = np.unpackbits(layer.packed, axis=-1, count=inputs, bitorder="little").reshape(
        outputs, taps, inputs
    )
    by_code = bits.reshape(blocks, 2, _LANES // 2, taps, codes, _BITS)
    values = sum(by_code[..., bit] << np.uint8(bit) for bit in range(_BITS))
    lanes = np.asarray(values, np.uint8).transpose(0, 3, 4, 2, 1).reshape(blocks, height, width, codes, _LANES)
    result = aligned(lanes.size).reshape(blocks, -1)
    place = 0
    for start in range(0, codes, _CODES):
        for row in range(height):
            for first in range(start, min(start + _CODES, codes), 2):
                step = lanes[:, row, :, first : min(first + 2, codes)].reshape(blocks, -1)
                result[:, place : place + step.shape[1]] = step
                place += step.shape[1]
    return result
