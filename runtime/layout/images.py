"""Packed images: the signs of a layer's input as bits, with the pads of the layer stored around them.

A window never leaves the image::

    image   [top + H + bottom][left + W + right][groups][group bytes]

:data:`BYTES` keeps eight channels in a byte; :data:`WORDS` does so too and fills whole words of 32 bits;
:data:`NIBBLES` keeps four channels in a byte as 2 · nibble, and 32 for a zero-padded nibble (an index into the tables
of the LUT kernels). :data:`SLICES` keeps eight channels in a byte and all groups of a pixel side by side, as one.
All functions here run once per model or shape.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bits import count_ones, pack_signs
from ..intake.model import BinaryLayer
from .memory import aligned

__all__ = [
    "BYTES",
    "NIBBLES",
    "SLICES",
    "VECTOR",
    "WORDS",
    "ImageFormat",
    "PackedImage",
    "decode_image",
    "encode_image",
    "new_image",
]


@dataclass(frozen=True)
class ImageFormat:
    """``per_byte`` channels lie in a byte; a group of channels takes a multiple of ``granule`` bytes.

    ``sliced``: all groups lie side by side as if they were one, which takes a power of two bytes or whole vectors.
    """

    per_byte: int
    granule: int
    sliced: bool = False

    def groups(self, layer: BinaryLayer) -> tuple[int, int]:
        """Return the groups that lie apart in a pixel and the channels of each."""
        return (1, layer.channels) if self.sliced else (layer.group, layer.shape[1])

    def group_bytes(self, channels: int) -> int:
        """Return the bytes of one group of ``channels`` channels of a pixel."""
        size = -(-channels // (self.per_byte * self.granule)) * self.granule
        if not self.sliced:
            return size
        return -(-size // VECTOR) * VECTOR if size > VECTOR else 1 << (size - 1).bit_length()

    def pixel_bytes(self, layer: BinaryLayer) -> int:
        """Return the bytes of a pixel of the layer's input, all groups."""
        groups, channels = self.groups(layer)
        return groups * self.group_bytes(channels)

    def encode(self, signs: NDArray[np.int8]) -> NDArray[np.uint8]:
        """Pack signs ``[..., channels]`` to ``[..., group bytes]`` without the factor 2 of nibble images."""
        return self.widen(pack_signs(signs), signs.shape[-1])

    def widen(self, packed: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
        """Bring packed signs of ``channels`` channels (bits.py) to ``[..., group bytes]``; they are not unpacked."""
        if self.per_byte == 4:
            packed = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
        missing = self.group_bytes(channels) - packed.shape[-1]
        return np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, missing)]) if missing else packed

    def pad_bytes(self, channels: int, pad_value: int) -> NDArray[np.uint8]:
        """Return the bytes of one group of a padded position."""
        pattern = self.encode(np.full(channels, 1 if pad_value == 1 else -1, np.int8))
        if self.per_byte == 4:
            pattern *= 2
            if pad_value == 0:
                pattern[: channels // 4] = 32  # the row that counts two of four: it adds exactly nothing
        return pattern

    def pad_error(self, layer: BinaryLayer) -> NDArray[np.int64]:
        """Return ``[O, kh, kw]``: what a padded tap should add to the accumulator minus what the stored bytes add."""
        channels = layer.shape[1]
        exact = channels // 4 * 4 if self.per_byte == 4 else 0
        if layer.pad_value != 0 or not any(layer.pads) or exact == channels:
            return np.zeros((layer.shape[0], *layer.shape[2:]), np.int64)
        acting = layer.packed[..., exact // 8 :]
        if exact % 8:
            acting = acting & np.uint8(0xF0)
        return 2 * count_ones(acting) - (channels - exact)  # these channels act as −1


BYTES = ImageFormat(per_byte=8, granule=1)
WORDS = ImageFormat(per_byte=8, granule=4)
NIBBLES = ImageFormat(per_byte=4, granule=2)
SLICES = ImageFormat(per_byte=8, granule=8, sliced=True)
VECTOR = 64  # bytes
_BEYOND = 8
"""Pixels behind an image that a tile with empty places may read."""


@dataclass(frozen=True)
class PackedImage:
    """The packed input of a layer for ``count`` images: ``data`` uint8 ``[count, planes · image bytes]``.

    With two ``planes`` the value of a channel is a level from 0 to 3, of which plane p holds bit p.
    """

    layer: BinaryLayer
    format: ImageFormat
    height: int
    width: int
    data: NDArray[np.uint8]
    planes: int = 1

    @property
    def plane_bytes(self) -> int:
        """Bytes of one image, or of one plane of it where it has several: they lie one behind the other."""
        return int(self.data.shape[1]) // self.planes

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


def new_image(
    layer: BinaryLayer, form: ImageFormat, height: int, width: int, count: int, planes: int = 1
) -> PackedImage:
    """Return an image of pad positions; packing overwrites the inside, the border stays."""
    groups, channels = form.groups(layer)
    pattern = np.tile(form.pad_bytes(channels, layer.pad_value), groups)
    top, left, bottom, right = layer.pads
    pixels = planes * (height + top + bottom) * (width + left + right)
    size = pixels * pattern.size
    data = aligned(count * size + max(layer.strides[1], _BEYOND) * pattern.size + 64)[: count * size].reshape(
        count, size
    )
    data[:] = np.tile(pattern, pixels)
    return PackedImage(layer, form, height, width, data, planes)


def decode_image(image: PackedImage, index: int, plane: int = 0) -> NDArray[np.int8]:
    """Return the signs ``[C, H, W]`` of one plane of one image without its border."""
    _, group_channels = image.format.groups(image.layer)
    pixels = _inside(image, index, plane)
    shift = 1 if image.format.per_byte == 4 else 0
    bits = pixels[..., None] >> (np.arange(image.format.per_byte, dtype=np.uint8) + shift) & 1
    signs = bits.reshape(*bits.shape[:3], -1)[..., :group_channels].reshape(image.height, image.width, -1)
    return np.ascontiguousarray(np.moveaxis(signs, -1, 0)).astype(np.int8) * np.int8(2) - np.int8(1)


def encode_image(image: PackedImage, index: int, signs: NDArray[np.int8]) -> None:
    """Put signs ``[C, H, W]`` into one image, as packing does; its border stays. Into planes go ``[3 · C, H, W]``."""
    if image.planes == 1:
        _put(image, index, 0, signs)
        return
    levels = np.count_nonzero(signs.reshape(3, -1, *signs.shape[1:]) > 0, axis=0)
    for plane in range(image.planes):
        _put(image, index, plane, np.where(levels >> plane & 1, 1, -1).astype(np.int8))


def _put(image: PackedImage, index: int, plane: int, signs: NDArray[np.int8]) -> None:
    groups, group_channels = image.format.groups(image.layer)
    last = np.moveaxis(signs, 0, -1).reshape(image.height, image.width, groups, group_channels)
    packed = image.format.encode(last)
    _inside(image, index, plane)[:] = packed * np.uint8(2) if image.format.per_byte == 4 else packed


def _inside(image: PackedImage, index: int, plane: int) -> NDArray[np.uint8]:
    """Return the bytes of one plane of one image without its border, ``[H, W, groups, group bytes]``, as a view."""
    layer, (groups, channels) = image.layer, image.format.groups(image.layer)
    rows = image.data[index].reshape(image.planes, -1, image.row_bytes)[plane]
    rows = rows[layer.pads[0] : layer.pads[0] + image.height]
    pixels = rows.reshape(image.height, -1, groups, image.format.group_bytes(channels))
    inside: NDArray[np.uint8] = pixels[:, layer.pads[1] : layer.pads[1] + image.width]
    return inside
