"""The float shortcut: average pool, then a 1×1 convolution with fused multiply-adds, channels last.

:func:`mean_rows` writes the means of the pool's windows, :func:`project_blocks` multiplies tiles of them::

    means     6 pixels × C        weights [O/16][C][16]        a tile is 6 pixels × 16 output channels
    for c: sum[p] = fma(broadcast mean[p, c], weights[c], sum[p])                   then + bias

6 × 16 floats are twelve registers of AVX2 and twenty-four of NEON: none spills. For AVX-512 :func:`project_blocks_wide`
takes two blocks: six sums wait for their own results, twelve do not. The weights of a block stay in the first cache
while all pixels pass. Every sum is made in the order of the channels, whatever the tile.
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from ..layout.words import ShortcutWord
from .llvm import F32, I32, I64, cg, const, emit_load, emit_store, load_i64, splat

__all__ = ["mean_rows", "project_blocks", "project_blocks_wide"]

_PIXELS, _LANES = 6, 16
_SUMS, _EIGHT = ir.VectorType(F32, _LANES), ir.VectorType(F32, 8)


def _emit_mean(
    typing_context: Any, corner: Any, rows: Any, columns: Any, row: Any, column: Any, target: Any, channels: Any
) -> Any:
    """Write the means of ``channels`` floats over a window of ``rows`` × ``columns`` pixels."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        corner, rows, columns, row, column, target, channels = arguments
        count = b.sitofp(b.mul(rows, columns), F32)

        def some(channel: Any, kind: Any) -> None:
            offset = b.mul(channel, const(4))
            total = cg.alloca_once(b, kind)
            b.store(splat(kind, 0.0) if kind is _EIGHT else ir.Constant(F32, 0.0), total)
            with cg.for_range(b, rows) as outer, cg.for_range(b, columns) as inner:
                place = b.add(corner, b.add(b.mul(outer.index, row), b.mul(inner.index, column)))
                b.store(b.fadd(b.load(total), emit_load(b, b.add(place, offset), kind)), total)
            divisor = count
            if kind is _EIGHT:
                one = b.insert_element(ir.Constant(_EIGHT, ir.Undefined), count, ir.Constant(I32, 0))
                divisor = b.shuffle_vector(one, one, splat(ir.VectorType(I32, 8), 0))
            emit_store(b, b.add(target, offset), b.fdiv(b.load(total), divisor))

        whole = b.and_(channels, const(-8))
        with cg.for_range_slice(b, const(0), whole, const(8), I64, inc=True) as (channel, _):
            some(channel, _EIGHT)
        with cg.for_range_slice(b, whole, channels, const(1), I64, inc=True) as (channel, _):
            some(channel, F32)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 7), generate


def _make_tile(vectors: int) -> Any:
    """Return the intrinsic of a tile of 6 pixels (number ``last`` again behind it) × 16 · ``vectors`` output channels.

    The results go to ``out``, ``step`` bytes apart.
    """

    def tile(
        typing_context: Any, means: Any, pixel: Any, last: Any, channels: Any, weights: Any, bias: Any, out: Any,
        step: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
            means, pixel, last, channels, weights, bias, out, step = arguments
            fma = cg.get_or_insert_function(b.module, ir.FunctionType(_SUMS, [_SUMS] * 3), "llvm.fma.v16f32")
            numbers = [b.select(b.icmp_signed("<", const(p), last), const(p), last) for p in range(_PIXELS)]
            sources = [b.add(means, b.mul(number, pixel)) for number in numbers]
            blocks = [b.add(weights, b.mul(const(_LANES * v), pixel)) for v in range(vectors)]
            sums = [[cg.alloca_once(b, _SUMS) for _ in blocks] for _ in sources]  # variables that become registers
            for total in (total for row in sums for total in row):
                b.store(splat(_SUMS, 0.0), total)
            with cg.for_range(b, channels) as loop:
                place, offset = b.mul(loop.index, const(4 * _LANES)), b.mul(loop.index, const(4))
                lanes = [emit_load(b, b.add(block, place), _SUMS, 64) for block in blocks]
                for source, row in zip(sources, sums, strict=True):
                    mean = emit_load(b, b.add(source, offset), F32)
                    one = b.insert_element(ir.Constant(_SUMS, ir.Undefined), mean, ir.Constant(I32, 0))
                    spread = b.shuffle_vector(one, one, splat(ir.VectorType(I32, _LANES), 0))
                    for weight, total in zip(lanes, row, strict=True):
                        b.store(b.call(fma, [spread, weight, b.load(total)]), total)
            for v in range(vectors):
                offset = const(4 * _LANES * v)
                shift = emit_load(b, b.add(bias, offset), _SUMS)
                for number, row in zip(numbers, sums, strict=True):
                    target = b.add(b.add(out, offset), b.mul(number, step))
                    emit_store(b, target, b.fadd(b.load(row[v]), shift))
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 8), generate

    return intrinsic(tile)


_mean: Any = intrinsic(_emit_mean)
_tile: Any = _make_tile(1)
_wide_tile: Any = _make_tile(2)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def mean_rows(step: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the means of one image."""
    source = load_i64(step, ShortcutWord.SOURCE) + image * load_i64(step, ShortcutWord.SOURCE_STRIDE)
    channels, height, width = (
        load_i64(step, ShortcutWord.CHANNELS),
        load_i64(step, ShortcutWord.HEIGHT),
        load_i64(step, ShortcutWord.WIDTH),
    )
    out_width, pixel, row = load_i64(step, ShortcutWord.OUT_WIDTH), 4 * channels, 4 * channels * width
    for y in range(begin, end):
        target = load_i64(step, ShortcutWord.MEANS) + y * out_width * pixel
        top = y * load_i64(step, ShortcutWord.STRIDE_Y)
        rows = min(load_i64(step, ShortcutWord.POOL_HEIGHT), height - top)
        for x in range(out_width):
            left = x * load_i64(step, ShortcutWord.STRIDE_X)
            columns = min(load_i64(step, ShortcutWord.POOL_WIDTH), width - left)
            _mean(source + top * row + left * pixel, rows, columns, row, pixel, target + x * pixel, channels)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def project_blocks(step: int, image: int, begin: int, end: int) -> None:
    """Do blocks ``begin … end − 1`` of 16 output channels, all pixels of one image; :func:`mean_rows` ran before."""
    means = load_i64(step, ShortcutWord.MEANS) + image * load_i64(step, ShortcutWord.MEANS_STRIDE)
    out = load_i64(step, ShortcutWord.OUT) + image * load_i64(step, ShortcutWord.OUT_STRIDE)
    channels, outputs = load_i64(step, ShortcutWord.CHANNELS), load_i64(step, ShortcutWord.OUTPUTS)
    pixels, pixel = load_i64(step, ShortcutWord.OUT_PIXELS), 4 * channels
    for block in range(begin, end):
        weights = load_i64(step, ShortcutWord.WEIGHT) + block * _LANES * pixel
        bias = load_i64(step, ShortcutWord.BIAS) + 4 * block * _LANES
        for x in range(0, pixels, _PIXELS):
            last = min(_PIXELS, pixels - x) - 1
            target = out + 4 * (x * outputs + block * _LANES)
            _tile(means + x * pixel, pixel, last, channels, weights, bias, target, 4 * outputs)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def project_blocks_wide(step: int, image: int, begin: int, end: int) -> None:
    """Do pairs ``begin … end − 1`` of such blocks."""
    means = load_i64(step, ShortcutWord.MEANS) + image * load_i64(step, ShortcutWord.MEANS_STRIDE)
    out = load_i64(step, ShortcutWord.OUT) + image * load_i64(step, ShortcutWord.OUT_STRIDE)
    channels, outputs = load_i64(step, ShortcutWord.CHANNELS), load_i64(step, ShortcutWord.OUTPUTS)
    pixels, pixel = load_i64(step, ShortcutWord.OUT_PIXELS), 4 * channels
    for block in range(begin, end):
        weights = load_i64(step, ShortcutWord.WEIGHT) + block * 2 * _LANES * pixel
        bias = load_i64(step, ShortcutWord.BIAS) + 4 * block * 2 * _LANES
        for x in range(0, pixels, _PIXELS):
            last = min(_PIXELS, pixels - x) - 1
            target = out + 4 * (x * outputs + block * 2 * _LANES)
            _wide_tile(means + x * pixel, pixel, last, channels, weights, bias, target, 4 * outputs)
