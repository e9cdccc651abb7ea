"""The exact stem: int8 weights over uint8 pixels in integers, max-pool and first packing in the same pass.

:func:`stem_rows` keeps the last rows of sums in a ring, takes the maximum over the pool's window of integers, and only
then scales, stores floats and packs bits. The sums of a row come from a kernel of :data:`..steps.stem.SUMS`, which the
descriptor names by address::

    pixels ─ before ─► image with its border ─ sums ─► ring of rows of int32 ─► maximum ─► floats, bits
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from ..layout.words import StemWord
from .llvm import F32, I8, I16, I32, I64, call_kernel, cg, const, emit_load, emit_store, load_i64, splat

__all__ = ["stem_rows"]


def _emit_finish(
    typing_context: Any, step: Any, ring: Any, first: Any, rows: Any, left: Any, columns: Any, out: Any, bits: Any
) -> Any:
    """Finish an output pixel: maximum, scale, floats and bits of all channels.

    Its window is ``columns`` pixels from ``left`` on, of ``rows`` rows of the ring from the row ``first`` on.
    """

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        step, ring, first, rows, left, columns, out, bits = arguments

        def word(which: StemWord) -> Any:
            return emit_load(b, b.add(step, const(8 * which)), I64)

        scale, bias, threshold, nibbles = (
            word(w) for w in (StemWord.SCALE, StemWord.BIAS, StemWord.THRESHOLD, StemWord.NIBBLES)
        )
        pixel, row, ring_rows, channels = (
            word(w) for w in (StemWord.SUMS_PIXEL, StemWord.SUMS_ROW, StemWord.POOL_HEIGHT, StemWord.CHANNELS)
        )
        corner = b.add(ring, b.mul(left, pixel))
        variables = {width: cg.alloca_once(b, ir.VectorType(I32, width)) for width in (16, 8)}

        def some(channel: Any, width: int) -> None:
            sums, floats = ir.VectorType(I32, width), ir.VectorType(F32, width)
            offset, best = b.mul(channel, const(4)), variables[width]
            b.store(splat(sums, -(2**31)), best)
            with cg.for_range(b, rows) as outer:
                at = b.add(first, outer.index)
                at = b.select(b.icmp_signed(">=", at, ring_rows), b.sub(at, ring_rows), at)
                start = b.add(b.add(corner, offset), b.mul(at, row))
                with cg.for_range(b, columns) as inner:
                    one, other = emit_load(b, b.add(start, b.mul(inner.index, pixel)), sums), b.load(best)
                    b.store(b.select(b.icmp_signed(">", one, other), one, other), best)
            y = b.fmul(b.sitofp(b.load(best), floats), emit_load(b, b.add(scale, offset), floats))
            y = b.fadd(y, emit_load(b, b.add(bias, offset), floats))
            with b.if_then(b.icmp_signed("!=", out, const(0))):
                emit_store(b, b.add(out, offset), y)
            with b.if_then(b.icmp_signed("!=", bits, const(0))):
                signs = b.fcmp_ordered(">=", y, emit_load(b, b.add(threshold, offset), floats))
                signs, place = b.bitcast(signs, ir.IntType(width)), b.lshr(channel, const(3))
                for byte in range(width // 8):
                    eight = b.trunc(b.lshr(signs, ir.Constant(signs.type, 8 * byte)), I8) if width > 8 else signs
                    write(eight, b.add(place, const(byte)))

        def write(eight: Any, place: Any) -> None:
            with b.if_else(b.icmp_signed("!=", nibbles, const(0))) as (then, otherwise):
                with then:
                    wide = b.zext(eight, I16)
                    twice = b.or_(b.shl(wide, ir.Constant(I16, 1)), b.shl(wide, ir.Constant(I16, 5)))
                    emit_store(b, b.add(bits, b.add(place, place)), b.and_(twice, ir.Constant(I16, 0x1E1E)))
                with otherwise:
                    emit_store(b, b.add(bits, place), eight)

        whole = b.and_(channels, const(-16))
        with cg.for_range_slice(b, const(0), whole, const(16), I64, inc=True) as (channel, _):
            some(channel, 16)
        with b.if_then(b.icmp_signed("<", whole, channels)):  # channels are a multiple of eight
            some(whole, 8)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 8), generate


_finish: Any = intrinsic(_emit_finish)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def stem_rows(step: int, image: int, begin: int, end: int) -> None:
    """Compute output rows ``begin … end − 1`` of one image."""
    row, blocks = load_i64(step, StemWord.ROW), load_i64(step, StemWord.BLOCKS)
    width, height = load_i64(step, StemWord.WIDTH), load_i64(step, StemWord.HEIGHT)  # of the sums
    sums_pixel, sums_row = load_i64(step, StemWord.SUMS_PIXEL), load_i64(step, StemWord.SUMS_ROW)
    taps_y, taps_x = load_i64(step, StemWord.POOL_HEIGHT), load_i64(step, StemWord.POOL_WIDTH)
    ring = load_i64(step, StemWord.RING) + begin * load_i64(step, StemWord.RING_STRIDE)  # a ring for each caller
    done = 0  # rows of sums before this one are computed, or never needed
    out_width = load_i64(step, StemWord.OUT_WIDTH)
    for y in range(begin, end):
        first = y * load_i64(step, StemWord.POOL_STRIDE_Y) - load_i64(step, StemWord.POOL_TOP)
        top, bottom = max(0, first), min(height, first + taps_y)
        for sums_y in range(max(done, top), bottom):
            corner = load_i64(step, StemWord.IMAGE) + sums_y * load_i64(step, StemWord.STRIDE_Y) * row
            target = ring + sums_y % taps_y * sums_row
            for block in range(blocks):
                weights = load_i64(step, StemWord.WEIGHT) + block * load_i64(step, StemWord.WEIGHT_STRIDE)
                call_kernel(
                    load_i64(step, StemWord.SUMS), step, corner, weights, target + block * (sums_pixel // blocks)
                )
        done = bottom
        out = load_i64(step, StemWord.OUT)
        if out != 0:
            out += image * load_i64(step, StemWord.OUT_STRIDE) + y * out_width * load_i64(step, StemWord.CHANNELS) * 4
        bits = load_i64(step, StemWord.BITS)
        if bits != 0:
            bits += image * load_i64(step, StemWord.BITS_STRIDE) + y * load_i64(step, StemWord.BITS_ROW)
        for x in range(out_width):
            start = x * load_i64(step, StemWord.POOL_STRIDE_X) - load_i64(step, StemWord.POOL_LEFT)
            left, right = max(0, start), min(width, start + taps_x)
            _finish(step, ring, top % taps_y, bottom - top, left, right - left, out, bits)
            if out != 0:
                out += load_i64(step, StemWord.CHANNELS) * 4
            if bits != 0:
                bits += load_i64(step, StemWord.BITS_PIXEL)
