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
    """Return uint8 ``[blocks, bytes]``: chunks of four codes, rows of the window, two codes or one, taps, codes, lanes.

    Even lanes are output channels 0 … 31 of the block, odd ones 32 … 63. Absent channels are zeros.
    """
    outputs, inputs, height, width = layer.shape
    blocks, codes = -(-outputs // _LANES), -(-inputs // _BITS)
    chunks, left = divmod(codes, _CODES)
    values = np.zeros((blocks * _LANES, height, width, (chunks + 1) * _CODES), np.uint8)
    values[:outputs] = _codes(layer.packed, chunks + 1)
    lanes = values.reshape(blocks, 2, _LANES // 2, height, width, chunks + 1, _CODES)
    result = aligned(blocks * height * width * codes * _LANES).reshape(blocks, -1)
    whole = chunks * height * width * _CODES * _LANES
    result[:, :whole] = _turns(lanes[..., :chunks, :], 2).reshape(blocks, whole)
    tail, pair = lanes[:, :, :, :, :, chunks:, :left], left // 2 * 2
    steps = [_turns(tail[..., :pair], 2), _turns(tail[..., pair:], 1)]  # two codes, then the one that is left
    rows = [step.reshape(blocks, height, step.size // (blocks * height)) for step in steps]
    result[:, whole:] = np.concatenate(rows, axis=2).reshape(blocks, result.shape[1] - whole)
    return result


def _codes(packed: NDArray[np.uint8], chunks: int) -> NDArray[np.uint8]:
    """Return packed signs ``[..., bytes]`` as codes of six bits, ``[..., 4 · chunks]``: three bytes, four codes."""
    missing = 3 * chunks - packed.shape[-1]
    padded = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, max(missing, 0))])[..., : 3 * chunks]
    one, two, three = (padded[..., byte::3] for byte in range(3))
    codes = [one & 63, one >> 6 | (two & 15) << 2, two >> 4 | (three & 3) << 4, three >> 2]
    return np.stack(codes, axis=-1).reshape(*packed.shape[:-1], -1)


def _turns(lanes: NDArray[np.uint8], codes: int) -> NDArray[np.uint8]:
    """Return ``[blocks, halves, lanes, rows, taps, chunks, codes]`` in the order of counting, ``codes`` in a step."""
    steps = lanes.reshape(*lanes.shape[:-1], lanes.shape[-1] // codes, codes)
    return np.ascontiguousarray(steps.transpose(0, 5, 3, 6, 4, 7, 2, 1))
