"""Weights and constants of a layer in the order in which kernels read them: by blocks of output channels, in turns.

A block has a fixed number of lanes, an output channel each. A turn is what a kernel reads of every lane at once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from .images import ImageFormat
from .memory import aligned
from .words import Constant

__all__ = ["interleaved", "pack_constants", "pack_weights"]


def interleaved(lanes: int) -> NDArray[np.int64]:
    """Return the output channel of each byte lane: when 32 bytes are widened, even ones are 0…15, odd ones 16…31."""
    return np.array([lane // 32 * 32 + lane % 32 // 2 + 16 * (lane % 2) for lane in range(lanes)])


def pack_weights(
    layer: BinaryLayer, form: ImageFormat, lanes: int, order: NDArray[np.int64], turn_bytes: int
) -> NDArray[np.uint8]:
    """Return uint8 ``[groups · blocks, kh · kw · group bytes / turn_bytes, lanes, turn_bytes]``: the lanes by turns.

    Lane i holds output channel ``order[i]`` of its block; absent output channels are zeros.
    """
    outputs = layer.shape[0]
    per_group = outputs // layer.group
    packed = form.widen(layer.packed, layer.shape[1]).reshape(layer.group, per_group, -1)
    blocks = -(-per_group // lanes)
    padded = np.zeros((layer.group, blocks * lanes, packed.shape[2]), np.uint8)
    padded[:, :per_group] = packed
    ordered = padded.reshape(layer.group * blocks, lanes, -1, turn_bytes)[:, order].transpose(0, 2, 1, 3)
    result = aligned(ordered.size).reshape(ordered.shape)
    result[:] = ordered
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
