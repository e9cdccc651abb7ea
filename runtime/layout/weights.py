"""Weights and constants of a layer in the order in which kernels read them: by blocks of output channels, in turns.

A block has a fixed number of lanes, an output channel each. A turn is what a kernel reads of every lane at once.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from .images import ImageFormat
from .memory import aligned
from .words import Constant

__all__ = ["interleaved", "pack_constants", "pack_weights"]


_AT_ONCE = 2**18
"""Bytes of weights, about, that are brought into order at once."""


def interleaved(lanes: int) -> NDArray[np.int64]:
    """Return the output channel of each byte lane: when 32 bytes are widened, even ones are 0…15, odd ones 16…31."""
    return np.array([lane // 32 * 32 + lane % 32 // 2 + 16 * (lane % 2) for lane in range(lanes)])


def pack_weights(
    layer: BinaryLayer, form: ImageFormat, lanes: int, order: NDArray[np.int64], turn_bytes: int
) -> NDArray[np.uint8]:
    """Return uint8 ``[groups · blocks, kh · kw · group bytes / turn_bytes, lanes, turn_bytes]``: the lanes by turns.

    Lane i holds output channel ``order[i]`` of its block; absent output channels are zeros.
    """
    per_group = layer.shape[0] // layer.group
    blocks = -(-per_group // lanes)
    place = (np.arange(blocks)[:, None] * lanes + order).reshape(1, -1)
    which = (np.arange(layer.group)[:, None] * per_group + place).reshape(-1, lanes)
    absent = np.tile(place >= per_group, (layer.group, 1)).reshape(-1, lanes)
    turns = math.prod(layer.shape[2:]) * form.group_bytes(layer.shape[1]) // turn_bytes
    result = aligned(which.size * turns * turn_bytes).reshape(len(which), turns, lanes, turn_bytes)
    step = max(1, _AT_ONCE * len(which) // result.size)  # a layer may be most of the file: it is not copied as a whole
    for first in range(0, len(which), step):
        some = slice(first, first + step)
        rows = form.widen(layer.packed[np.where(absent[some], 0, which[some])], layer.shape[1])
        rows[absent[some]] = 0
        result[some] = rows.reshape(-1, lanes, turns, turn_bytes).swapaxes(1, 2)
    return result


def pack_constants(groups: int, lanes: int, width: int, constants: Mapping[Constant, NDArray[np.float32]]) -> Any:
    """Return float32 ``[groups · blocks, lanes / width, constants, width]`` of constants ``[O]``, absent ones zeros."""
    per_group = next(iter(constants.values())).size // groups
    blocks = -(-per_group // lanes)
    padded = np.zeros((len(Constant), groups, blocks * lanes), np.float32)
    for which, value in constants.items():
        padded[which, :, :per_group] = value.reshape(groups, per_group)
    shape = groups * blocks, lanes // width
    result = aligned(padded.size, np.float32).reshape(*shape, len(Constant), width)
    result[:] = padded.reshape(len(Constant), *shape, width).transpose(1, 2, 0, 3)
    return result
