"""The float shortcut: average pool, then a 1×1 convolution with fused multiply-adds, channels last.

:func:`mean_rows` writes the means of the pool's windows, :func:`project_blocks` multiplies tiles of them::

    means     6 pixels × C        weights [O/16][C][16]        a tile is 6 pixels × 16 output channels
    for c: sum[p] = fma(broadcast mean[p, c], weights[c], sum[p])                   then + bias

6 × 16 floats are twelve registers of AVX2 and twenty-four of NEON: none spills. A multiply-add has to wait for the sum
that it adds to. With AVX-512 six sums are too few to keep the CPU busy meanwhile and twelve are enough, so
:func:`project_blocks_wide` takes two blocks. The weights of a block stay in the first cache while all pixels pass.
Every sum is made in the order of the channels, whatever the tile.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import ShortcutWord
from .llvm import (
    F32,
    I64,
    broadcast,
    cg,
    const,
    emit_intrinsic,
    emit_load,
    emit_store,
    kernel,
    load_i64,
    routine,
    splat,
)

__all__ = ["mean_rows", "project_blocks", "project_blocks_wide"]

_PIXELS, _LANES = 6, 16
_SUMS, _EIGHT = ir.VectorType(F32, _LANES), ir.VectorType(F32, 8)


@routine
def _mean(b: Any, corner: Any, rows: Any, columns: Any, row: Any, column: Any, target: Any, channels: Any) -> None:
    """Write the means of ``channels`` floats over a window of ``rows`` × ``columns`` pixels."""
    count = b.sitofp(b.mul(rows, columns), F32)

    def some(channel: Any, kind: Any) -> None:
        offset = b.mul(channel, const(4))
        total = cg.alloca_once(b, kind)
        b.store(splat(kind, 0.0), total)
        with cg.for_range(b, rows) as outer, cg.for_range(b, columns) as inner:
            place = b.add(corner, b.add(b.mul(outer.index, row), b.mul(inner.index, column)))
            b.store(b.fadd(b.load(total), emit_load(b, b.add(place, offset), kind)), total)
        divisor = broadcast(b, count, _EIGHT.count) if kind is _EIGHT else count
        emit_store(b, b.add(target, offset), b.fdiv(b.load(total), divisor))

    whole = b.and_(channels, const(-8))
    with cg.for_range_slice(b, const(0), whole, const(8), I64, inc=True) as (channel, _):
        some(channel, _EIGHT)
    with cg.for_range_slice(b, whole, channels, const(1), I64, inc=True) as (channel, _):
        some(channel, F32)


def _make_tile(vectors: int) -> Any:
    """Return the routine of a tile of 6 pixels (number ``last`` again behind it) × 16 · ``vectors`` output channels.

    The results go to ``out``, ``stride`` bytes apart.
    """

    @routine
    def tile(
        b: Any, means: Any, pixel: Any, last: Any, channels: Any, weights: Any, bias: Any, out: Any, stride: Any
    ) -> None:
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
                spread = broadcast(b, emit_load(b, b.add(source, offset), F32), _LANES)
                for weight, total in zip(lanes, row, strict=True):
                    b.store(emit_intrinsic(b, "llvm.fma.v16f32", _SUMS, spread, weight, b.load(total)), total)
        for v in range(vectors):
            offset = const(4 * _LANES * v)
            shift = emit_load(b, b.add(bias, offset), _SUMS)
            for number, row in zip(numbers, sums, strict=True):
                target = b.add(b.add(out, offset), b.mul(number, stride))
                emit_store(b, target, b.fadd(b.load(row[v]), shift))

    return tile


_tile, _wide_tile = _make_tile(1), _make_tile(2)


@kernel
def mean_rows(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the means of one image."""
    source = load_i64(words, ShortcutWord.SOURCE) + image * load_i64(words, ShortcutWord.SOURCE_STRIDE)
    channels, height, width = (
        load_i64(words, ShortcutWord.CHANNELS),
        load_i64(words, ShortcutWord.HEIGHT),
        load_i64(words, ShortcutWord.WIDTH),
    )
    out_width, pixel, row = load_i64(words, ShortcutWord.OUT_WIDTH), 4 * channels, 4 * channels * width
    for y in range(begin, end):
        target = load_i64(words, ShortcutWord.MEANS) + y * out_width * pixel
        top = y * load_i64(words, ShortcutWord.STRIDE_Y)
        rows = min(load_i64(words, ShortcutWord.POOL_HEIGHT), height - top)
        for x in range(out_width):
            left = x * load_i64(words, ShortcutWord.STRIDE_X)
            columns = min(load_i64(words, ShortcutWord.POOL_WIDTH), width - left)
            _mean(source + top * row + left * pixel, rows, columns, row, pixel, target + x * pixel, channels)


@kernel
def project_blocks(words: int, image: int, begin: int, end: int) -> None:
    """Do blocks ``begin … end − 1`` of 16 output channels, all pixels of one image; :func:`mean_rows` ran before."""
    means = load_i64(words, ShortcutWord.MEANS) + image * load_i64(words, ShortcutWord.MEANS_STRIDE)
    out = load_i64(words, ShortcutWord.OUT) + image * load_i64(words, ShortcutWord.OUT_STRIDE)
    channels, outputs = load_i64(words, ShortcutWord.CHANNELS), load_i64(words, ShortcutWord.OUTPUTS)
    pixels, pixel = load_i64(words, ShortcutWord.OUT_PIXELS), 4 * channels
    for block in range(begin, end):
        weights = load_i64(words, ShortcutWord.WEIGHT) + block * _LANES * pixel
        bias = load_i64(words, ShortcutWord.BIAS) + 4 * block * _LANES
        for x in range(0, pixels, _PIXELS):
            last = min(_PIXELS, pixels - x) - 1
            target = out + 4 * (x * outputs + block * _LANES)
            _tile(means + x * pixel, pixel, last, channels, weights, bias, target, 4 * outputs)


@kernel
def project_blocks_wide(words: int, image: int, begin: int, end: int) -> None:
    """Do pairs ``begin … end − 1`` of such blocks."""
    means = load_i64(words, ShortcutWord.MEANS) + image * load_i64(words, ShortcutWord.MEANS_STRIDE)
    out = load_i64(words, ShortcutWord.OUT) + image * load_i64(words, ShortcutWord.OUT_STRIDE)
    channels, outputs = load_i64(words, ShortcutWord.CHANNELS), load_i64(words, ShortcutWord.OUTPUTS)
    pixels, pixel = load_i64(words, ShortcutWord.OUT_PIXELS), 4 * channels
    for block in range(begin, end):
        weights = load_i64(words, ShortcutWord.WEIGHT) + block * 2 * _LANES * pixel
        bias = load_i64(words, ShortcutWord.BIAS) + 4 * block * 2 * _LANES
        for x in range(0, pixels, _PIXELS):
            last = min(_PIXELS, pixels - x) - 1
            target = out + 4 * (x * outputs + block * 2 * _LANES)
            _wide_tile(means + x * pixel, pixel, last, channels, weights, bias, target, 4 * outputs)
