"""Moves of channels, channels last: Concat, Split, Slice, shuffles, however many of them follow another; and of pixels.

Where every channel of the result comes from is known when the plan is made, as runs::

    out[pixel, target + i · target step] = source[pixel, first + i · source step]          0 ≤ i < count

A run at steps of one channel is copied sixteen floats at a time. Two runs that take turns, as a shuffle of two groups
makes them, go together: eight floats of each become sixteen.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.move_words import RouteWord, RunWord, UpsampleWord
from .llvm import F32, I32, I64, cg, const, emit_load, emit_store, kernel, load_i64, routine

__all__ = ["route", "upsample"]

_LANES, _HALF = ir.VectorType(F32, 16), ir.VectorType(F32, 8)


@routine
def _copy(b: Any, source: Any, target: Any, count: Any) -> None:
    """Copy ``count`` floats that lie side by side; the last sixteen may overlap those before them."""
    whole = b.and_(count, const(-_LANES.count))
    with cg.for_range_slice(b, const(0), whole, const(_LANES.count), I64, inc=True) as (index, _):
        offset = b.mul(index, const(4))
        emit_store(b, b.add(target, offset), emit_load(b, b.add(source, offset), _LANES))
    some, last = b.icmp_signed(">", count, whole), b.mul(b.sub(count, const(_LANES.count)), const(4))
    with b.if_then(some), b.if_else(b.icmp_signed(">", whole, const(0))) as (many, few):
        with many:
            emit_store(b, b.add(target, last), emit_load(b, b.add(source, last), _LANES))
        with few, cg.for_range(b, count) as loop:
            offset = b.mul(loop.index, const(4))
            emit_store(b, b.add(target, offset), emit_load(b, b.add(source, offset), F32))


@routine
def _zip(b: Any, first: Any, second: Any, target: Any, count: Any) -> None:
    """Write ``count`` floats of two sources in turns."""
    whole = b.and_(count, const(-_HALF.count))
    turns = ir.Constant(ir.VectorType(I32, _LANES.count), [i // 2 + i % 2 * _HALF.count for i in range(_LANES.count)])
    with cg.for_range_slice(b, const(0), whole, const(_HALF.count), I64, inc=True) as (index, _):
        offset = b.mul(index, const(4))
        values = [emit_load(b, b.add(source, offset), _HALF) for source in (first, second)]
        emit_store(b, b.add(target, b.mul(offset, const(2))), b.shuffle_vector(*values, turns))
    with cg.for_range_slice(b, whole, count, const(1), I64, inc=True) as (index, _):
        offset = b.mul(index, const(4))
        for place, source in enumerate((first, second)):
            value = emit_load(b, b.add(source, offset), F32)
            emit_store(b, b.add(b.add(target, b.mul(offset, const(2))), const(4 * place)), value)


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
            count, second = load_i64(row, RunWord.COUNT), load_i64(row, RunWord.SECOND)
            other = second + image * load_i64(row, RunWord.SECOND_STRIDE)
            for place in range(first, last):
                if second != 0:
                    other_pixel = other + place * load_i64(row, RunWord.SECOND_PIXEL)
                    _zip(source + place * source_pixel, other_pixel, target + place * pixel, count)
                elif source_step == 4 and target_step == 4:
                    _copy(source + place * source_pixel, target + place * pixel, count)
                else:
                    _scatter(source + place * source_pixel, source_step, target + place * pixel, target_step, count)


@kernel
def upsample(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of an image whose pixels are those of the source, each several times."""
    source = load_i64(words, UpsampleWord.SOURCE) + image * load_i64(words, UpsampleWord.SOURCE_STRIDE)
    out = load_i64(words, UpsampleWord.OUT) + image * load_i64(words, UpsampleWord.OUT_STRIDE)
    times, pixel = load_i64(words, UpsampleWord.FACTOR_X), load_i64(words, UpsampleWord.OUT_PIXEL)
    for y in range(begin, end):
        place = source + y // load_i64(words, UpsampleWord.FACTOR_Y) * load_i64(words, UpsampleWord.ROW)
        target = out + y * load_i64(words, UpsampleWord.OUT_ROW)
        for _ in range(load_i64(words, UpsampleWord.WIDTH)):
            for _ in range(times):
                _copy(place, target, load_i64(words, UpsampleWord.CHANNELS))
                target += pixel
            place += load_i64(words, UpsampleWord.PIXEL)
