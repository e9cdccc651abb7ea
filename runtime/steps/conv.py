"""The steps of a convolution: what its kernel makes of the packed image first, and the kernel itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.entry import entry_point
from ..layout.images import PackedImage, decode_image
from ..layout.intervals import circular
from ..layout.memory import aligned
from ..layout.slices import cells, interval_planes, limit_planes, one_bit_an_output, taps
from ..layout.tables import border_bases, pieces, pixel_table, plane_rows
from ..layout.words import Constant, ConvWord, Flag
from .buffers import Buffers, check_offsets, shared
from .step import Step, descriptor, image_stride, pixel_stride
from .weights import PackedLayer

__all__ = ["ConvStep", "conv_steps"]

_PIXEL_TABLE = 64
"""Bytes that an entry of the pixel table and the numbers that it is made of take, about."""

_CLASS = 24
"""Bytes of a border class for each output channel: its base in the three forms in which it is computed and kept."""

_Words = Mapping[ConvWord, int | NDArray[Any] | None]


@dataclass(frozen=True, eq=False, kw_only=True)
class ConvStep(Step):
    """The step that counts; it can also be run for what it read and for what it summed."""

    packed: PackedLayer
    image: PackedImage

    def counting_only(self) -> Step:
        """Return the step without an epilogue: it counts, and writes nothing."""
        words = self.words.copy()
        words[ConvWord.FLAGS] = 0
        return Step(self.name, self.call, words, self.work, [self])

    def signs(self, image: int) -> NDArray[np.int8]:
        """Return the signs ``[C, H, W]`` that lie in the input."""
        index, planes = image if len(self.image.data) > 1 else 0, range(self.image.planes)
        if len(planes) == 1:
            return decode_image(self.image, index)
        bits = [decode_image(self.image, index, plane) > 0 for plane in planes]
        level = bits[0] + 2 * bits[1].astype(np.int8)
        limits = self.packed.unit.threshold.value.reshape(self.packed.unit.copies, -1)
        rank = np.argsort(np.argsort(limits, axis=0, kind="stable"), axis=0)  # the lowest is reached first; NaN never
        reached = level > rank[..., None, None]
        return np.where(reached, 1, -1).astype(np.int8).reshape(-1, *level.shape[1:])

    def accumulators(self, image: int) -> NDArray[np.int32]:
        """Count once more with an epilogue that stores the accumulators as float32 (exact); return them, ``[O, H, W]``.

        The signs must lie in the input, as they do just after :meth:`run`.
        """
        layer, thresholds = self.packed.layer, self.packed.planned.thresholds
        outputs = layer.shape[0]
        falling = np.zeros(outputs, np.bool_) if thresholds is None else thresholds.falling
        identity = self.packed.with_constants({Constant.SCALE: np.where(falling, -2, 2).astype(np.float32)})
        out = np.zeros((*layer.output_size(self.image.height, self.image.width), outputs), np.float32)
        words = self.words.copy()
        words[ConvWord.BLOCKS], words[ConvWord.FLAGS] = identity.blocks.ctypes.data, int(Flag.STORE)
        words[ConvWord.OUT], words[ConvWord.OUT_STRIDE] = out.ctypes.data, 0
        words[ConvWord.OUT_PIXEL] = 4 * outputs
        Step(self.name, self.call, words, self.work, [self, identity]).run(image)
        return np.moveaxis(out, -1, 0).astype(np.int32)


@dataclass(frozen=True)
class _Window:
    """How a kernel sees its input: the image it reads, the runs of bytes under a window, rows of counts a pixel."""

    image: PackedImage
    pieces: NDArray[np.int64]
    rows: int


def conv_steps(
    packed: PackedLayer,
    image: PackedImage,
    target: PackedImage | None,
    out: NDArray[np.float32] | None,
    residual: NDArray[np.float32] | None,
    buffers: Buffers,
) -> list[Step]:
    """Bind a unit's convolution, the last step.

    ``image`` is its packed input, ``target`` its packed output or None, ``out`` and ``residual`` float32
    ``[N, H, W, O]`` or None, perhaps one buffer.
    """
    unit, kernel = packed.unit, packed.kernel
    fed = unit.residual if unit.residual is not None and buffers.fed(unit.residual, unit.rank) else None
    copy_bytes, copy_stride = (0, 0) if kernel.before is None else kernel.before.scratch(image)
    height, width = packed.layer.output_size(image.height, image.width)
    buffers.reserve(
        copy_bytes + _PIXEL_TABLE * kernel.planes * height * width + _class_bytes(packed, height, width), unit.name
    )
    window = _window(packed, image, copy_stride)
    check_offsets(window.image.row_bytes * (image.height + sum(packed.layer.pads[::2])), unit.name)
    base, classes = border_bases(image, packed.layer, packed.pad_error)
    base *= 2**kernel.planes - 1  # what the bits of a number count, together
    pixels = pixel_table(window.image, classes, target, kernel.order, kernel.pixels, window.rows)
    tiles = len(pixels) // kernel.pixels
    pixels = shared(pixels if image.planes == 1 else plane_rows(pixels, image.plane_bytes))
    values: dict[ConvWord, int | NDArray[Any] | None] = {
        ConvWord.ACT: image.data,
        ConvWord.ACT_STRIDE: image_stride(image.data),
        ConvWord.ACT_ROW: image.row_bytes,
        ConvWord.ACT_PIXEL: image.pixel_bytes,
        ConvWord.PIXELS: pixels,
        ConvWord.TILES: tiles,
        ConvWord.PIECES: window.pieces,
        ConvWord.PIECE_COUNT: len(window.pieces),
        ConvWord.BLOCKS: packed.blocks,
        ConvWord.BASE: (base / 2).astype(np.float32),
        ConvWord.RESIDUAL: residual,
        ConvWord.RESIDUAL_STRIDE: image_stride(residual),
        ConvWord.OUT: out,
        ConvWord.OUT_STRIDE: image_stride(out),
        ConvWord.OUT_PIXEL: 0 if out is None else pixel_stride(out),
        ConvWord.CHANNELS: unit.channels_out,
        ConvWord.FLAGS: _flags(packed),
        ConvWord.TABLE: None if kernel.table is None else kernel.table(),
        ConvWord.INPUTS: packed.layer.shape[1],
        ConvWord.CELLS: int(math.log2(window.rows)),
    }
    values |= _bits_words(target)
    values |= _limit_words(packed, base)
    if copy_bytes:
        values |= _copy_words(packed, image, window, copy_bytes, copy_stride)
    words, keep = descriptor(ConvWord, values), [values, packed, image, target]
    steps = []
    if kernel.before is not None and copy_bytes:
        call = entry_point(kernel.before.module, kernel.before.symbol)
        # A stride leads from plane to plane: only the first is gone through then.
        rows = (image.plane_bytes if copy_stride else image.data.shape[1]) // image.row_bytes
        steps.append(Step(f"{unit.name}:{kernel.before.symbol}", call, words, rows, keep))
    conv = ConvStep(
        name=unit.name,
        call=entry_point(kernel.module, kernel.symbol),
        words=words,
        work=tiles * len(packed.blocks),
        keep=keep,
        fed=(int(ConvWord.RESIDUAL), fed) if fed else None,
        packed=packed,
        image=image,
    )
    return [*steps, conv]


def _class_bytes(packed: PackedLayer, height: int, width: int) -> int:
    """Return the bytes that the border classes of an output of this size take at most, and the numbers behind them."""
    if not packed.pad_error.any():
        return 0
    layer = packed.layer
    classes = layer.shape[0]
    for axis, size in enumerate((height, width)):
        beside = sum(-(-pad // layer.strides[axis]) for pad in layer.pads[axis::2])  # pixels that see a border
        classes *= min(size, 1 + beside)
    return _CLASS * classes + 8 * layer.window * (height + width)


def _window(packed: PackedLayer, image: PackedImage, copy_stride: int) -> _Window:
    kernel = packed.kernel
    if not kernel.format.sliced:
        return _Window(image, pieces(image, kernel.piece, kernel.grain), 1)
    copy = one_bit_an_output(image)
    return _Window(copy, taps(copy, packed.layer.shape[1], copy_stride), cells(copy))


def _flags(packed: PackedLayer) -> int:
    """Return what the epilogue has to do; integer thresholds stand for all of it."""
    planned, unit = packed.planned, packed.unit
    if planned.thresholds is not None:
        return int(Flag.LIMITS)
    if planned.intervals is not None:
        return int(Flag.LIMITS | Flag.INTERVALS)
    needed = {
        Flag.RESIDUAL: unit.residual is not None,
        Flag.ACTIVATION: any(stage is not None for stage in (unit.shift_in, unit.slope, unit.shift_out)),
        Flag.RELU: unit.relu and unit.residual is not None,
        Flag.STORE: planned.stored,
        Flag.BITS: planned.bits_for is not None,
    }
    return sum(flag for flag, is_needed in needed.items() if is_needed)


def _bits_words(target: PackedImage | None) -> _Words:
    if target is None:
        return {}
    return {
        ConvWord.BITS: target.data.ctypes.data + target.origin,
        ConvWord.BITS_STRIDE: image_stride(target.data),
        ConvWord.NIBBLES: target.format.per_byte == 4,
    }


def _limit_words(packed: PackedLayer, base: NDArray[np.int32]) -> _Words:
    """Return the words of integer thresholds or intervals, told as limits of mismatches.

    The accumulator is base − 2 · mismatches, so it reaches a number where the mismatches are below a limit.
    """
    thresholds, intervals = packed.planned.thresholds, packed.planned.intervals
    if intervals is not None:
        upper, lower = (
            ((base - least) // 2 + 1).clip(0, packed.layer.window + 1) for least in (intervals.first, intervals.behind)
        )
        if packed.kernel.format.sliced:
            planes = interval_planes(lower, upper, intervals.inside, packed.layer)
            return {ConvWord.LIMITS: planes, ConvWord.LIMITS_STRIDE: planes.strides[0] // packed.unit.channels_out}
        both = circular(lower, upper, intervals.inside)
        return {ConvWord.LIMITS: both, ConvWord.WIDTHS: both.strides[0]}
    if thresholds is None:
        return {}
    limits: NDArray[Any] = np.ascontiguousarray((base - thresholds.values) // 2 + 1, np.int32)
    if packed.kernel.format.sliced:
        limits = limit_planes(limits, packed.layer)
    return {ConvWord.LIMITS: limits, ConvWord.LIMITS_STRIDE: limits.strides[0] // packed.unit.channels_out}


def _copy_words(packed: PackedLayer, image: PackedImage, window: _Window, size: int, stride: int) -> _Words:
    """Return the words of what the kernel makes of its input first, ``size`` bytes, and a buffer for that."""
    before = packed.kernel.before
    assert before is not None
    words: dict[ConvWord, int | NDArray[Any] | None] = {
        ConvWord.SCRATCH: aligned(size),
        ConvWord.SCRATCH_STRIDE: stride,
        ConvWord.SCRATCH_PIXEL: window.image.pixel_bytes,
    }
    if before.table is not None:
        table = before.table(image, stride)
        words |= {ConvWord.TABLE: table, ConvWord.GATHERS: len(table)}
    return words
