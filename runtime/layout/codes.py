"""Weights and look-up table of kernel perm: codes of six channels, an output channel a byte."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from .memory import aligned

__all__ = ["code_table", "code_weights"]

_LANES, _BITS = 64, 6
_STEP, _CHUNK = 4, 8  # codes that are looked up together, and that are counted before byte counters are widened


@cache
def code_table() -> NDArray[np.uint8]:
    """Return uint8 ``[2, 64, 64]``: (popcount(row xor column) + odd(row) − odd(column)) / 2, 16 times the same."""
    codes = np.arange(64, dtype=np.uint8)
    table = aligned(2 * 64 * 64).reshape(2, 64, 64)
    mismatches = np.unpackbits((codes[:, None] ^ codes)[:, :, None], axis=2).sum(axis=2)
    odd = np.unpackbits(codes[:, None], axis=1).sum(axis=1) % 2
    table[0] = (mismatches + odd[:, None] - odd) // 2
    table[1] = 16 * table[0]
    return table


def code_weights(layer: BinaryLayer) -> NDArray[np.uint8]:
    """Return uint8 ``[blocks, bytes]``: steps of four codes or less, in the order of counting; how many codes are odd.

    The order is: two steps, rows of the window, steps, taps of the row, codes, lanes. Even lanes are output channels
    0 … 31 of the block, odd ones 32 … 63. Absent channels are zeros. The last 128 bytes are uint16 ``[64]``: codes of
    each output channel that have an odd number of ones.
    """
    outputs, inputs, height, width = layer.shape
    blocks, codes = -(-outputs // _LANES), -(-inputs // _BITS)
    result = aligned(blocks * (height * width * codes + 2) * _LANES).reshape(blocks, -1)
    for block in range(blocks):  # a layer may be most of the file: it is not copied as a whole
        _fill(result[block], layer.packed[block * _LANES :][:_LANES], codes)
    return result


def _fill(result: NDArray[np.uint8], packed: NDArray[np.uint8], codes: int) -> None:
    """Fill in a block of packed weights ``[outputs, kh, kw, bytes]``."""
    outputs, height, width, _ = packed.shape
    values = np.zeros((_LANES, height, width, codes), np.uint8)
    values[:outputs] = _codes(packed, -(-codes // 4))[..., :codes]
    lanes = values.reshape(2, _LANES // 2, height, width, codes).transpose(2, 3, 4, 1, 0)
    place = 0
    for chunk in range(0, codes, _CHUNK):
        for row in range(height):
            for step in range(chunk, min(chunk + _CHUNK, codes), _STEP):
                part = lanes[row, :, step : min(step + _STEP, codes)].reshape(-1)
                result[place : place + part.size] = part
                place += part.size
    odd = np.unpackbits(values[..., None], axis=-1).sum(axis=-1) % 2
    result[place:].view(np.uint16)[:] = odd.sum(axis=(1, 2, 3))


def _codes(packed: NDArray[np.uint8], chunks: int) -> NDArray[np.uint8]:
    """Return packed signs ``[..., bytes]`` as codes of six bits, ``[..., 4 · chunks]``: three bytes, four codes."""
    missing = 3 * chunks - packed.shape[-1]
    padded = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, max(missing, 0))])[..., : 3 * chunks]
    one, two, three = (padded[..., byte::3] for byte in range(3))
    codes = [one & 63, one >> 6 | (two & 15) << 2, two >> 4 | (three & 3) << 4, three >> 2]
    return np.stack(codes, axis=-1).reshape(*packed.shape[:-1], -1)
