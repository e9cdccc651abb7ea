"""The exact stem, prepared and bound: the pixels with a border, then rows of sums, pooled, scaled and packed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..intake.windows import Window
from ..kernels.entry import entry_address, entry_point
from ..kernels.sums import SumsKernel
from ..layout.images import PackedImage
from ..layout.memory import aligned
from ..layout.words import StemWord
from ..plan.integers import IntegerConv
from ..plan.parts import Planned
from ..plan.stem import Stem
from .buffers import Buffers
from .step import Bound, Step, descriptor, image_stride

__all__ = ["PreparedStem"]

_NO_POOL = Window((1, 1), (1, 1), (0, 0, 0, 0))
_NAN = "it reads NaN, which is no integer of eight bits; feed smaller values, or look for weights that are no numbers"
_Words = dict[StemWord, int | NDArray[Any] | None]


@dataclass(frozen=True, eq=False)
class PreparedStem:
    """A stem with its weights, a row of bytes for each block of channels, and its constants.

    ``run_steps`` is how often a kernel takes its run of neighbours from a window row, ``column_steps`` how often from
    the last column, one number of each row.
    """

    planned: Planned[Stem] | Planned[IntegerConv]
    weights: NDArray[np.uint8]
    run_steps: int
    column_steps: int
    constants: _Words

    @classmethod
    def of(cls, planned: Planned[Stem] | Planned[IntegerConv]) -> "PreparedStem":
        """Lay out the weights: runs of neighbours in a window row, zeros at an odd end, absent channels zero.

        Where a row of a window leaves one number, the last column may be laid out in runs of its own.
        """
        stem, kernel = planned.part, planned.kernel
        outputs, channels, height, width = stem.weight.shape
        rows = stem.weight.transpose(0, 2, 3, 1).reshape(outputs, height, width * channels)
        blocks, column_steps = -(-outputs // kernel.lanes), 0
        parts = []
        if kernel.column and width * channels % kernel.run == 1:
            column_steps = -(-height // kernel.run)
            parts.append(_runs(rows[:, None, :, -1], kernel))
            rows = rows[:, :, :-1]
        parts.insert(0, _runs(rows, kernel))
        if kernel.raw:
            start = np.zeros(blocks * kernel.lanes, np.int32)
            zero = stem.zero_point.astype(np.int64) - kernel.less
            start[:outputs] = -np.einsum("ochw,c->o", stem.weight.astype(np.int64), zero)
            parts.insert(0, start.reshape(blocks, -1).view(np.uint8))
        size = sum(part.shape[1] for part in parts)
        weights = aligned(blocks * size).reshape(blocks, size)
        np.concatenate(parts, axis=1, out=weights)
        constants: _Words = {StemWord.SCALE: stem.scale, StemWord.BIAS: stem.bias}
        if planned.bits_for is not None:
            threshold = planned.bits_for.part.threshold
            constants |= {StemWord.THRESHOLD: threshold.value, StemWord.TURN: threshold.turn}
        constants = {word: np.ascontiguousarray(value, np.float32) for word, value in constants.items()}
        return cls(planned, weights, -(-rows.shape[2] // kernel.run), column_steps, constants)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the two steps. Raises ModelError for images that are smaller than the window."""
        planned, stem = self.planned, self.planned.part
        if isinstance(stem, Stem):
            pixels: NDArray[Any] = buffers.pixels(stem.source, stem.weight.shape[1], stem.name)
        else:
            pixels = buffers.floats(stem.source, stem.rank, stem.weight.shape[1], stem.name)
        batch = len(pixels)
        sums = stem.window.output_size(*pixels.shape[1:3])
        height, width = (stem.pool or _NO_POOL).output_size(*sums)
        if min(*sums, height, width) < 1:
            raise ModelError(f"node {stem.name}: an image of {pixels.shape[1:3]} is smaller than its window")
        buffers.reserve(self._scratch_bytes(pixels, height), stem.name)
        target = buffers.new_bits(planned, height, width, batch)
        out = buffers.new_floats(planned, (batch, height, width, stem.channels_out)) if planned.stored else None
        return Bound(self._steps(pixels, height, width, target, out), batch)

    def _scratch_bytes(self, pixels: NDArray[Any], rings: int) -> int:
        """Return the bytes of the image with its border, twice as it is made, and of the rings of sums."""
        stem, kernel, pool = self.planned.part, self.planned.kernel, self.planned.part.pool or _NO_POOL
        _, height, width, channels = pixels.shape
        top, left, bottom, right = stem.window.pads
        image = (height + top + bottom) * (width + left + right) * channels * np.dtype(kernel.dtype).itemsize
        row = (stem.window.output_size(height, width)[1] + kernel.pixels) * 4 * len(self.weights) * kernel.lanes
        return int(2 * image + rings * pool.kernel[0] * row)

    def _steps(
        self,
        pixels: NDArray[Any],
        height: int,
        width: int,
        target: PackedImage | None,
        out: NDArray[np.float32] | None,
    ) -> list[Step]:
        """Return the steps over ``pixels`` ``[N, H, W, C]``, uint8 or floats, for an output of this size."""
        stem, kernel = self.planned.part, self.planned.kernel
        values = {**self._image_words(pixels), **self._sum_words(pixels, height), **self._output_words(target, out)}
        values |= {StemWord.CHANNELS: stem.channels_out, StemWord.OUT_WIDTH: width, **self.constants}
        words, keep = descriptor(StemWord, values), [values, self, target]
        if isinstance(stem, Stem):
            module, symbol, fed, nan = "stem_image", kernel.before, (int(StemWord.SOURCE), stem.source), None
        else:
            module, symbol, fed, nan = "place_floats", "place_floats", None, (int(StemWord.NAN), _NAN)
        before, rows = entry_point(module, symbol), entry_point("stem", "stem_rows")
        return [
            Step(f"{stem.name}:{symbol}", before, words, pixels.shape[1], keep, fed, nan),
            Step(stem.name, rows, words, height, keep, fed),
        ]

    def _image_words(self, pixels: NDArray[Any]) -> _Words:
        """Return the words of the image with its border, which stays as it is made here."""
        stem, kernel = self.planned.part, self.planned.kernel
        _, height, width, channels = pixels.shape
        top, left, bottom, right = stem.window.pads
        rows, columns = height + top + bottom, width + left + right
        item = np.dtype(kernel.dtype).itemsize
        image = aligned(rows * columns * channels + 64, kernel.dtype)
        if kernel.raw:
            image[: rows * columns * channels] = np.tile(stem.zero_point - kernel.less, rows * columns)
        return {
            StemWord.SOURCE: pixels,
            StemWord.SOURCE_STRIDE: pixels.strides[0],
            StemWord.INVERSE: None if isinstance(stem, Stem) else np.full(1, stem.inverse),
            StemWord.SOURCE_ROW: width * channels,
            StemWord.ZERO: np.tile(stem.zero_point, width),
            StemWord.IMAGE: image,
            StemWord.INSIDE: image.ctypes.data + item * (top * columns + left) * channels,
            StemWord.ROW: item * columns * channels,
            StemWord.PIXEL: item * stem.window.strides[1] * channels,
            StemWord.STRIDE_Y: stem.window.strides[0],
        }

    def _sum_words(self, pixels: NDArray[Any], rings: int) -> _Words:
        """Return the words of the sums: of their kernel, and of a ring of rows of sums for each row of the output."""
        stem, kernel, pool = self.planned.part, self.planned.kernel, self.planned.part.pool or _NO_POOL
        height, width = stem.window.output_size(*pixels.shape[1:3])
        pixel = 4 * len(self.weights) * kernel.lanes
        row = -(-width // kernel.pixels) * kernel.pixels * pixel
        ring = pool.kernel[0] * row
        return {
            StemWord.KERNEL_HEIGHT: stem.window.kernel[0],
            StemWord.KERNEL_STEPS: self.run_steps,
            StemWord.COLUMN_STEPS: self.column_steps,
            StemWord.WEIGHT: self.weights,
            StemWord.WEIGHT_STRIDE: self.weights.shape[1],
            StemWord.BLOCKS: len(self.weights),
            StemWord.HEIGHT: height,
            StemWord.WIDTH: width,
            StemWord.SUMS: entry_address(entry_point(kernel.module, kernel.symbol)),
            StemWord.SUMS_PIXEL: pixel,
            StemWord.SUMS_ROW: row,
            StemWord.RING: aligned(rings * ring),
            StemWord.RING_STRIDE: ring,
            StemWord.POOL_HEIGHT: pool.kernel[0],
            StemWord.POOL_WIDTH: pool.kernel[1],
            StemWord.POOL_STRIDE_Y: pool.strides[0],
            StemWord.POOL_STRIDE_X: pool.strides[1],
            StemWord.POOL_TOP: pool.pads[0],
            StemWord.POOL_LEFT: pool.pads[1],
        }

    def _output_words(self, target: PackedImage | None, out: NDArray[np.float32] | None) -> _Words:
        words: _Words = {StemWord.OUT: out, StemWord.OUT_STRIDE: None if out is None else out.strides[0]}
        if target is not None:
            words |= {
                StemWord.BITS: target.data.ctypes.data + target.origin,
                StemWord.BITS_STRIDE: image_stride(target.data),
                StemWord.BITS_ROW: target.row_bytes,
                StemWord.BITS_PIXEL: target.pixel_bytes,
                StemWord.NIBBLES: target.format.per_byte == 4,
            }
        return words


def _runs(rows: NDArray[np.int16], kernel: SumsKernel) -> NDArray[np.uint8]:
    """Return rows of weights ``[O, rows, numbers]`` as bytes ``[blocks, …]``: rows, runs, lanes, neighbours."""
    outputs, height, numbers = rows.shape
    blocks, steps = -(-outputs // kernel.lanes), -(-numbers // kernel.run)
    full = np.zeros((blocks * kernel.lanes, height, kernel.run * steps), kernel.weight_dtype)
    full[:outputs, :, :numbers] = rows
    ordered = full.reshape(blocks, kernel.lanes, height, steps, kernel.run).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(ordered).reshape(blocks, -1).view(np.uint8)
