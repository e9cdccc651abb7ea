"""The exact stem: uint8 pixels × int8 weights in integers, max-pool and first packing in the same pass.

:func:`centre_pixels` writes pixel − zero point as int16 with its padding, channels last, so a window row of kw pixels
is one run of kw·C numbers, taken in pairs::

    image row   … p0r p0g │ p0b p1r │ p1g p1b │ …          a pair is broadcast to eight lanes,
    weights     [o0 o0│o1 o1│ … │o7 o7]  a pair a lane     vpmaddwd: lane += pair · pair, int32

A tile is 2 pixels × 32 channels: 8 accumulators, 16 vector operations for 128 products. A third pixel fills all sixteen
registers, one accumulator goes over the stack at every pair, and that round trip sets the pace: the 7×7 at 224² took
3.3 ms so and takes 2.2 ms (best of ``python -m latentbit.runtime profile``).
``vpmaddubsw`` on bytes would be twice as fast and wrong: 255·127·2 saturates int16.

:func:`stem_rows` keeps the last rows of sums in a ring, takes the maximum over the pool's window of integers, and only
then scales, stores floats and packs bits.
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from .descriptor import Stem
from .llvm import F32, I8, I16, I32, I64, cg, const, emit_load, emit_store, load_i64, splat

__all__ = ["CHANNELS", "PIXELS", "centre_pixels", "stem_rows"]

PIXELS, CHANNELS = 2, 32
_VECTORS = CHANNELS // 8
_SUMS, _PAIRS, _WIDE = ir.VectorType(I32, 8), ir.VectorType(I16, 16), ir.VectorType(I32, 16)
_FLOATS, _BYTES16 = ir.VectorType(F32, 8), ir.VectorType(I8, 16)
_EVEN, _ODD = (ir.Constant(_SUMS, list(range(first, 16, 2))) for first in (0, 1))


def _multiply(b: Any, one: Any, other: Any) -> Any:
    """Emit the sums of neighbouring products: LLVM makes it vpmaddwd, or the like of another CPU."""
    product = b.mul(b.sext(one, _WIDE), b.sext(other, _WIDE))
    return b.add(b.shuffle_vector(product, product, _EVEN), b.shuffle_vector(product, product, _ODD))


def _emit_centre(typing_context: Any, source: Any, zero: Any, target: Any, count: Any) -> Any:
    """Write ``count`` numbers byte − zero as int16, sixteen at a time, the rest one by one."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        source, zero, target, count = arguments

        def some(index: Any, of_bytes: Any, of_words: Any) -> None:
            pixel = b.zext(emit_load(b, b.add(source, index), of_bytes), of_words)
            twice = b.add(index, index)
            emit_store(b, b.add(target, twice), b.sub(pixel, emit_load(b, b.add(zero, twice), of_words)))

        whole = b.and_(count, const(-16))
        with cg.for_range_slice(b, const(0), whole, const(16), I64, inc=True) as (index, _):
            some(index, _BYTES16, _PAIRS)
        with cg.for_range_slice(b, whole, count, const(1), I64, inc=True) as (index, _):
            some(index, I8, I16)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), generate


def _emit_tile(
    typing_context: Any,
    first: Any,
    second: Any,
    row: Any,
    rows: Any,
    pairs: Any,
    weights: Any,
    target: Any,
    step: Any,
) -> Any:
    """Write sums int32 of two windows × 32 channels to ``target`` and ``step`` bytes behind it."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        *corners, row, rows, pairs, weights, target, step = arguments
        entry = b.block
        row_loop, pair_loop, row_end, end = (b.append_basic_block(name) for name in ("row", "pair", "row_end", "end"))
        b.branch(row_loop)
        b.position_at_end(row_loop)
        outer = [b.phi(I64), b.phi(I64), *(b.phi(_SUMS) for _ in range(PIXELS * _VECTORS))]  # row, weights, sums
        for phi, value in zip(outer, [const(0), weights, *[splat(_SUMS, 0)] * (PIXELS * _VECTORS)], strict=True):
            phi.add_incoming(value, entry)
        sources = [b.add(corner, b.mul(outer[0], row)) for corner in corners]
        b.branch(pair_loop)
        b.position_at_end(pair_loop)
        inner = [b.phi(I64), b.phi(I64), *(b.phi(_SUMS) for _ in range(PIXELS * _VECTORS))]
        for phi, value in zip(inner, [const(0), *outer[1:]], strict=True):
            phi.add_incoming(value, row_loop)
        lanes = []
        for source in sources:
            pair = emit_load(b, b.add(source, b.mul(inner[0], const(4))), I32)
            one = b.insert_element(ir.Constant(_SUMS, ir.Undefined), pair, ir.Constant(I32, 0))
            lanes.append(b.bitcast(b.shuffle_vector(one, one, splat(_SUMS, 0)), _PAIRS))
        sums = list(inner[2:])
        for v in range(_VECTORS):
            weight = emit_load(b, b.add(inner[1], const(32 * v)), _PAIRS, 32)
            for p in range(PIXELS):
                sums[p * _VECTORS + v] = b.add(sums[p * _VECTORS + v], _multiply(b, lanes[p], weight))
        following, weights = b.add(inner[0], const(1)), b.add(inner[1], const(32 * _VECTORS))
        for phi, value in zip(inner, [following, weights, *sums], strict=True):
            phi.add_incoming(value, pair_loop)
        b.cbranch(b.icmp_signed("<", following, pairs), pair_loop, row_end)
        b.position_at_end(row_end)
        next_row = b.add(outer[0], const(1))
        for phi, value in zip(outer, [next_row, weights, *sums], strict=True):
            phi.add_incoming(value, row_end)
        b.cbranch(b.icmp_signed("<", next_row, rows), row_loop, end)
        b.position_at_end(end)
        for p, offset in enumerate((const(0), step)):
            for v in range(_VECTORS):
                emit_store(b, b.add(b.add(target, offset), const(32 * v)), sums[p * _VECTORS + v])
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 8), generate


def _emit_pool(typing_context: Any, target: Any, first: Any, second: Any, count: Any) -> Any:
    """target = max(first, second) over ``count`` int32 (a multiple of eight)."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        target, first, second, count = arguments
        with cg.for_range_slice(b, const(0), b.mul(count, const(4)), const(32), I64, inc=True) as (index, _):
            one, other = (emit_load(b, b.add(start, index), _SUMS) for start in (first, second))
            emit_store(b, b.add(target, index), b.select(b.icmp_signed(">", one, other), one, other))
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), generate


def _emit_finish(typing_context: Any, step: Any, sums: Any, pixel: Any, taps: Any, out: Any, bits: Any) -> Any:
    """Take the maximum of ``taps`` pixels of sums, scale, store float32 and pack bits, all channels of an output."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        step, sums, pixel, taps, out, bits = arguments

        def word(which: Stem) -> Any:
            return emit_load(b, b.add(step, const(8 * which)), I64)

        scale, bias, threshold, nibbles = (word(w) for w in (Stem.SCALE, Stem.BIAS, Stem.THRESHOLD, Stem.NIBBLES))
        with cg.for_range_slice(b, const(0), word(Stem.CHANNELS), const(8), I64, inc=True) as (channel, _):
            offset = b.mul(channel, const(4))
            best = cg.alloca_once(b, _SUMS)
            b.store(emit_load(b, b.add(sums, offset), _SUMS), best)
            with cg.for_range_slice(b, const(1), taps, const(1), I64, inc=True) as (tap, _):
                other, one = emit_load(b, b.add(b.add(sums, offset), b.mul(tap, pixel)), _SUMS), b.load(best)
                b.store(b.select(b.icmp_signed(">", one, other), one, other), best)
            y = b.fmul(b.sitofp(b.load(best), _FLOATS), emit_load(b, b.add(scale, offset), _FLOATS))
            y = b.fadd(y, emit_load(b, b.add(bias, offset), _FLOATS))
            with b.if_then(b.icmp_signed("!=", out, const(0))):
                emit_store(b, b.add(out, offset), y)
            with b.if_then(b.icmp_signed("!=", bits, const(0))):
                byte = b.bitcast(b.fcmp_ordered(">=", y, emit_load(b, b.add(threshold, offset), _FLOATS)), I8)
                place = b.lshr(channel, const(3))
                with b.if_else(b.icmp_signed("!=", nibbles, const(0))) as (then, otherwise):
                    with then:
                        wide = b.zext(byte, I16)
                        twice = b.or_(b.shl(wide, ir.Constant(I16, 1)), b.shl(wide, ir.Constant(I16, 5)))
                        emit_store(b, b.add(bits, b.add(place, place)), b.and_(twice, ir.Constant(I16, 0x1E1E)))
                    with otherwise:
                        emit_store(b, b.add(bits, place), byte)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 6), generate


_centre: Any = intrinsic(_emit_centre)
_tile: Any = intrinsic(_emit_tile)
_pool: Any = intrinsic(_emit_pool)
_finish: Any = intrinsic(_emit_finish)


@cfunc("void(int64, int64, int64, int64)", cache=True, error_model="numpy")
def centre_pixels(step: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the centred image."""
    source = load_i64(step, Stem.SOURCE) + image * load_i64(step, Stem.SOURCE_STEP)
    count, row = load_i64(step, Stem.SOURCE_ROW), load_i64(step, Stem.ROW)
    for y in range(begin, end):
        _centre(source + y * count, load_i64(step, Stem.ZERO), load_i64(step, Stem.INSIDE) + y * row, count)


@cfunc("void(int64, int64, int64, int64)", cache=True, error_model="numpy")
def stem_rows(step: int, image: int, begin: int, end: int) -> None:
    """Compute output rows ``begin … end − 1`` of one image."""
    row, pixel, blocks = load_i64(step, Stem.ROW), load_i64(step, Stem.PIXEL), load_i64(step, Stem.BLOCKS)
    width, height = load_i64(step, Stem.WIDTH), load_i64(step, Stem.HEIGHT)  # of the sums
    sums_pixel = blocks * (4 * CHANNELS)
    sums_row = width * sums_pixel
    taps_y, taps_x = load_i64(step, Stem.POOL_HEIGHT), load_i64(step, Stem.POOL_WIDTH)
    ring = load_i64(step, Stem.RING) + begin * load_i64(step, Stem.RING_STEP)  # a ring for each caller
    best = ring + taps_y * sums_row
    done = 0  # rows of sums before this one are computed, or never needed
    out_width = load_i64(step, Stem.OUT_WIDTH)
    for y in range(begin, end):
        first = y * load_i64(step, Stem.POOL_STRIDE_Y) - load_i64(step, Stem.POOL_TOP)
        top, bottom = max(0, first), min(height, first + taps_y)
        for sums_y in range(max(done, top), bottom):
            corner = load_i64(step, Stem.IMAGE) + sums_y * load_i64(step, Stem.STRIDE_Y) * row
            target = ring + sums_y % taps_y * sums_row
            for block in range(blocks):
                weights = load_i64(step, Stem.WEIGHT) + block * load_i64(step, Stem.WEIGHT_STEP)
                for x in range(0, width, PIXELS):
                    second = min(x + 1, width - 1) - x  # the last pixel of an odd width is computed twice
                    at = corner + x * pixel
                    _tile(
                        at, at + second * pixel, row, load_i64(step, Stem.KERNEL_HEIGHT),
                        load_i64(step, Stem.KERNEL_PAIRS), weights, target + x * sums_pixel + block * (4 * CHANNELS),
                        second * sums_pixel,
                    )  # fmt: skip
        done = bottom
        line = ring + top % taps_y * sums_row
        if bottom - top > 1:
            _pool(best, line, ring + (top + 1) % taps_y * sums_row, width * blocks * CHANNELS)
            for sums_y in range(top + 2, bottom):
                _pool(best, best, ring + sums_y % taps_y * sums_row, width * blocks * CHANNELS)
            line = best
        out = load_i64(step, Stem.OUT)
        if out != 0:
            out += image * load_i64(step, Stem.OUT_STEP) + y * out_width * load_i64(step, Stem.CHANNELS) * 4
        bits = load_i64(step, Stem.BITS)
        if bits != 0:
            bits += image * load_i64(step, Stem.BITS_STEP) + y * load_i64(step, Stem.BITS_ROW)
        for x in range(out_width):
            start = x * load_i64(step, Stem.POOL_STRIDE_X) - load_i64(step, Stem.POOL_LEFT)
            left, right = max(0, start), min(width, start + taps_x)
            _finish(step, line + left * sums_pixel, sums_pixel, right - left, out, bits)
            if out != 0:
                out += load_i64(step, Stem.CHANNELS) * 4
            if bits != 0:
                bits += load_i64(step, Stem.BITS_PIXEL)
