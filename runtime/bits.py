"""The bit law: one page on which every wing stands.

* A sign is +1 or −1. ``sign(x) = +1`` where ``x >= 0`` (so zero is +1, minus zero too), else −1 (so NaN is −1).
* A packed bit is 1 for +1 and 0 for −1.
* Eight signs share a uint8, **least significant bit first**, in the order of the input channels;
  the bits behind the last channel (the tail) are 0.
* A convolution weight ``[O, C/group, kh, kw]`` is packed channel-last, ``uint8[O, kh, kw, ceil(C/group / 8)]``;
  a dense weight ``[O, K]`` becomes ``uint8[O, ceil(K / 8)]``.
* The product of two signs is +1 where their bits are equal, so over K positions
  ``dot = K − 2·popcount(a XOR w)`` (XNOR-Net, arXiv 1603.05279, section 3.1).

Files carry these bytes under the operator domain :data:`DOMAIN`, version :data:`OPSET_VERSION`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DOMAIN",
    "OPSET_VERSION",
    "clear_tail",
    "count_ones",
    "pack_conv_weight",
    "pack_signs",
    "sign",
    "unpack_conv_weight",
    "unpack_signs",
]

DOMAIN = "ai.latentbit"
OPSET_VERSION = 1

_AT_ONCE = 2**18
"""Bytes that are counted at once: what is made of them stays in the cache."""


def sign(x: NDArray[Any]) -> NDArray[np.int8]:
    """Return int8 of the shape of ``x``: +1 where ``x >= 0``, else −1 (NaN included)."""
    return np.where(np.asarray(x) >= 0, np.int8(1), np.int8(-1))


def pack_signs(x: NDArray[Any], axis: int = -1) -> NDArray[np.uint8]:
    """Pack ``sign(x)`` along ``axis``: its length n becomes ``ceil(n / 8)`` bytes, LSB first, tail bits 0."""
    return np.packbits(np.asarray(x) >= 0, axis=axis, bitorder="little")


def clear_tail(packed: NDArray[np.uint8], length: int) -> NDArray[np.uint8]:
    """Return packed bits whose tail behind ``length`` along the last axis is 0: the same array where it is so."""
    beyond = 0xFF << length % 8 & 0xFF if length % 8 else 0
    if not beyond or not np.any(packed[..., -1] & np.uint8(beyond)):
        return packed
    cleared = packed.copy()
    cleared[..., -1] &= np.uint8(0xFF ^ beyond)
    return cleared


def count_ones(packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many bits are 1 along the last axis, int64 ``packed.shape[:-1]``."""
    rows = packed.reshape(-1, packed.shape[-1])
    counts = np.empty(len(rows), np.int64)
    step = max(1, _AT_ONCE // max(1, packed.shape[-1]))
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        # Neighbours are added, then pairs, then fours: numpy 1.26, which we promise, has no bitwise_count.
        ones = some - (some >> 1 & 0x55)
        ones = (ones & 0x33) + (ones >> 2 & 0x33)
        counts[first : first + step] = ((ones + (ones >> 4)) & 0x0F).sum(axis=-1, dtype=np.int64)
    return counts.reshape(packed.shape[:-1])


def unpack_signs(packed: NDArray[np.uint8], length: int, axis: int = -1) -> NDArray[np.int8]:
    """Undo :func:`pack_signs`: int8 of +1 and −1 with ``length`` entries along ``axis``."""
    bits = np.unpackbits(packed, axis=axis, count=length, bitorder="little")
    return bits.astype(np.int8) * np.int8(2) - np.int8(1)


def pack_conv_weight(weight: NDArray[Any]) -> NDArray[np.uint8]:
    """Pack a real or ±1 weight ``[O, C/group, kh, kw]`` to ``uint8[O, kh, kw, ceil(C/group / 8)]``."""
    return pack_signs(np.ascontiguousarray(np.transpose(weight, (0, 2, 3, 1))))


def unpack_conv_weight(packed: NDArray[np.uint8], weight_shape: tuple[int, int, int, int]) -> NDArray[np.int8]:
    """Undo :func:`pack_conv_weight`: int8 of ±1 with shape ``weight_shape`` = ``[O, C/group, kh, kw]``."""
    return np.ascontiguousarray(np.transpose(unpack_signs(packed, weight_shape[1]), (0, 3, 1, 2)))
