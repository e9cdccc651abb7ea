"""The data of the bit-sliced kernel (kernel_slice.py): weights, taps, copies and limits, all in vectors of eight cells.

A cell is 64 channels of a pixel, a bit each. A vector holds some pixels or a part of one (layout.SLICES), and what
belongs to channels lies in it as the channels of its pixels do. All functions here run once per model or shape.
"""

import numpy as np
from numpy.typing import NDArray

from .descriptor import FEW_TAPS
from .layout import SLICES, VECTOR, PackedImage, aligned
from .model import BinaryLayer

__all__ = ["cells", "limit_planes", "slice_weights", "taps", "turned_copies"]


def cells(image: PackedImage) -> int:
    """Return the cells that a pixel has in a vector: 1, 2, 4 or 8."""
    return min(image.pixel_bytes, VECTOR) // 8


def turned_copies(image: PackedImage) -> tuple[int, int]:
    """Return the bytes of the copies, one for each input of a group, and of one of them with a vector behind it.

    A depthwise layer needs none: it reads the image itself.
    """
    step, inputs = -(-image.data.shape[1] // VECTOR) * VECTOR + VECTOR, image.layer.shape[1]
    return (inputs * step, step) if inputs > 1 else (0, 0)


def taps(image: PackedImage, copy_bytes: int) -> NDArray[np.int64]:
    """Return the places under the window (offset from its corner, 0): of a tap its place in each turned copy."""
    layer = image.layer
    kh, kw = layer.shape[2:]
    table = [
        (ky * layer.dilations[0] * image.row_bytes + kx * layer.dilations[1] * image.pixel_bytes + turn * copy_bytes, 0)
        for ky in range(kh)
        for kx in range(kw)
        for turn in range(layer.shape[1])
    ]
    return np.array(table, np.int64)


def slice_weights(layer: BinaryLayer) -> NDArray[np.uint8]:
    """Return uint8 ``[blocks, kh · kw · C/group, VECTOR]``: a bit for each channel of a vector, as in its activations.

    In turn r output channel p of a group stands with input channel p + r, modulo their number.
    """
    inputs = layer.shape[1]
    partner = np.arange(inputs) + np.arange(inputs)[:, None]  # [turn, output of the group]
    grouped = layer.weight.reshape(layer.group, inputs, *layer.shape[1:])
    turned = grouped[:, np.arange(inputs), partner % inputs]  # [group, turn, output, kh, kw]
    signs = turned.transpose(3, 4, 1, 0, 2).reshape(-1, layer.channels)
    packed = _vectors(SLICES.encode(np.ascontiguousarray(signs))).swapaxes(0, 1)
    result = aligned(packed.size).reshape(packed.shape)
    result[:] = packed
    return result


def limit_planes(limits: NDArray[np.int32], layer: BinaryLayer) -> NDArray[np.uint8]:
    """Return limits int32 ``[classes, O]`` as bits: uint8 ``[classes, blocks · planes · VECTOR bytes, or a few more]``.

    They lie in bit planes as the mismatches do. A row is a multiple of O bytes, so that a border class · O leads to it.
    """
    planes = np.arange(4 if layer.window <= FEW_TAPS else 8)
    numbers = limits.clip(0, layer.window + 1)  # of at most ``window`` mismatches all are below the last
    bits = SLICES.encode(np.where(numbers[:, None] >> planes[:, None] & 1, np.int8(1), np.int8(-1)))
    rows = _vectors(bits).swapaxes(1, 2).reshape(len(limits), -1)  # of each class: [blocks, planes, VECTOR]
    return np.pad(rows, [(0, 0), (0, -rows.shape[1] % layer.shape[0])])


def _vectors(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return bytes ``[…, pixel bytes]`` as ``[…, blocks, VECTOR]``, a pixel repeated where a vector holds several."""
    return np.tile(packed, max(1, VECTOR // packed.shape[-1])).reshape(*packed.shape[:-1], -1, VECTOR)
