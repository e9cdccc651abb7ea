"""The tables that lead a kernel over an image: pieces of the window, blocks of channels, pixels, border classes."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from .images import VECTOR, ImageFormat, PackedImage
from .words import PixelWord

__all__ = [
    "Order",
    "block_table",
    "border_bases",
    "half_fill",
    "half_order",
    "pair_order",
    "pieces",
    "pixel_table",
    "plane_rows",
    "row_order",
    "strip_order",
]

Order = Callable[[int, int], NDArray[np.int64]]
"""Height and width of an output -> its pixels in the order in which tiles hold them, −1 for an empty place."""


def row_order(tile: int) -> Order:
    """Return the order row by row, filled up to whole tiles."""

    def order(height: int, width: int) -> NDArray[np.int64]:
        count = height * width
        return np.concatenate([np.arange(count), np.full(-count % tile, -1)])

    return order


def pair_order(tile: int) -> Order:
    """Return the order in pairs of neighbours of a row (an odd row ends with −1), filled up to whole tiles."""

    def order(height: int, width: int) -> NDArray[np.int64]:
        index = np.full((height, width + width % 2), -1)
        index[:, :width] = np.arange(height * width).reshape(height, width)
        return np.concatenate([index.reshape(-1), np.full(-index.size % tile, -1)])

    return order


def half_order(pairs: int) -> Order:
    """Return the order in tiles of ``pairs`` pairs: neighbours of a row, each beside its partner half an image away.

    Tiles lie in strips, one tile under the other. The halves are left and right, or upper and lower (the middle row of
    an odd height is paired in itself): what takes fewer tiles.
    """

    def strips(rows: NDArray[np.int64], down: int, right: int, width: int) -> NDArray[np.int64]:
        wide = right or width
        x = np.arange(-(-wide // pairs) * pairs).reshape(-1, 1, pairs)
        pixel = rows[:, None] * width + x
        here = np.where(x < wide, pixel, -1)
        there = np.where((x < wide) & (x + right < width), pixel + down * width + right, -1)
        return np.stack([here, there], axis=-1).reshape(-1)

    def order(height: int, width: int) -> NDArray[np.int64]:
        half, right = height // 2, -(-width // 2)
        beside, above = _half_tiles(height, width, pairs)
        if beside <= above:
            return strips(np.arange(height), 0, right, width)
        upper = strips(np.arange(half), height - half, 0, width)
        return np.concatenate([upper, strips(np.arange(half, height - half), 0, right, width)])

    return order


def strip_order(pixels: int) -> Order:
    """Return the order in tiles of neighbours of a row, ``pixels`` of them, one tile under the other."""

    def order(height: int, width: int) -> NDArray[np.int64]:
        x = np.arange(-(-width // pixels) * pixels).reshape(-1, 1, pixels)
        return np.where(x < width, np.arange(height)[:, None] * width + x, -1).reshape(-1)

    return order


def half_fill(height: int, width: int, pairs: int) -> float:
    """Return the part of the places of :func:`half_order` that holds pixels."""
    return height * width / (2 * pairs * min(_half_tiles(height, width, pairs)))


def _half_tiles(height: int, width: int, pairs: int) -> tuple[int, int]:
    """Return the tiles of left and right halves, and those of upper and lower ones."""
    narrow = -(-((width + 1) // 2) // pairs)
    return height * narrow, height // 2 * -(-width // pairs) + height % 2 * narrow


def pieces(image: PackedImage, limit: int, grain: int) -> NDArray[np.int64]:
    """Cut the window into runs (offset from its corner, length) of at most ``limit`` bytes: whole rows if possible.

    All lengths are multiples of ``grain``, except that of the last run of a row. ``grain`` divides ``limit``.
    """
    layer = image.layer
    group_bytes = image.format.group_bytes(layer.shape[1])
    kh, kw = layer.shape[2:]
    whole_rows = layer.group == 1 and layer.dilations[1] == 1
    runs = [
        (ky * layer.dilations[0] * image.row_bytes + kx * layer.dilations[1] * image.pixel_bytes,
         kw * group_bytes if whole_rows else group_bytes)
        for ky in range(kh)
        for kx in range(1 if whole_rows else kw)
    ]  # fmt: skip
    table = []
    for offset, length in runs:
        size = -(-length // (-(-length // limit) * grain)) * grain  # as even as the grain allows
        table += [(offset + start, min(size, length - start)) for start in range(0, length, size)]
    return np.array(table, np.int64)


def block_table(
    layer: BinaryLayer, form: ImageFormat, lanes: int, weights: NDArray[np.uint8], constants: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return the blocks of output channels, int64 ``[blocks, words]`` in the order of :class:`.BlockWord`."""
    groups, channels = form.groups(layer)
    per_group = layer.shape[0] // groups
    blocks = weights.shape[0] // groups
    return np.array(
        [
            (
                group * form.group_bytes(channels) + (block * VECTOR if form.sliced else 0),
                weights.ctypes.data + (group * blocks + block) * weights[0].nbytes,
                group * per_group + block * lanes,
                min(lanes, per_group - block * lanes),
                constants.ctypes.data + (group * blocks + block) * constants[0].nbytes,
                weights[0].nbytes,
            )
            for group in range(groups)
            for block in range(blocks)
        ],
        np.int64,
    )


def border_bases(
    image: PackedImage, layer: BinaryLayer, error: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return ``base`` int32 ``[classes, O]`` (accumulator = base − 2 · mismatches) and the class of each output pixel.

    ``layer`` is the image's, perhaps with negated weights, ``error`` the :meth:`ImageFormat.pad_error` of its weight.

    A border class is a set of taps that fall on the border. It needs a base of its own where a padded position adds
    something else to the count than it should: zero padding, in a format that knows only ±1.
    """
    height, width = layer.output_size(image.height, image.width)
    if not error.any():
        return np.full((1, layer.shape[0]), layer.window, np.int32), np.zeros((height, width), np.int64)
    inside, classes = zip(
        *(
            _axis(length, count, layer.shape[2 + axis], layer.dilations[axis], layer.pads[axis], layer.strides[axis])
            for axis, (length, count) in enumerate(((image.height, height), (image.width, width)))
        ),
        strict=True,
    )
    # A tap lies inside where its row and its column do, so one axis is summed after the other: classes of rows and
    # columns with all taps of the window would be an array of gigabytes for a window of 100 × 100.
    rows, columns = (patterns.astype(np.int64) for patterns in inside)
    within = np.einsum("row,cw->rco", np.einsum("rh,ohw->row", rows, error), columns)
    base = layer.window + error.sum(axis=(1, 2)) - within
    which = classes[0][:, None] * inside[1].shape[0] + classes[1][None, :]
    return np.ascontiguousarray(base.reshape(-1, layer.shape[0]), np.int32), which


@lru_cache(64)
def _axis(
    length: int, count: int, size: int, dilation: int, pad: int, stride: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which sets of taps lie inside along an axis, bool ``[sets, size]``, and the set of each of ``count``."""
    taps = np.arange(size) * dilation - pad
    positions = np.arange(count)[:, None] * stride + taps
    patterns, which = np.unique((positions >= 0) & (positions < length), axis=0, return_inverse=True)
    return patterns, which.reshape(-1)


def pixel_table(
    image: PackedImage,
    classes: NDArray[np.int64],
    target: PackedImage | None,
    order: Order,
    tile: int,
    rows: int = 1,
) -> NDArray[np.int32]:
    """Return the pixel table int32 ``[pixels, words]`` in the order of :class:`.PixelWord`, ``tile`` pixels a tile.

    The counts of a pixel take ``rows`` rows of a tile.
    """
    layer = image.layer
    height, width = layer.output_size(image.height, image.width)
    index = order(height, width).reshape(-1, tile)
    place = np.maximum.accumulate(np.where(index >= 0, np.arange(tile), 0), axis=1)  # the last pixel at or before it
    live = np.take_along_axis(index, place, axis=1).reshape(-1)
    y, x = live // width, live % width
    table = np.empty((live.size, PixelWord.SIZE), np.int32)
    table[:, PixelWord.INPUT] = y * layer.strides[0] * image.row_bytes + x * layer.strides[1] * image.pixel_bytes
    table[:, PixelWord.OUTPUT] = index.reshape(-1)
    table[:, PixelWord.TARGET] = 0 if target is None else y * target.row_bytes + x * target.pixel_bytes
    table[:, PixelWord.CLASS] = classes[y, x] * layer.shape[0]
    table[:, PixelWord.COUNTS] = place.reshape(-1) * rows
    return table


def plane_rows(table: NDArray[np.int32], stride: int) -> NDArray[np.int32]:
    """Return a pixel table with two rows for each one: of its pixel in plane 0, and in plane 1, ``stride`` bytes on."""
    both = np.repeat(table, 2, axis=0)
    both[:, PixelWord.COUNTS] *= 2
    both[1::2, PixelWord.COUNTS] += 1
    both[1::2, PixelWord.INPUT] += stride
    return both
