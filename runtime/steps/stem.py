"""Binding the exact stem to buffers: the choice of its kernel, the tables, and the two steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..intake.windows import Window
from ..kernels.entry import entry_address, entry_point
from ..kernels.registry import SUMS, SumsKernel
from ..layout.images import PackedImage
from ..layout.memory import aligned
from ..layout.words import StemWord
from ..machine.library import usable_features
from ..plan.stem import Stem
from .conv import Step

__all__ = ["PreparedStem", "choose_sums", "prepare_stem", "stem_size", "stem_steps"]

_NO_POOL = Window((1, 1), (1, 1), (0, 0, 0, 0))


@dataclass(frozen=True)
class PreparedStem:
    """A stem with its kernel, its weights (a row of bytes a block of channels) and its constants."""

    stem: Stem
    kernel: SumsKernel
    weights: NDArray[np.uint8]
    steps: int
    constants: dict[StemWord, NDArray[np.float32]]


def choose_sums(stem: Stem) -> SumsKernel:
    """Return the kernel of the stem's sums."""
    return next(kernel for kernel in SUMS if kernel.features <= usable_features() and kernel.takes(stem.weight))


def prepare_stem(stem: Stem) -> PreparedStem:
    """Lay out the weights: steps of neighbours in a window row, zeros at an odd end, absent channels zero."""
    kernel = choose_sums(stem)
    outputs, channels, height, width = stem.weight.shape
    rows = stem.weight.transpose(0, 2, 3, 1).reshape(outputs, height, width * channels)
    blocks, steps = -(-outputs // kernel.lanes), -(-width * channels // kernel.run)
    full = np.zeros((blocks * kernel.lanes, height, kernel.run * steps), kernel.weight_dtype)
    full[:outputs, :, : width * channels] = rows
    ordered = full.reshape(blocks, kernel.lanes, height, steps, kernel.run).transpose(0, 2, 3, 1, 4)
    parts = [np.ascontiguousarray(ordered).reshape(blocks, -1).view(np.uint8)]
    if kernel.raw:
        start = np.zeros(blocks * kernel.lanes, np.int32)
        start[:outputs] = -np.einsum("ochw,c->o", stem.weight.astype(np.int64), stem.zero_point.astype(np.int64))
        parts.insert(0, start.reshape(blocks, -1).view(np.uint8))
    weights = np.concatenate(parts, axis=1)
    placed = aligned(weights.size).reshape(weights.shape)
    placed[:] = weights
    constants = {StemWord.SCALE: stem.scale, StemWord.BIAS: stem.bias}
    if stem.bits_for is not None:
        constants[StemWord.THRESHOLD] = stem.bits_for.threshold
    ready = {word: np.ascontiguousarray(value, np.float32) for word, value in constants.items()}
    return PreparedStem(stem, kernel, placed, steps, ready)


def stem_size(stem: Stem, height: int, width: int) -> tuple[int, int]:
    """Return output height and width for an image of this size."""
    return (stem.pool or _NO_POOL).output_size(*stem.window.output_size(height, width))


def stem_steps(
    ready: PreparedStem, pixels: NDArray[np.uint8], target: PackedImage | None, out: NDArray[np.float32] | None
) -> list[Step]:
    """Bind the stem to images uint8 ``[count, H, W, C]``, a packed and a float32 output (or None)."""
    stem, kernel, pool = ready.stem, ready.kernel, ready.stem.pool or _NO_POOL
    _, height, width, channels = pixels.shape
    top, left, bottom, right = stem.window.pads
    row, size = (width + left + right) * channels, np.dtype(kernel.dtype).itemsize
    image = aligned((height + top + bottom) * row + 64, kernel.dtype)  # the padding stays as it is made here
    if kernel.raw:
        image[: (height + top + bottom) * row] = np.tile(stem.zero_point, (height + top + bottom) * (row // channels))
    zero = np.tile(stem.zero_point, width)
    sums_height, sums_width = stem.window.output_size(height, width)
    out_height, out_width = pool.output_size(sums_height, sums_width)
    blocks = len(ready.weights)
    sums_pixel = 4 * blocks * kernel.lanes
    sums_row = -(-sums_width // kernel.pixels) * kernel.pixels * sums_pixel
    ring_step = pool.kernel[0] * sums_row
    ring = aligned(out_height * ring_step)
    words = np.zeros(StemWord.SIZE, np.int64)
    values: dict[StemWord, Any] = {
        StemWord.SOURCE: pixels.ctypes.data, StemWord.SOURCE_STRIDE: pixels.strides[0],
        StemWord.SOURCE_ROW: width * channels,
        StemWord.ZERO: zero.ctypes.data, StemWord.IMAGE: image.ctypes.data, StemWord.ROW: size * row,
        StemWord.INSIDE: image.ctypes.data + size * (top * row + left * channels),
        StemWord.PIXEL: size * stem.window.strides[1] * channels, StemWord.STRIDE_Y: stem.window.strides[0],
        StemWord.KERNEL_HEIGHT: stem.window.kernel[0], StemWord.KERNEL_STEPS: ready.steps,
        StemWord.WEIGHT: ready.weights.ctypes.data, StemWord.WEIGHT_STRIDE: ready.weights.shape[1],
        StemWord.BLOCKS: blocks,
        StemWord.WIDTH: sums_width, StemWord.HEIGHT: sums_height,
        StemWord.RING: ring.ctypes.data, StemWord.RING_STRIDE: ring_step,
        StemWord.SUMS: entry_address(entry_point(kernel.module, kernel.symbol)),
        StemWord.SUMS_PIXEL: sums_pixel, StemWord.SUMS_ROW: sums_row,
        StemWord.POOL_HEIGHT: pool.kernel[0], StemWord.POOL_WIDTH: pool.kernel[1],
        StemWord.POOL_STRIDE_Y: pool.strides[0], StemWord.POOL_STRIDE_X: pool.strides[1],
        StemWord.POOL_TOP: pool.pads[0], StemWord.POOL_LEFT: pool.pads[1],
        StemWord.CHANNELS: stem.channels_out, StemWord.OUT_WIDTH: out_width,
    }  # fmt: skip
    values |= {word: value.ctypes.data for word, value in ready.constants.items()}
    if out is not None:
        values |= {StemWord.OUT: out.ctypes.data, StemWord.OUT_STRIDE: out.strides[0]}
    if target is not None:
        values |= {
            StemWord.BITS: target.data.ctypes.data + target.origin,
            StemWord.BITS_STRIDE: 0 if len(target.data) == 1 else target.data.strides[0],
            StemWord.BITS_ROW: target.row_bytes,
            StemWord.BITS_PIXEL: target.pixel_bytes,
            StemWord.NIBBLES: target.format.per_byte == 4,
        }
    for word, value in values.items():
        words[word] = value
    keep = [ready, pixels, target, out, image, zero, ring]
    return [
        Step(f"{stem.name}:{kernel.before}", entry_point(kernel.module, kernel.before), words, height, keep),
        Step(stem.name, entry_point("stem", "stem_rows"), words, out_height, keep),
    ]
