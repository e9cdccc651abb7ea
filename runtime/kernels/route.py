"""Moves of channels, channels last: Concat, Split, Slice and shuffles of channels, however many of them follow another.

Where every channel of the result comes from is known when the plan is made, as runs::

    out[pixel, target + i · target step] = source[pixel, first + i · source step]          0 ≤ i < count

A run at steps of one channel is copied sixteen floats at a time.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import RouteWord, RunWord
from .llvm import F32, I64, cg, const, emit_load, emit_store, kernel, load_i64, routine

__all__ = ["route"]

_LANES = ir.VectorType(F32, 16)


@routine
def _copy(b: Any, source: Any, target: Any, count: Any) -> None:
    """Copy ``count`` floats that lie side by side."""
    whole = b.and_(count, const(-_LANES.count))
    with cg.for_range_slice(b, const(0), whole, const(_LANES.count), I64, inc=True) as (index, _):
        offset = b.mul(index, const(4))
        emit_store(b, b.add(target, offset), emit_load(b, b.add(source, offset), _LANES))
    with cg.for_range_slice(b, whole, count, const(1), I64, inc=True) as (index, _):
        offset = b.mul(index, const(4))
        emit_store(b, b.add(target, offset), emit_load(b, b.add(source, offset), F32))


@routine
def _scatter(b: Any, source: Any, source_step: Any, target: Any, target_step: Any, count: Any) -> None:
    """Copy ``count`` floats at steps of bytes."""
    with cg.for_range(b, count) as loop:
        value = emit_load(b, b.add(source, b.mul(loop.index, source_step)), F32)
        emit_store(b, b.add(target, b.mul(loop.index, target_step)), value)


@kernel
def route(words: int, image: int, begin: int, end: int) -> None:
    """Write blocks ``begin … end − 1`` of pixels of one image, run by run."""
    out = load_i64(words, RouteWord.OUT) + image * load_i64(words, RouteWord.OUT_STRIDE)
    pixel, per, pixels = (
        load_i64(words, RouteWord.OUT_PIXEL),
        load_i64(words, RouteWord.PER),
        load_i64(words, RouteWord.PIXELS),
    )
    table, runs = load_i64(words, RouteWord.RUNS), load_i64(words, RouteWord.COUNT)
    for block in range(begin, end):
        first, last = block * per, min(pixels, (block + 1) * per)
        for index in range(runs):
            row = table + 8 * index * RunWord.SIZE
            source = load_i64(row, RunWord.SOURCE) + image * load_i64(row, RunWord.SOURCE_STRIDE)
            source_pixel, target = load_i64(row, RunWord.SOURCE_PIXEL), out + load_i64(row, RunWord.TARGET)
            source_step, target_step = load_i64(row, RunWord.SOURCE_STEP), load_i64(row, RunWord.TARGET_STEP)
            count = load_i64(row, RunWord.COUNT)
            for place in range(first, last):
                if source_step == 4 and target_step == 4:
                    _copy(source + place * source_pixel, target + place * pixel, count)
                else:
                    _scatter(source + place * source_pixel, source_step, target + place * pixel, target_step, count)
