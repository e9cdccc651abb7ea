"""The float stem: the first convolution over the floats that the caller feeds, channels first, to channels last.

The last rows of the input are kept in a ring of slots with their padding; in a slot the pixels of neighbours of the
output lie side by side, whatever the stride. A row of sums then goes through the stages of a chain, and where a
max-pool follows the largest of the last rows are stored, all while they lie in the first cache::

    rows of the input ─► ring of slots ─ sums ─► row of sums ─ chain ─► in place ─ [maximum] ─► output

    sums      6 or 12 pixels × 16 outputs                     weights [O/16][C][kh · kw][16]
    for each channel: part[p] = 0; for each tap of the window: part[p] = fma(broadcast pixel[p], weight, part[p])
                      sum[p] += part[p]                                           then + bias

Every sum is made in this order with one rounding a multiply-add, whatever the tile: the same bits on every CPU. It is
the order of onnxruntime's kernel for few input channels on x86, so there its bits are the same too.

Parts of 6 pixels fill twelve registers of AVX2 and twenty-four of NEON. A multiply-add has to wait for the part that
it adds to: with AVX-512 six are few for that and twelve fit, so :func:`direct_wide` takes twelve if there are as many.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import FloatStemWord
from .llvm import (
    F32,
    I1,
    I64,
    broadcast,
    call_kernel,
    cg,
    const,
    emit_intrinsic,
    emit_load,
    emit_store,
    emit_word,
    kernel,
    load_i64,
    routine,
    splat,
)

__all__ = ["direct_narrow", "direct_wide", "float_stem_rows", "pool_row"]

_LANES = 16
_SIXTEEN, _EIGHT = ir.VectorType(F32, 16), ir.VectorType(F32, 8)
_EVEN = ir.Constant(ir.VectorType(ir.IntType(32), 8), list(range(0, 16, 2)))


def _make_tile(pixels: int, lanes: int) -> Any:
    """Return the routine of a tile of so many pixels × ``lanes`` outputs.

    It stores pixels up to number ``last``; what it reads of those behind it counts for nothing.
    """
    kind = ir.VectorType(F32, lanes)

    @routine
    def tile(b: Any, words: Any, corner: Any, table: Any, last: Any, weights: Any, bias: Any, out: Any) -> None:
        channels, plane, taps, outputs = (
            emit_word(b, words, which)
            for which in (FloatStemWord.CHANNELS, FloatStemWord.PLANE, FloatStemWord.TAPS, FloatStemWord.OUTPUTS)
        )
        parts, sums = ([cg.alloca_once(b, kind) for _ in range(pixels)] for _ in range(2))  # they become registers
        for total in sums:
            b.store(splat(kind, -0.0), total)  # to which any number is added as it is
        place = cg.alloca_once_value(b, weights)
        with cg.for_range(b, channels) as outer:
            first = b.add(corner, b.mul(outer.index, plane))
            for part in parts:
                b.store(splat(kind, 0.0), part)
            with cg.for_range(b, taps) as inner:
                pixel = b.add(first, emit_load(b, b.add(table, b.mul(inner.index, const(8))), I64))
                weight = emit_load(b, b.load(place), kind, 4 * lanes)
                for p, part in enumerate(parts):
                    spread = broadcast(b, emit_load(b, b.add(pixel, const(4 * p)), F32), lanes)
                    b.store(emit_intrinsic(b, f"llvm.fma.v{lanes}f32", kind, spread, weight, b.load(part)), part)
                b.store(b.add(b.load(place), const(4 * lanes)), place)
            for part, total in zip(parts, sums, strict=True):
                b.store(b.fadd(b.load(total), b.load(part)), total)
        shift = emit_load(b, bias, kind)
        for p in reversed(range(pixels)):  # those behind the last go to its place, and it comes behind them
            number = b.select(b.icmp_signed("<", const(p), last), const(p), last)
            target = b.add(out, b.mul(number, b.mul(outputs, const(4))))
            emit_store(b, target, b.fadd(b.load(sums[p]), shift))

    return tile


_six, _twelve, _twelve_of_eight = _make_tile(6, _LANES), _make_tile(12, _LANES), _make_tile(12, 8)


def _make_sums(most: int) -> Any:
    """Return the kernel that makes a row of sums in tiles of up to ``most`` pixels."""

    @kernel
    def sums(words: int, slots: int, table: int, out: int) -> None:
        """Make a row of sums at ``out``; ``table`` says where the taps of the first window lie in the slots."""
        width, outputs = load_i64(words, FloatStemWord.SUMS_WIDTH), load_i64(words, FloatStemWord.OUTPUTS)
        weights, bias = load_i64(words, FloatStemWord.WEIGHT), load_i64(words, FloatStemWord.BIAS)
        for _ in range(outputs // _LANES):
            x = 0
            while x < width:
                corner, target, left = slots + 4 * x, out + 4 * outputs * x, width - x
                if left > 6 and most > 6:
                    _twelve(words, corner, table, min(12, left) - 1, weights, bias, target)
                    x += 12
                else:
                    _six(words, corner, table, min(6, left) - 1, weights, bias, target)
                    x += 6
            weights += load_i64(words, FloatStemWord.WEIGHT_BLOCK)
            bias, out = bias + 4 * _LANES, out + 4 * _LANES
        if outputs % _LANES:
            for x in range(0, width, 12):
                target = out + 4 * outputs * x
                _twelve_of_eight(words, slots + 4 * x, table, min(12, width - x) - 1, weights, bias, target)

    return sums


direct_narrow, direct_wide = _make_sums(6), _make_sums(12)


@routine
def _copy(b: Any, source: Any, target: Any, count: Any) -> None:
    """Copy ``count`` floats, sixteen at a time, the rest one by one."""
    whole = b.and_(count, const(-_LANES))
    for first, last, kind in ((const(0), whole, _SIXTEEN), (whole, count, F32)):
        step = const(_LANES if kind is _SIXTEEN else 1)
        with cg.for_range_slice(b, first, last, step, I64, inc=True) as (index, _):
            offset = b.mul(index, const(4))
            emit_store(b, b.add(target, offset), emit_load(b, b.add(source, offset), kind))


@routine
def _copy_strided(b: Any, source: Any, target: Any, count: Any, stride: Any) -> None:
    """Copy ``count`` floats that lie ``stride`` floats apart: eight at a time if those are two, the rest one by one."""
    pairs = b.select(b.icmp_signed("==", stride, const(2)), b.and_(b.sub(count, const(1)), const(-8)), const(0))
    with cg.for_range_slice(b, const(0), pairs, const(8), I64, inc=True) as (index, _):
        both = emit_load(b, b.add(source, b.mul(index, const(8))), _SIXTEEN)  # one more than the last is inside
        emit_store(b, b.add(target, b.mul(index, const(4))), b.shuffle_vector(both, both, _EVEN))
    with cg.for_range_slice(b, pairs, count, const(1), I64, inc=True) as (index, _):
        value = emit_load(b, b.add(source, b.mul(b.mul(index, stride), const(4))), F32)
        emit_store(b, b.add(target, b.mul(index, const(4))), value)


@routine
def _store_offset(b: Any, entry: Any, value: Any) -> None:
    """Store an entry of a table."""
    emit_store(b, entry, value)


@routine
def _clear(b: Any, target: Any, size: Any) -> None:
    """Write ``size`` bytes of zeros, a multiple of 64."""
    with cg.for_range_slice(b, const(0), size, const(64), I64, inc=True) as (offset, _):
        emit_store(b, b.add(target, offset), splat(_SIXTEEN, 0.0))


@routine
def _larger(b: Any, words: Any, one: Any, other: Any, target: Any, size: Any) -> None:
    """Store the larger of ``size`` bytes of floats, a multiple of 32, and of as many others.

    A NaN is never the larger; where there is one NAN is set.
    """
    whole, nan = b.and_(size, const(-64)), b.add(words, const(8 * FloatStemWord.NAN))
    for first, last, kind in ((const(0), whole, _SIXTEEN), (whole, size, _EIGHT)):
        truths = ir.VectorType(I1, kind.count)
        unordered = cg.alloca_once_value(b, splat(truths, 0))
        with cg.for_range_slice(b, first, last, const(4 * kind.count), I64, inc=True) as (offset, _):
            x, y = (emit_load(b, b.add(place, offset), kind) for place in (one, other))
            b.store(b.or_(b.load(unordered), b.fcmp_unordered("uno", x, y)), unordered)
            emit_store(b, b.add(target, offset), b.select(b.fcmp_ordered(">", x, y), x, y))
        bits = ir.IntType(kind.count)
        with b.if_then(b.icmp_signed("!=", b.bitcast(b.load(unordered), bits), ir.Constant(bits, 0)), likely=False):
            emit_store(b, nan, const(1))


@routine
def _largest(b: Any, corner: Any, columns: Any, pixel: Any, out: Any) -> None:
    """Store the largest of ``columns`` neighbouring pixels of ``pixel`` bytes, a multiple of 32."""
    whole = b.and_(pixel, const(-64))
    for first, last, kind in ((const(0), whole, _SIXTEEN), (whole, pixel, _EIGHT)):
        best = cg.alloca_once(b, kind)
        with cg.for_range_slice(b, first, last, const(4 * kind.count), I64, inc=True) as (offset, _):
            place = b.add(corner, offset)
            b.store(emit_load(b, place, kind), best)
            with cg.for_range_slice(b, const(1), columns, const(1), I64, inc=True) as (column, _):
                value, other = emit_load(b, b.add(place, b.mul(column, pixel)), kind), b.load(best)
                b.store(b.select(b.fcmp_ordered(">", value, other), value, other), best)
            emit_store(b, b.add(out, offset), b.load(best))


@kernel
def pool_row(words: int, image: int, y: int, ring: int) -> None:
    """Make output row ``y`` of the max-pool of the rows of sums in a ring: down its rows first, into one behind."""
    width, pixel = load_i64(words, FloatStemWord.SUMS_WIDTH), 4 * load_i64(words, FloatStemWord.OUTPUTS)
    taps_y, row = load_i64(words, FloatStemWord.POOL_HEIGHT), load_i64(words, FloatStemWord.ROW)
    first = y * load_i64(words, FloatStemWord.POOL_STRIDE_Y) - load_i64(words, FloatStemWord.POOL_TOP)
    top, bottom = max(0, first), min(load_i64(words, FloatStemWord.SUMS_HEIGHT), first + taps_y)
    best = ring + taps_y * row
    other = ring + top % taps_y * row
    for sums_y in range(min(top + 1, bottom - 1), bottom):
        _larger(words, ring + sums_y % taps_y * row, other, best, row)
        other = best
    out_width = load_i64(words, FloatStemWord.OUT_WIDTH)
    out = load_i64(words, FloatStemWord.OUT) + image * load_i64(words, FloatStemWord.OUT_STRIDE) + y * out_width * pixel
    for x in range(out_width):
        start = x * load_i64(words, FloatStemWord.POOL_STRIDE_X) - load_i64(words, FloatStemWord.POOL_LEFT)
        left, right = max(0, start), min(width, start + load_i64(words, FloatStemWord.POOL_WIDTH))
        _largest(best + left * pixel, right - left, pixel, out + x * pixel)


@kernel
def float_stem_rows(words: int, image: int, begin: int, end: int) -> None:
    """Compute output rows ``begin … end − 1`` of one image."""
    source = load_i64(words, FloatStemWord.SOURCE) + image * load_i64(words, FloatStemWord.SOURCE_STRIDE)
    height, width = load_i64(words, FloatStemWord.HEIGHT), load_i64(words, FloatStemWord.WIDTH)
    slots = load_i64(words, FloatStemWord.SLOTS) + begin * load_i64(words, FloatStemWord.SLOTS_STRIDE)
    size, plane, phase_bytes = (
        load_i64(words, FloatStemWord.SLOT),
        load_i64(words, FloatStemWord.PLANE),
        load_i64(words, FloatStemWord.PHASE),
    )
    taps_y, taps_x, stride_x, left_pad = (
        load_i64(words, FloatStemWord.KERNEL_HEIGHT),
        load_i64(words, FloatStemWord.KERNEL_WIDTH),
        load_i64(words, FloatStemWord.STRIDE_X),
        load_i64(words, FloatStemWord.LEFT),
    )
    sums_height = load_i64(words, FloatStemWord.SUMS_HEIGHT)
    row, base = load_i64(words, FloatStemWord.ROW), load_i64(words, FloatStemWord.ROWS)
    chain, chain_words, work, late = (
        load_i64(words, FloatStemWord.CHAIN),
        load_i64(words, FloatStemWord.CHAIN_WORDS),
        load_i64(words, FloatStemWord.CHAIN_WORK),
        load_i64(words, FloatStemWord.LATE),
    )
    pool_y = load_i64(words, FloatStemWord.POOL_HEIGHT)
    rows = base + (image if pool_y == 0 else begin) * load_i64(words, FloatStemWord.ROWS_STRIDE)
    table = slots + taps_y * size  # behind the slots
    read, done = 0, 0  # rows before these are in slots, or never needed; rows of sums before these are made
    for y in range(begin, end):
        first, bottom = y, y + 1
        if pool_y != 0:
            first = y * load_i64(words, FloatStemWord.POOL_STRIDE_Y) - load_i64(words, FloatStemWord.POOL_TOP)
            bottom = min(sums_height, first + pool_y)
        top = max(0, first)
        for sums_y in range(max(done, top), bottom):
            above = sums_y * load_i64(words, FloatStemWord.STRIDE_Y)  # rows are counted from the padding on
            for padded_y in range(max(read, above), above + taps_y):
                slot = slots + padded_y % taps_y * size
                at = padded_y - load_i64(words, FloatStemWord.TOP)
                if at < 0 or at >= height:
                    _clear(slot, size)
                    continue
                for channel in range(load_i64(words, FloatStemWord.CHANNELS)):
                    values = source + 4 * (channel * height + at) * width
                    if stride_x == 1:
                        _copy(values, slot + channel * plane + 4 * left_pad, width)
                        continue
                    for x in range(min(stride_x, width)):
                        column = x + left_pad
                        place = slot + channel * plane + column % stride_x * phase_bytes + 4 * (column // stride_x)
                        _copy_strided(values + 4 * x, place, (width - x + stride_x - 1) // stride_x, stride_x)
            read = above + taps_y
            target = rows + (sums_y if pool_y == 0 else sums_y % pool_y) * row
            entry = table
            for tap_y in range(taps_y):
                slot = (above + tap_y) % taps_y * size
                for tap_x in range(taps_x):
                    _store_offset(entry, slot + load_i64(load_i64(words, FloatStemWord.COLUMNS), tap_x))
                    entry += 8
            call_kernel(load_i64(words, FloatStemWord.SUMS), words, slots, table, target)
            if chain != 0 and not late:
                call_kernel(chain, chain_words, (target - base) // row, 0, work)
        done = bottom
        if pool_y != 0:
            call_kernel(load_i64(words, FloatStemWord.POOL), words, image, y, rows)
            if late:
                call_kernel(chain, chain_words, image * load_i64(words, FloatStemWord.LATE_ROWS) + y, 0, work)
