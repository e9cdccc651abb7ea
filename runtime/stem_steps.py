"""Binding the exact stem to buffers: the tables and the two steps of kernel_stem."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .descriptor import Stem as Word
from .kernels import entry_point
from .layout import PackedImage, aligned
from .stems import Stem
from .steps import Step
from .windows import Window

__all__ = ["PreparedStem", "prepare_stem", "stem_size", "stem_steps"]

_LANES = 32  # output channels of a tile, see kernel_stem
_NO_POOL = Window((1, 1), (1, 1), (0, 0, 0, 0))


@dataclass(frozen=True)
class PreparedStem:
    """A stem with its weights as pairs int16 ``[blocks, kh, pairs, 32, 2]`` and its constants."""

    stem: Stem
    weights: NDArray[np.int16]
    constants: dict[Word, NDArray[np.float32]]


def prepare_stem(stem: Stem) -> PreparedStem:
    """Lay out the weights: pairs of neighbours in a window row, a zero at an odd end, absent channels zero."""
    outputs, channels, height, width = stem.weight.shape
    rows = stem.weight.transpose(0, 2, 3, 1).reshape(outputs, height, width * channels)
    blocks, pairs = -(-outputs // _LANES), -(-width * channels // 2)
    full = np.zeros((blocks * _LANES, height, 2 * pairs), np.int16)
    full[:outputs, :, : width * channels] = rows
    ordered = full.reshape(blocks, _LANES, height, pairs, 2).transpose(0, 2, 3, 1, 4)
    weights = aligned(ordered.size, np.int16).reshape(ordered.shape)
    weights[:] = ordered
    constants = {Word.SCALE: stem.scale, Word.BIAS: stem.bias}
    if stem.bits_for is not None:
        constants[Word.THRESHOLD] = stem.bits_for.threshold
    return PreparedStem(stem, weights, {w: np.ascontiguousarray(v, np.float32) for w, v in constants.items()})


def stem_size(stem: Stem, height: int, width: int) -> tuple[int, int]:
    """Return output height and width for an image of this size."""
    return (stem.pool or _NO_POOL).output_size(*stem.window.output_size(height, width))


def stem_steps(
    ready: PreparedStem, pixels: NDArray[np.uint8], target: PackedImage | None, out: NDArray[np.float32] | None
) -> list[Step]:
    """Bind the stem to images uint8 ``[count, H, W, C]``, a packed and a float32 output (or None)."""
    stem, pool = ready.stem, ready.stem.pool or _NO_POOL
    _, height, width, channels = pixels.shape
    top, left, bottom, right = stem.window.pads
    row = (width + left + right) * channels
    image = aligned((height + top + bottom) * row + 64, np.int16)  # zeros: the padding stays
    zero = np.tile(stem.zero_point, width)
    sums_height, sums_width = stem.window.output_size(height, width)
    out_height, out_width = pool.output_size(sums_height, sums_width)
    blocks = ready.weights.shape[0]
    ring_rows = pool.kernel[0] + 1
    ring = aligned(out_height * ring_rows * sums_width * blocks * _LANES, np.int32)
    words = np.zeros(Word.SIZE, np.int64)
    values: dict[Word, Any] = {
        Word.SOURCE: pixels.ctypes.data, Word.SOURCE_STEP: pixels.strides[0], Word.SOURCE_ROW: width * channels,
        Word.ZERO: zero.ctypes.data, Word.IMAGE: image.ctypes.data, Word.ROW: 2 * row,
        Word.INSIDE: image.ctypes.data + 2 * (top * row + left * channels),
        Word.PIXEL: 2 * stem.window.strides[1] * channels, Word.STRIDE_Y: stem.window.strides[0],
        Word.KERNEL_HEIGHT: stem.window.kernel[0], Word.KERNEL_PAIRS: ready.weights.shape[2],
        Word.WEIGHT: ready.weights.ctypes.data, Word.WEIGHT_STEP: ready.weights[0].nbytes, Word.BLOCKS: blocks,
        Word.WIDTH: sums_width, Word.HEIGHT: sums_height,
        Word.RING: ring.ctypes.data, Word.RING_STEP: 4 * ring_rows * sums_width * blocks * _LANES,
        Word.POOL_HEIGHT: pool.kernel[0], Word.POOL_WIDTH: pool.kernel[1],
        Word.POOL_STRIDE_Y: pool.strides[0], Word.POOL_STRIDE_X: pool.strides[1],
        Word.POOL_TOP: pool.pads[0], Word.POOL_LEFT: pool.pads[1],
        Word.CHANNELS: stem.channels_out, Word.OUT_WIDTH: out_width,
    }  # fmt: skip
    values |= {word: value.ctypes.data for word, value in ready.constants.items()}
    if out is not None:
        values |= {Word.OUT: out.ctypes.data, Word.OUT_STEP: out.strides[0]}
    if target is not None:
        values |= {
            Word.BITS: target.data.ctypes.data + target.origin,
            Word.BITS_STEP: 0 if len(target.data) == 1 else target.data.strides[0],
            Word.BITS_ROW: target.row_bytes,
            Word.BITS_PIXEL: target.pixel_bytes,
            Word.NIBBLES: target.format.per_byte == 4,
        }
    for word, value in values.items():
        words[word] = value
    keep = [ready, pixels, target, out, image, zero, ring]
    return [
        Step(f"{stem.name}:centre", entry_point("kernel_stem", "centre_pixels"), words, height, keep),
        Step(stem.name, entry_point("kernel_stem", "stem_rows"), words, out_height, keep),
    ]
