"""SLICE, the kernel for groups of few channels, on every CPU: bits are added where they lie, 512 channels at a time.

The channels of a pixel lie side by side as bits, whatever their groups (layout.SLICES), and so do the weights of a tap.
A vector of eight cells of 64 bits holds 8 pixels of up to 64 channels, 4 of 128, 2 of 256, or 512 channels of a pixel::

    activations under a tap    a   [ pixel 0: c0 c1 … c63 | pixel 1: c0 … c63 | … | pixel 7: c0 … c63 ]
    weights of the tap         w   [          w0 w1 … w63 |          w0 … w63 | … |          w0 … w63 ]
    mismatches, one bit each   x = a xor w
    counts, a bit a plane      fours ▒▒▒▒▒▒▒▒   twos ▒▒▒▒▒▒▒▒   ones ▒▒▒▒▒▒▒▒      full adders: x, x', ones → ones', twos

Eight taps go through seven full adders (Harley–Seal) and give a carry of eights; the taps left over (one of 9, 25 or 49)
ripple through the planes. Neighbours of a row are one load; at its end, and with strides, a vector is gathered by cells.
Last the planes are transposed: a bit of plane p becomes bit p of its channel's byte, the count that the epilogue reads.

A channel of a group of n reads n inputs. :func:`turned_image` writes n copies of the image with the bits of each group
turned by 0 … n − 1 places; then each copy is one more set of taps, and no group is met in the loops.
A padded position is a stored bit, so it acts as −1 or +1; zero padding is repaired by the base of its border class.
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from .descriptor import PIXEL_WORDS, Conv
from .epilogue import make_epilogue
from .llvm import I8, I32, I64, cg, const, emit_load, emit_store, load_i64, prefetch, scratch, splat
from .tiles import tile_run

__all__ = ["LANES", "PIXELS", "conv_slice", "turned_image"]

PIXELS, LANES = 8, 512
_FINISHED = 4  # pixels that the epilogue finishes at once
_TILE_BYTES = PIXELS * LANES
_CELLS = ir.VectorType(I64, 8)
_COUNTS = ir.VectorType(I8, 64)


def _full_adder(b: Any, one: Any, two: Any, three: Any) -> tuple[Any, Any]:
    """Emit sum and carry of three bits: where the first two differ the third is the carry, else either of them."""
    differ = b.xor(one, two)
    carry = b.or_(b.and_(differ, three), b.and_(b.not_(differ), one))
    return b.xor(differ, three), carry


def _ripple(b: Any, planes: list[Any], bit: Any) -> None:
    """Emit planes += bit; the last carry is known to be none."""
    for plane in planes[:-1]:
        before = b.load(plane)
        b.store(b.xor(before, bit), plane)
        bit = b.and_(before, bit)
    b.store(b.xor(b.load(planes[-1]), bit), planes[-1])


def _eight(b: Any, planes: list[Any], bits: list[Any]) -> None:
    """Emit planes += the sum of eight bits."""
    for plane in planes[:3]:
        total, carries = b.load(plane), []
        for one, other in zip(bits[::2], bits[1::2], strict=True):
            total, carry = _full_adder(b, total, one, other)
            carries.append(carry)
        b.store(total, plane)
        bits = carries
    _ripple(b, planes[3:], bits[0])


def _transpose(b: Any, planes: list[Any]) -> list[Any]:
    """Emit eight byte vectors from up to eight planes: byte j of vector k is the count of channel 8 j + k.

    Three rounds merge bits to pairs, pairs to nibbles and nibbles to bytes: of two vectors one takes the low fields of
    both, the other the high fields.
    """
    fields = planes + [splat(_CELLS, 0)] * (8 - len(planes))
    for size, low in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        lower, higher, places = splat(_CELLS, low), splat(_CELLS, low << size), splat(_CELLS, size)
        merged = list(fields)
        for plane in range(8):
            if plane & size:
                continue
            one, other = fields[plane], fields[plane | size]
            merged[plane] = b.or_(b.and_(one, lower), b.and_(b.shl(other, places), higher))
            merged[plane | size] = b.or_(b.and_(b.lshr(one, places), lower), b.and_(other, higher))
        fields = merged
    return [b.bitcast(field, _COUNTS) for field in fields]


def _interleave(b: Any, counts: list[Any]) -> list[Any]:
    """Emit the vectors of :func:`_transpose` in order: 16 bytes at 16 q of vector m are channels 128 q + 16 m … + 15."""
    order = [[16 * q + 8 * half + i // 2 + 64 * (i % 2) for q in range(4) for i in range(16)] for half in range(2)]
    orders = [ir.Constant(ir.VectorType(I32, 64), places) for places in order]
    for _ in range(3):
        counts = [b.shuffle_vector(counts[i], counts[i + 4], places) for i in range(4) for places in orders]
    return counts


def _counter(plane_count: int) -> Any:
    """Return the intrinsic that counts up to ``2 ** plane_count − 1`` taps."""

    def emit(
        typing_context: Any, act: Any, rows: Any, weights: Any, pieces: Any, count: Any, cells: Any, tile: Any
    ) -> Any:
        """Write the mismatches of PIXELS pixels to ``tile``, uint8 [PIXELS, cells, 64]."""

        def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
            act, rows, weights, pieces, count, cells, tile = arguments
            planes = [cg.alloca_once(b, _CELLS) for _ in range(plane_count)]

            def row(cell: Any) -> Any:
                """Emit the address of the row of the pixel table of the pixel that a cell belongs to."""
                return b.add(rows, b.mul(b.lshr(cell, cells), const(4 * PIXEL_WORDS)))

            def source(cell: Any) -> Any:
                part = b.and_(cell, b.sub(b.shl(const(1), cells), const(1)))
                offset = b.sext(emit_load(b, row(cell), I32), I64)
                return b.add(b.add(act, offset), b.mul(part, const(8)))

            def side_by_side(first: Any, last: Any) -> Any:
                """Emit whether eight cells are one run of memory; a place that repeats a pixel is no part of one."""
                lane = b.sext(emit_load(b, b.add(row(last), const(16)), I32), I64)
                run = b.icmp_signed("==", b.sub(source(last), source(first)), const(56))
                return b.and_(run, b.icmp_signed("==", b.lshr(lane, cells), b.lshr(last, cells)))

            def add_taps(load: Any) -> None:
                for plane in planes:
                    b.store(splat(_CELLS, 0), plane)

                def mismatches(tap: Any) -> Any:
                    offset = emit_load(b, b.add(pieces, b.mul(tap, const(16))), I64)
                    return b.xor(load(offset), emit_load(b, b.add(weights, b.mul(tap, const(64))), _CELLS, 64))

                whole = b.and_(count, const(-8))
                with cg.for_range_slice(b, const(0), whole, const(8), I64, inc=True) as (tap, _):
                    _eight(b, planes, [mismatches(b.add(tap, const(i))) for i in range(8)])
                with cg.for_range_slice(b, whole, count, const(1), I64, inc=True) as (tap, _):
                    _ripple(b, planes, mismatches(tap))

            with cg.for_range_slice(b, const(0), b.shl(const(8), cells), const(8), I64, inc=True) as (first, _):
                with b.if_else(side_by_side(first, b.add(first, const(7)))) as (run, scattered):
                    with run:
                        start = source(first)
                        add_taps(lambda offset: emit_load(b, b.add(start, offset), _CELLS))
                    with scattered:
                        starts = [source(b.add(first, const(i))) for i in range(8)]

                        def gather(offset: Any) -> Any:
                            vector = ir.Constant(_CELLS, ir.Undefined)
                            for i, start in enumerate(starts):
                                cell = emit_load(b, b.add(start, offset), I64)
                                vector = b.insert_element(vector, cell, ir.Constant(I32, i))
                            return vector

                        add_taps(gather)
                counts = b.add(tile, b.mul(first, const(64)))
                for m, vector in enumerate(_interleave(b, _transpose(b, [b.load(plane) for plane in planes]))):
                    for q in range(4):
                        part = ir.Constant(ir.VectorType(I32, 16), list(range(16 * q, 16 * q + 16)))
                        emit_store(b, b.add(counts, const(128 * q + 16 * m)), b.shuffle_vector(vector, vector, part), 16)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * 7), generate

    return intrinsic(emit)


_count_few, _count_many = _counter(4), _counter(8)
_epilogue = make_epilogue(_FINISHED, LANES, width=16, counts=I8, row=64)


def _emit_turn(typing_context: Any, source: Any, target: Any, down: Any, up: Any, low: Any) -> Any:
    """Write eight cells of which the bits ``low`` come from ``down`` places above, the others from ``up`` below."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        def everywhere(value: Any) -> Any:
            one = b.insert_element(ir.Constant(_CELLS, ir.Undefined), value, ir.Constant(I32, 0))
            return b.shuffle_vector(one, one, splat(ir.VectorType(I32, 8), 0))

        down, up, low = (everywhere(value) for value in arguments[2:])
        cells = emit_load(b, arguments[0], _CELLS)
        turned = b.or_(b.and_(b.lshr(cells, down), low), b.and_(b.shl(cells, up), b.not_(low)))
        emit_store(b, arguments[1], turned)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 5), generate


_turn: Any = intrinsic(_emit_turn)


@cfunc("void(int64, int64, int64, int64)", cache=True, error_model="numpy")
def turned_image(step: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the copies: bit i of a group in copy r is bit (i + r) modulo its size."""
    act = load_i64(step, Conv.ACT) + image * load_i64(step, Conv.ACT_STEP)
    copies, copy_bytes = load_i64(step, Conv.SCRATCH), load_i64(step, Conv.SCRATCH_STEP)
    width, inputs = load_i64(step, Conv.ACT_ROW), load_i64(step, Conv.INPUTS)
    for turn in range(inputs):
        low, bits = (1 << (inputs - turn)) - 1, inputs
        while bits < 64:
            low, bits = low | low << bits, 2 * bits
        # The last turn may reach over: it writes what is right there, and copies have room behind them.
        for index in range(begin * width, end * width, 64):
            _turn(act + index, copies + turn * copy_bytes + index, turn, (inputs - turn) % 64, low)


@cfunc("void(int64, int64, int64, int64)", cache=True, error_model="numpy")
def conv_slice(step: int, image: int, begin: int, end: int) -> None:
    """Run units ``begin … end − 1`` of the convolution step at address ``step``; :func:`turned_image` ran before."""
    act = load_i64(step, Conv.SCRATCH)
    if load_i64(step, Conv.INPUTS) == 1:
        act = load_i64(step, Conv.ACT) + image * load_i64(step, Conv.ACT_STEP)
    pieces, piece_count = load_i64(step, Conv.PIECES), load_i64(step, Conv.PIECE_COUNT)
    cells = load_i64(step, Conv.CELLS)  # its logarithm
    tile = scratch(_TILE_BYTES)
    unit = begin
    while unit < end:
        block, rows, tiles, ahead, share = tile_run(step, unit, end, PIXELS)
        start, weights = act + load_i64(block, 0), load_i64(block, 1)
        for _ in range(tiles):
            prefetch(ahead, share)
            if piece_count < 16:
                _count_few(start, rows, weights, pieces, piece_count, cells, tile)
            else:
                _count_many(start, rows, weights, pieces, piece_count, cells, tile)
            for _ in range(PIXELS // _FINISHED):
                _epilogue(step, image, block, rows, tile)
                rows += 4 * PIXEL_WORDS * _FINISHED
            ahead += share
        unit += tiles
