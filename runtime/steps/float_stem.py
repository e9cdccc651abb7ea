"""The float stem, prepared and bound: rows of the input in slots, rows of sums, stages, max-pool."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..intake.windows import Window
from ..kernels.entry import entry_address, entry_point
from ..layout.float_words import ChainWord, FloatStemWord
from ..layout.memory import aligned
from ..plan.float_stem import FloatStem, keeps_order
from ..plan.parts import Planned
from .buffers import Buffers
from .natives import constant_stages, pixels_per_block
from .step import NAN_IN_POOL, Bound, Step, descriptor, image_stride

__all__ = ["PreparedFloatStem"]

_LANES, _EIGHT = 16, 8
_TILE = 12
"""Pixels of the largest tile, which a last tile may read beyond a row."""

_Words = dict[FloatStemWord, int | NDArray[Any] | None]


@dataclass(frozen=True, eq=False)
class PreparedFloatStem:
    """A stem with its weight: blocks float32 ``[taps, 16]``, and one ``[taps, 8]`` for eight outputs that are left."""

    planned: Planned[FloatStem]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def of(cls, planned: Planned[FloatStem]) -> "PreparedFloatStem":
        """Lay out the weight."""
        weight = planned.part.weight
        outputs = len(weight)
        rows = weight.reshape(outputs, -1)
        whole = outputs // _LANES * _LANES
        laid, split = aligned(rows.size, np.float32), whole * rows.shape[1]
        laid[:split].reshape(-1, rows.shape[1], _LANES)[:] = (
            rows[:whole].reshape(-1, _LANES, rows.shape[1]).swapaxes(1, 2)
        )
        laid[split:].reshape(-1, rows.shape[1], _EIGHT)[:] = (
            rows[whole:].reshape(-1, _EIGHT, rows.shape[1]).swapaxes(1, 2)
        )
        return cls(planned, laid, np.ascontiguousarray(planned.part.bias, np.float32))

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step. Raises InputError for images that are smaller than the window."""
        stem, pool = self.planned.part, self.planned.part.pool
        source = self._fed(buffers)
        batch, size = len(source), (source.shape[2], source.shape[3])
        sums = stem.window.output_size(*size)
        height, width = sums if pool is None else pool.output_size(*sums)
        if min(*sums, height, width) < 1:
            raise InputError(f"node {stem.name}: an image of {size[0]}×{size[1]} is smaller than its window")
        slots = self._slot_words(source, sums[1], height, buffers)
        out = buffers.new_floats(self.planned, (batch, height, width, stem.channels_out))
        rows = out if pool is None else self._rings(pool, height, sums[1], buffers)
        late = pool is not None and all(keeps_order(stage) for stage in stem.stages)
        chain, keep = self._chain_words(out if late else rows, buffers)
        values: _Words = {
            **slots,
            **chain,
            FloatStemWord.SOURCE: source,
            FloatStemWord.SOURCE_STRIDE: image_stride(source),
            FloatStemWord.WEIGHT: self.weight,
            FloatStemWord.WEIGHT_BLOCK: 4 * _LANES * (stem.weight.size // stem.channels_out),
            FloatStemWord.BIAS: self.bias,
            FloatStemWord.OUTPUTS: stem.channels_out,
            FloatStemWord.SUMS: entry_address(entry_point("float_stem", self.planned.kernel.symbol)),
            FloatStemWord.SUMS_HEIGHT: sums[0],
            FloatStemWord.SUMS_WIDTH: sums[1],
            FloatStemWord.ROW: rows.strides[1],
            FloatStemWord.ROWS: rows,
            FloatStemWord.ROWS_STRIDE: image_stride(rows),
            FloatStemWord.LATE: int(late and bool(stem.stages)),
            FloatStemWord.LATE_ROWS: height if image_stride(out) else 0,
        }
        if pool is not None:
            values |= {
                FloatStemWord.POOL: entry_address(entry_point("float_stem", "pool_row")),
                FloatStemWord.POOL_HEIGHT: pool.kernel[0],
                FloatStemWord.POOL_WIDTH: pool.kernel[1],
                FloatStemWord.POOL_STRIDE_Y: pool.strides[0],
                FloatStemWord.POOL_STRIDE_X: pool.strides[1],
                FloatStemWord.POOL_TOP: pool.pads[0],
                FloatStemWord.POOL_LEFT: pool.pads[1],
                FloatStemWord.OUT: out,
                FloatStemWord.OUT_STRIDE: image_stride(out),
                FloatStemWord.OUT_WIDTH: width,
            }
        words, call = descriptor(FloatStemWord, values), entry_point("float_stem", "float_stem_rows")
        fed, nan = (
            (int(FloatStemWord.SOURCE), stem.source),
            None if pool is None else (int(FloatStemWord.NAN), NAN_IN_POOL),
        )
        return Bound([Step(stem.name, call, words, height, [values, *keep], fed, nan)], batch)

    def _rings(self, pool: Window, height: int, width: int, buffers: Buffers) -> NDArray[np.float32]:
        """Return a ring of rows of sums for each row of work, and in each one row more, float32 ``[., ., W, O]``."""
        shape = (height, pool.kernel[0] + 1, width, self.planned.part.channels_out)
        buffers.reserve(4 * math.prod(shape), self.planned.part.name)
        return aligned(math.prod(shape), np.float32).reshape(shape)

    def _fed(self, buffers: Buffers) -> NDArray[np.float32]:
        """Return the fed floats ``[N, C, H, W]``. Raises InputError where they have other channels."""
        stem, source = self.planned.part, buffers.take(self.planned.part.source)
        channels = stem.weight.shape[1]
        if source.ndim != 4 or source.shape[1] != channels or not source.size:
            raise InputError(
                f"node {stem.name} reads {stem.source} as [N, {channels}, H, W]; it is {list(source.shape)}; "
                "feed inputs of the shape that the model was exported for"
            )
        return source

    def _slot_words(self, source: NDArray[np.float32], sums_width: int, rings: int, buffers: Buffers) -> _Words:
        """Return the words of the slots."""
        stem = self.planned.part
        channels, height, width = source.shape[1:]
        (kernel_y, kernel_x), (stride_y, stride_x) = stem.window.kernel, stem.window.strides
        top, left, _, _ = stem.window.pads
        reach = max(left + width, (sums_width - 1 + _TILE) * stride_x + kernel_x)  # columns that are written or read
        phase = -(-reach // stride_x)
        plane = phase * stride_x
        slot = -(-channels * plane // 16) * 16
        ring = kernel_y * slot + -(-2 * kernel_y * kernel_x // 16) * 16  # the table behind it
        buffers.reserve(4 * rings * ring, stem.name)
        taps = np.arange(kernel_x)
        columns = (4 * (taps % stride_x * phase + taps // stride_x)).astype(np.int64)
        words: _Words = {
            FloatStemWord.HEIGHT: height,
            FloatStemWord.WIDTH: width,
            FloatStemWord.CHANNELS: channels,
            FloatStemWord.SLOTS: aligned(rings * ring, np.float32),
            FloatStemWord.SLOTS_STRIDE: 4 * ring,
            FloatStemWord.SLOT: 4 * slot,
            FloatStemWord.PLANE: 4 * plane,
            FloatStemWord.PHASE: 4 * phase,
            FloatStemWord.TOP: top,
            FloatStemWord.LEFT: left,
            FloatStemWord.STRIDE_Y: stride_y,
            FloatStemWord.STRIDE_X: stride_x,
            FloatStemWord.KERNEL_HEIGHT: kernel_y,
            FloatStemWord.KERNEL_WIDTH: kernel_x,
            FloatStemWord.COLUMNS: columns,
            FloatStemWord.TAPS: kernel_y * kernel_x,
        }
        return words

    def _chain_words(self, rows: NDArray[np.float32], buffers: Buffers) -> tuple[_Words, list[Any]]:
        """Return the words of the stages over ``rows`` float32 ``[., ., W, O]`` in place, and what they point to."""
        stem = self.planned.part
        if not stem.stages:
            return {}, []
        width, outputs = rows.shape[2:]
        per = pixels_per_block(outputs, width)
        buffers.reserve(len(stem.stages) * 8 * per * outputs, stem.name)
        table, keep = constant_stages(stem.stages, per)
        values = {
            ChainWord.SOURCE: rows,
            ChainWord.SOURCE_STRIDE: rows.strides[1],
            ChainWord.OUT: rows,
            ChainWord.OUT_STRIDE: rows.strides[1],
            ChainWord.CHANNELS: outputs,
            ChainWord.PIXELS: width,
            ChainWord.PER: per,
            ChainWord.STAGES: table,
            ChainWord.COUNT: len(stem.stages),
        }
        words = descriptor(ChainWord, values)
        return {
            FloatStemWord.CHAIN: entry_address(entry_point("chain", "chain")),
            FloatStemWord.CHAIN_WORDS: words,
            FloatStemWord.CHAIN_WORK: -(-width // per),
        }, [words, table, keep]
