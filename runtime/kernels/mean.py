"""The mean of each channel over an image, channels last: row by row, then over the rows, so that few roundings add up.

Work is counted in blocks of sixteen channels, the last one perhaps of fewer.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import MEAN_LANES, MeanWord
from .llvm import F32, I64, broadcast, cg, const, emit_load, emit_store, kernel, load_i64, routine, splat

__all__ = ["mean"]

_LANES = ir.VectorType(F32, MEAN_LANES)


@routine
def _means(b: Any, source: Any, rows: Any, columns: Any, pixel: Any, target: Any, channels: Any) -> None:
    """Write the means of ``channels`` floats, at most sixteen, over an image whose pixels lie ``pixel`` bytes apart."""
    count = b.sitofp(b.mul(rows, columns), F32)

    def some(channel: Any, kind: Any) -> None:
        offset = b.mul(channel, const(4))
        total, of_row = cg.alloca_once(b, kind), cg.alloca_once(b, kind)
        b.store(splat(kind, 0.0), total)
        with cg.for_range(b, rows) as outer:
            row = b.add(b.add(source, offset), b.mul(outer.index, b.mul(columns, pixel)))
            b.store(splat(kind, 0.0), of_row)
            with cg.for_range(b, columns) as inner:
                place = b.add(row, b.mul(inner.index, pixel))
                b.store(b.fadd(b.load(of_row), emit_load(b, place, kind)), of_row)
            b.store(b.fadd(b.load(total), b.load(of_row)), total)
        divisor = count if kind is F32 else broadcast(b, count, MEAN_LANES)
        emit_store(b, b.add(target, offset), b.fdiv(b.load(total), divisor))

    with b.if_else(b.icmp_signed("==", channels, const(MEAN_LANES))) as (whole, part):
        with whole:
            some(const(0), _LANES)
        with part, cg.for_range_slice(b, const(0), channels, const(1), I64, inc=True) as (channel, _):
            some(channel, F32)


@kernel
def mean(words: int, image: int, begin: int, end: int) -> None:
    """Write the means of blocks ``begin … end − 1`` of channels, counted through this image and those behind it."""
    channels, height, width = (
        load_i64(words, MeanWord.CHANNELS),
        load_i64(words, MeanWord.HEIGHT),
        load_i64(words, MeanWord.WIDTH),
    )
    blocks = (channels + MEAN_LANES - 1) // MEAN_LANES
    for work in range(begin, end):
        which, first = image + work // blocks, work % blocks * MEAN_LANES
        source = load_i64(words, MeanWord.SOURCE) + which * load_i64(words, MeanWord.SOURCE_STRIDE)
        out = load_i64(words, MeanWord.OUT) + which * load_i64(words, MeanWord.OUT_STRIDE)
        some = min(MEAN_LANES, channels - first)
        _means(source + 4 * first, height, width, 4 * channels, out + 4 * first, some)
