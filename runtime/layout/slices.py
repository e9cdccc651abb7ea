"""Data of the bit-sliced kernel (kernels/slice.py): weights, taps, copies and limits, all in vectors of eight cells.

A cell is 64 output channels of a pixel, one bit each. A vector holds several pixels, or a part of one
(layout/images.py). Weights and limits lie in a vector in the order of the channels of its pixels.

An output channel meets the n inputs of its group in n turns. For each turn there is a copy of the image
(kernels/copies.py), in which the bit that the channel meets lies in the channel's own place.

All functions here run once per model or shape.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from .images import SLICES, VECTOR, PackedImage
from .memory import aligned
from .words import FEW_TAPS, GATHER_WORDS

__all__ = [
    "cells",
    "from_above",
    "gathers",
    "interval_planes",
    "limit_planes",
    "one_bit_an_output",
    "reach",
    "slice_weights",
    "spread_copies",
    "taps",
    "turned_copies",
]


def one_bit_an_output(image: PackedImage) -> PackedImage:
    """Return the image as one of the copies lies, with a bit for each output channel: that of a depthwise layer."""
    outputs, _, height, width = image.layer.shape
    return replace(image, layer=replace(image.layer, shape=(outputs, 1, height, width), group=outputs))


def cells(copy: PackedImage) -> int:
    """Return the cells that a pixel has in a vector: 1, 2, 4 or 8."""
    return min(copy.pixel_bytes, VECTOR) // 8


def turned_copies(image: PackedImage) -> tuple[int, int]:
    """Return the bytes of the copies, one for each input of a group, and of one of them with a vector behind it.

    A depthwise layer needs none: it reads the image itself.
    """
    return spread_copies(image) if image.layer.shape[1] > 1 else (0, 0)


def spread_copies(image: PackedImage) -> tuple[int, int]:
    """Return the bytes of the copies, one for each input of a group, and of one of them with a vector behind it."""
    pixels = image.data.shape[1] // image.pixel_bytes
    step = -(-pixels * one_bit_an_output(image).pixel_bytes // VECTOR) * VECTOR + VECTOR
    return image.layer.shape[1] * step, step


def _partners(layer: BinaryLayer) -> NDArray[np.int64]:
    """Return which input of its group an output channel meets in a turn, int64 ``[turns, O]``.

    Output channel p of a group of n inputs meets input (p + turn) mod n.
    """
    place = np.arange(layer.shape[0]) % (layer.shape[0] // layer.group)
    return (place + np.arange(layer.shape[1])[:, None]) % layer.shape[1]


def _met(layer: BinaryLayer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what the bytes of a pixel of each copy read.

    First the byte of the input's pixel that it starts at, int64 ``[turns, bytes]``; then where behind that the eight
    bits lie, int64 ``[turns, bytes, 8]``.
    """
    outputs, inputs = layer.shape[:2]
    group = np.arange(outputs) // (outputs // layer.group)
    bits = np.pad(group * inputs + _partners(layer), [(0, 0), (0, -outputs % 8)], mode="edge").reshape(inputs, -1, 8)
    first = bits.min(axis=2) // 8
    return first, bits - 8 * first[..., None]


def from_above(image: PackedImage, copy_bytes: int) -> NDArray[np.uint8]:
    """Return a mask of each turned copy, uint8 ``[turns, bytes of a pixel, or VECTOR]``.

    A bit is 1 where it is read from a higher place of the input, 0 where it is read from a lower one.
    """
    inputs = image.layer.shape[1]
    above = np.arange(image.layer.channels) % inputs + np.arange(inputs)[:, None] < inputs
    return _vectors(SLICES.encode(np.where(above, np.int8(1), np.int8(-1)))).reshape(inputs, -1)


def reach(layer: BinaryLayer) -> int:
    """Return how many bits the inputs of eight outputs that share a byte span, at most."""
    return int(_met(layer)[1].max()) + 1


def gathers(image: PackedImage, copy_bytes: int) -> NDArray[np.int64]:
    """Return a row for each byte that a pixel of the copies gathers, int64 ``[turns · ceil(O / 8), GATHER_WORDS]``."""
    first, places = _met(image.layer)
    targets = np.arange(len(first))[:, None] * copy_bytes + np.arange(first.shape[1])
    table = np.stack([first, (places << 8 * np.arange(8)).sum(axis=2), targets], axis=2)
    return table.reshape(-1, GATHER_WORDS)


def taps(copy: PackedImage, turns: int, copy_bytes: int) -> NDArray[np.int64]:
    """Return a row (offset from the corner of the window, 0) for each tap in each copy, int64 ``[taps · turns, 2]``."""
    layer = copy.layer
    kh, kw = layer.shape[2:]
    table = [
        (ky * layer.dilations[0] * copy.row_bytes + kx * layer.dilations[1] * copy.pixel_bytes + turn * copy_bytes, 0)
        for ky in range(kh)
        for kx in range(kw)
        for turn in range(turns)
    ]
    return np.array(table, np.int64)


def slice_weights(layer: BinaryLayer) -> NDArray[np.uint8]:
    """Return uint8 ``[blocks, kh · kw · C/group, VECTOR]``: a bit for each channel of a vector, as in the copies."""
    met = layer.weight[np.arange(layer.shape[0]), _partners(layer)]  # [turn, O, kh, kw]
    signs = met.transpose(2, 3, 0, 1).reshape(-1, layer.shape[0])
    packed = _vectors(SLICES.encode(np.ascontiguousarray(signs))).swapaxes(0, 1)
    result = aligned(packed.size).reshape(packed.shape)
    result[:] = packed
    return result


def limit_planes(limits: NDArray[np.int32], layer: BinaryLayer) -> NDArray[np.uint8]:
    """Return limits int32 ``[classes, O]`` as bits: uint8 ``[classes, blocks · planes · VECTOR bytes, or a few more]``.

    They lie in bit planes as the mismatches do.
    """
    return _rows(_planes(limits, layer), layer)


def interval_planes(
    lower: NDArray[np.int64], upper: NDArray[np.int64], inside: NDArray[np.bool_], layer: BinaryLayer
) -> NDArray[np.uint8]:
    """Return intervals (layout/intervals.py), limits ``[classes, O]`` and bool ``[O]``, as bits in the same order.

    The planes of the lower limit come first, those of the upper next, and last the bits of what is not inside.
    """
    outside = np.broadcast_to(~inside, (len(lower), 1, inside.size))
    return _rows(np.concatenate([_planes(lower, layer), _planes(upper, layer), outside], axis=1), layer)


def _planes(limits: NDArray[Any], layer: BinaryLayer) -> NDArray[np.bool_]:
    """Return the bits of limits ``[classes, O]``, bool ``[classes, planes, O]``."""
    planes = np.arange(4 if layer.window <= FEW_TAPS else 8)
    numbers = limits.clip(0, layer.window + 1)  # of at most ``window`` mismatches all are below the last
    bits: NDArray[np.bool_] = (numbers[:, None] >> planes[:, None] & 1).astype(np.bool_)
    return bits


def _rows(bits: NDArray[np.bool_], layer: BinaryLayer) -> NDArray[np.uint8]:
    """Return bits ``[classes, rows, O]`` as the kernel reads them, a row of ``[blocks, rows, VECTOR]`` for each class.

    A row is a multiple of O bytes, because the pixel table stores the border class times O: that number times
    LIMITS_STRIDE leads to the row of the class.
    """
    vectors = _vectors(SLICES.encode(np.where(bits, np.int8(1), np.int8(-1))))
    rows = vectors.swapaxes(1, 2).reshape(len(bits), -1)
    return np.pad(rows, [(0, 0), (0, -rows.shape[1] % layer.shape[0])])


def _vectors(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return bytes ``[…, pixel bytes]`` as ``[…, blocks, VECTOR]``, a pixel repeated where a vector holds several."""
    return np.tile(packed, max(1, VECTOR // packed.shape[-1])).reshape(*packed.shape[:-1], -1, VECTOR)
