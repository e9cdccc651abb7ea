"""The exact stem: int8 weights over uint8 pixels in integers, max-pool and first packing in the same pass.

:func:`stem_rows` keeps the last rows of sums in a ring, takes the maximum over the pool's window of integers, and only
then scales, stores floats and packs bits. The sums of a row come from a kernel of :data:`.sums.SUMS`, whose
address is one of the words::

    pixels ─ before ─► image with its border ─ sums ─► ring of rows of int32 ─► maximum ─► floats, bits
"""

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir

from ..layout.words import StemWord
from .bit_store import bit_place, emit_bits
from .llvm import (
    F32,
    I32,
    I64,
    call_kernel,
    cg,
    const,
    emit_load,
    emit_store,
    emit_word,
    kernel,
    load_i64,
    routine,
    splat,
)

__all__ = ["stem_rows"]


@routine
def _finish(b: Any, words: Any, ring: Any, first: Any, rows: Any, left: Any, columns: Any, out: Any, bits: Any) -> None:
    """Finish an output pixel: maximum, scale, floats and bits of all channels.

    Its window is ``columns`` pixels from ``left`` on, of ``rows`` rows of the ring from the row ``first`` on.
    """
    scale, bias, threshold, turn, nibbles = (
        emit_word(b, words, which)
        for which in (StemWord.SCALE, StemWord.BIAS, StemWord.THRESHOLD, StemWord.TURN, StemWord.NIBBLES)
    )
    pixel, row, ring_rows, channels = (
        emit_word(b, words, which)
        for which in (StemWord.SUMS_PIXEL, StemWord.SUMS_ROW, StemWord.POOL_HEIGHT, StemWord.CHANNELS)
    )
    corner = b.add(ring, b.mul(left, pixel))

    def start(index: Any) -> Any:
        at = b.add(first, index)
        return b.add(corner, b.mul(b.select(b.icmp_signed(">=", at, ring_rows), b.sub(at, ring_rows), at), row))

    variables = {width: cg.alloca_once(b, ir.VectorType(I32, width)) for width in (16, 8)}

    def any_window(offset: Any, sums: Any) -> Any:
        """Emit the maximum of the window in a loop over it."""
        best = variables[sums.count]
        b.store(splat(sums, -(2**31)), best)
        with cg.for_range(b, rows) as outer:
            line = b.add(start(outer.index), offset)
            with cg.for_range(b, columns) as inner:
                one, other = emit_load(b, b.add(line, b.mul(inner.index, pixel)), sums), b.load(best)
                b.store(b.select(b.icmp_signed(">", one, other), one, other), best)
        return b.load(best)

    def some(channel: Any, width: int, maximum: Callable[[Any, Any], Any]) -> None:
        sums, floats = ir.VectorType(I32, width), ir.VectorType(F32, width)
        offset = b.mul(channel, const(4))
        y = b.fmul(b.sitofp(maximum(offset, sums), floats), emit_load(b, b.add(scale, offset), floats))
        y = b.fadd(y, emit_load(b, b.add(bias, offset), floats))
        with b.if_then(b.icmp_signed("!=", out, const(0))):
            emit_store(b, b.add(out, offset), y)
        with b.if_then(b.icmp_signed("!=", bits, const(0))):
            y = b.fmul(y, emit_load(b, b.add(turn, offset), floats))
            signs = b.fcmp_ordered(">=", y, emit_load(b, b.add(threshold, offset), floats))
            place = b.add(bits, bit_place(b, channel, nibbles))
            emit_bits(b, place, b.bitcast(signs, ir.IntType(width)), nibbles)

    def all_channels(maximum: Callable[[Any, Any], Any]) -> None:
        whole = b.and_(channels, const(-16))
        with cg.for_range_slice(b, const(0), whole, const(16), I64, inc=True) as (channel, _):
            some(channel, 16, maximum)
        with b.if_then(b.icmp_signed("<", whole, channels)):  # channels are a multiple of eight
            some(whole, 8, maximum)

    three = [b.icmp_signed("==", length, const(3)) for length in (rows, columns)]
    with b.if_else(b.and_(*three)) as (then, otherwise):
        with then:  # the pool of most networks, without a loop: a stem of 64 channels at 112² takes a tenth less
            places = [b.add(start(const(i)), b.mul(pixel, const(j))) for i in range(3) for j in range(3)]

            def nine(offset: Any, sums: Any) -> Any:
                values = [emit_load(b, b.add(place, offset), sums) for place in places]
                while len(values) > 1:
                    one, other, *rest = values
                    values = [*rest, b.select(b.icmp_signed(">", one, other), one, other)]
                return values[0]

            all_channels(nine)
        with otherwise:
            all_channels(any_window)


@kernel
def stem_rows(words: int, image: int, begin: int, end: int) -> None:
    """Compute output rows ``begin … end − 1`` of one image."""
    row, blocks = load_i64(words, StemWord.ROW), load_i64(words, StemWord.BLOCKS)
    width, height = load_i64(words, StemWord.WIDTH), load_i64(words, StemWord.HEIGHT)  # of the sums
    sums_pixel, sums_row = load_i64(words, StemWord.SUMS_PIXEL), load_i64(words, StemWord.SUMS_ROW)
    taps_y, taps_x = load_i64(words, StemWord.POOL_HEIGHT), load_i64(words, StemWord.POOL_WIDTH)
    ring = load_i64(words, StemWord.RING) + begin * load_i64(words, StemWord.RING_STRIDE)  # a ring for each caller
    done = 0  # rows of sums before this one are computed, or never needed
    out_width = load_i64(words, StemWord.OUT_WIDTH)
    for y in range(begin, end):
        first = y * load_i64(words, StemWord.POOL_STRIDE_Y) - load_i64(words, StemWord.POOL_TOP)
        top, bottom = max(0, first), min(height, first + taps_y)
        for sums_y in range(max(done, top), bottom):
            corner = load_i64(words, StemWord.IMAGE) + sums_y * load_i64(words, StemWord.STRIDE_Y) * row
            target = ring + sums_y % taps_y * sums_row
            for block in range(blocks):
                weights = load_i64(words, StemWord.WEIGHT) + block * load_i64(words, StemWord.WEIGHT_STRIDE)
                call_kernel(
                    load_i64(words, StemWord.SUMS), words, corner, weights, target + block * (sums_pixel // blocks)
                )
        done = bottom
        out = load_i64(words, StemWord.OUT)
        if out != 0:
            out += image * load_i64(words, StemWord.OUT_STRIDE) + y * out_width * load_i64(words, StemWord.CHANNELS) * 4
        bits = load_i64(words, StemWord.BITS)
        if bits != 0:
            bits += image * load_i64(words, StemWord.BITS_STRIDE) + y * load_i64(words, StemWord.BITS_ROW)
        for x in range(out_width):
            start = x * load_i64(words, StemWord.POOL_STRIDE_X) - load_i64(words, StemWord.POOL_LEFT)
            left, right = max(0, start), min(width, start + taps_x)
            _finish(words, ring, top % taps_y, bottom - top, left, right - left, out, bits)
            if out != 0:
                out += load_i64(words, StemWord.CHANNELS) * 4
            if bits != 0:
                bits += load_i64(words, StemWord.BITS_PIXEL)
