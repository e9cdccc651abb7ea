"""Where bits lie: packed images, packed weights, and the tables that lead a kernel over them.

A packed image has the pads of its layer stored around it, so that a window never leaves it::

    image   [top + H + bottom][left + W + right][groups][group bytes]

:data:`BYTES` keeps eight channels in a byte; :data:`WORDS` does so too and fills whole words of 32 bits;
:data:`NIBBLES` keeps four channels in a byte as 2 · nibble, and 32 for a zero-padded nibble (an index into the tables
of the LUT kernels). :data:`SLICES` keeps eight channels in a byte and all groups of a pixel side by side, as one.
All functions here run once per model or shape.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import pack_signs
from ..intake.model import BinaryLayer
from .words import Constant, PixelWord

__all__ = [
    "BYTES", "NIBBLES", "SLICES", "VECTOR", "WORDS", "ImageFormat", "PackedImage", "aligned", "block_table",
    "border_bases", "decode_image", "interleaved", "new_image", "pack_constants", "pack_weights", "pieces",
    "pixel_table",
]  # fmt: skip


@dataclass(frozen=True)
class ImageFormat:
    """``per_byte`` channels lie in a byte; a group of channels takes a multiple of ``unit`` bytes.

    ``sliced``: all groups lie side by side as if they were one, which takes a power of two bytes or whole vectors.
    """

    name: str
    per_byte: int
    unit: int
    sliced: bool = False

    def groups(self, layer: BinaryLayer) -> tuple[int, int]:
        """Return the groups that lie apart in a pixel and the channels of each."""
        return (1, layer.channels) if self.sliced else (layer.group, layer.shape[1])

    def group_bytes(self, channels: int) -> int:
        """Return the bytes of one group of ``channels`` channels of a pixel."""
        size = -(-channels // (self.per_byte * self.unit)) * self.unit
        if not self.sliced:
            return size
        return -(-size // VECTOR) * VECTOR if size > VECTOR else 1 << (size - 1).bit_length()

    def pixel_bytes(self, layer: BinaryLayer) -> int:
        """Return the bytes of a pixel of the layer's input, all groups."""
        groups, channels = self.groups(layer)
        return groups * self.group_bytes(channels)

    def encode(self, signs: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Pack signs ``[..., channels]`` to ``[..., group bytes]`` without the factor 2 of nibble images."""
        packed = pack_signs(signs)
        if self.per_byte == 4:
            packed = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
        missing = self.group_bytes(signs.shape[-1]) - packed.shape[-1]
        return np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, missing)])

    def pad_bytes(self, channels: int, pad_value: int) -> NDArray[np.uint8]:
        """Return the bytes of one group of a padded position."""
        pattern = self.encode(np.full(channels, 1 if pad_value == 1 else -1, np.int8))
        if self.per_byte == 4:
            pattern *= 2
            if pad_value == 0:
                pattern[: channels // 4] = 32  # the row that counts two of four: it adds exactly nothing
        return pattern

    def pad_error(self, weight: NDArray[np.int8], pad_value: int) -> NDArray[np.int64]:
        """Return ``[O, kh, kw]``: what a padded tap should add to the accumulator minus what the stored bytes add."""
        if pad_value != 0:
            return np.zeros((weight.shape[0], *weight.shape[2:]), np.int64)
        exact = weight.shape[1] // 4 * 4 if self.per_byte == 4 else 0
        acting: NDArray[np.int64] = weight[:, exact:].sum(axis=1, dtype=np.int64)
        return acting  # these channels act as −1


BYTES = ImageFormat("bytes", 8, 1)
WORDS = ImageFormat("words", 8, 4)
NIBBLES = ImageFormat("nibbles", 4, 2)
SLICES = ImageFormat("slices", 8, 8, sliced=True)
VECTOR = 64  # bytes


def aligned(count: int, dtype: Any = np.uint8) -> NDArray[Any]:
    """Return zeros at an address that is a multiple of 64, with 64 spare bytes before and behind them."""
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + 192, np.uint8)
    start = 64 + -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)


@dataclass(frozen=True)
class PackedImage:
    """The packed input of a layer for ``count`` images: ``data`` uint8 ``[count, image bytes]``."""

    layer: BinaryLayer
    format: ImageFormat
    height: int
    width: int
    data: NDArray[np.uint8]

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel, all groups."""
        return self.format.pixel_bytes(self.layer)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, borders included."""
        return (self.width + self.layer.pads[1] + self.layer.pads[3]) * self.pixel_bytes

    @property
    def slack(self) -> int:
        """Bytes behind the image that a kernel may read (and must not mind)."""
        return self.layer.strides[1] * self.pixel_bytes + 64

    @property
    def origin(self) -> int:
        """Offset of pixel (0, 0) behind the border."""
        return self.layer.pads[0] * self.row_bytes + self.layer.pads[1] * self.pixel_bytes


def new_image(layer: BinaryLayer, form: ImageFormat, height: int, width: int, count: int) -> PackedImage:
    """Return an image of pad positions; packing overwrites the inside, the border stays."""
    groups, channels = form.groups(layer)
    pattern = np.tile(form.pad_bytes(channels, layer.pad_value), groups)
    top, left, bottom, right = layer.pads
    pixels = (height + top + bottom) * (width + left + right)
    size = pixels * pattern.size
    data = aligned(count * size + layer.strides[1] * pattern.size + 64)[: count * size].reshape(count, size)
    data[:] = np.tile(pattern, pixels)
    return PackedImage(layer, form, height, width, data)


def decode_image(image: PackedImage, index: int) -> NDArray[np.int8]:
    """Return the signs ``[C, H, W]`` of one image without its border."""
    layer, (groups, group_channels) = image.layer, image.format.groups(image.layer)
    rows = image.data[index].reshape(-1, image.row_bytes)[layer.pads[0] : layer.pads[0] + image.height]
    pixels = rows.reshape(image.height, -1, groups, image.format.group_bytes(group_channels))
    pixels = pixels[:, layer.pads[1] : layer.pads[1] + image.width]
    shift = 1 if image.format.per_byte == 4 else 0
    bits = pixels[..., None] >> (np.arange(image.format.per_byte, dtype=np.uint8) + shift) & 1
    signs = bits.reshape(*bits.shape[:3], -1)[..., :group_channels].reshape(image.height, image.width, -1)
    return np.ascontiguousarray(np.moveaxis(signs, -1, 0)).astype(np.int8) * np.int8(2) - np.int8(1)


def pieces(image: PackedImage, limit: int, grain: int) -> NDArray[np.int64]:
    """Cut the window into runs (offset from its corner, length) of at most ``limit`` bytes: whole rows if possible.

    Lengths are multiples of ``grain``, which divides ``limit``, but for the last of a row.
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


def interleaved(lanes: int) -> NDArray[np.int64]:
    """Return the output channel of each byte lane: of 32 the even bytes widen to 0…15, the odd ones to 16…31."""
    return np.array([lane // 32 * 32 + lane % 32 // 2 + 16 * (lane % 2) for lane in range(lanes)])


def pack_weights(
    layer: BinaryLayer, form: ImageFormat, lanes: int, order: NDArray[np.int64], unit: int
) -> NDArray[np.uint8]:
    """Return uint8 ``[groups · blocks, kh · kw · group bytes / unit, lanes, unit]``: the lanes by turns.

    Lane i holds output channel ``order[i]`` of its block; absent output channels are zeros.
    """
    outputs = layer.shape[0]
    per_group = outputs // layer.group
    packed = form.encode(np.ascontiguousarray(layer.weight.transpose(0, 2, 3, 1))).reshape(layer.group, per_group, -1)
    blocks = -(-per_group // lanes)
    padded = np.zeros((layer.group, blocks * lanes, packed.shape[2]), np.uint8)
    padded[:, :per_group] = packed
    ordered = padded.reshape(layer.group * blocks, lanes, -1, unit)[:, order].transpose(0, 2, 1, 3)
    result = aligned(ordered.size).reshape(ordered.shape)
    result[:] = ordered
    return result


def block_table(
    layer: BinaryLayer, form: ImageFormat, lanes: int, weights: NDArray[np.uint8], constants: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return the blocks of output channels, int64 ``[blocks, BlockWord.SIZE]``."""
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


def border_bases(
    image: PackedImage, layer: BinaryLayer, error: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return ``base`` int32 ``[classes, O]`` (accumulator = base − 2 · mismatches) and the class of each output pixel.

    ``layer`` is the image's, perhaps with negated weights, ``error`` the :meth:`ImageFormat.pad_error` of its weight.

    A border class is a set of taps that fall on the border; an output pixel needs its own base where padded positions
    add something else to the count than they should (zero padding in a format that knows only ±1).
    """
    height, width = layer.output_size(image.height, image.width)
    inside, classes = [], []
    for axis, (length, count) in enumerate(((image.height, height), (image.width, width))):
        taps = np.arange(layer.shape[2 + axis]) * layer.dilations[axis] - layer.pads[axis]
        positions = np.arange(count)[:, None] * layer.strides[axis] + taps
        patterns, which = np.unique((positions >= 0) & (positions < length), axis=0, return_inverse=True)
        inside.append(patterns)
        classes.append(which.reshape(-1))
    if not error.any():
        return np.full((1, layer.shape[0]), layer.window, np.int32), np.zeros((height, width), np.int64)
    padded = ~(inside[0][:, None, :, None] & inside[1][None, :, None, :])  # [row class, column class, kh, kw]
    base = layer.window + np.einsum("rchw,ohw->rco", padded.astype(np.int64), error)
    which = classes[0][:, None] * inside[1].shape[0] + classes[1][None, :]
    return np.ascontiguousarray(base.reshape(-1, layer.shape[0]), np.int32), which


def pixel_table(
    image: PackedImage,
    classes: NDArray[np.int64],
    target: PackedImage | None,
    order: Callable[[int, int], NDArray[Any]],
    tile: int,
    rows: int = 1,
) -> NDArray[np.int32]:
    """Return the pixel table int32 ``[pixels, PixelWord.SIZE]``, ``tile`` pixels a tile.

    The counts of a pixel take ``rows`` rows of a tile.
    ``order(height, width)`` gives the output pixels in the order in which tiles hold them, −1 for an empty place.
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
