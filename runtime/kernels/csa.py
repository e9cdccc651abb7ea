"""CSA, the kernel for x86 with AVX-512 and its population count: pairs of words go through a carry-save adder.

A 32-bit lane is an output channel; a step takes two words of 32 input channels each, of four pixels, against 2 × 16
output channels::

    activations, 64 channels of a pixel:  a, a'   one word each, broadcast from memory to all 16 lanes
    weights, the same 64 channels:        w, w'   [o0 o1 … o15], a word a lane

    x = a xor w, x' = a' xor w'           the mismatches as bits; never computed as such, for of three bit vectors
    ones + x + x' = ones' + 2 · carry     a full adder on each of 512 bits needs only
    p     = ones xor a xor w              vpternlog
    ones' = p xor a' xor w'               vpternlog
    carry = p ? not ones' : ones          vpternlog: p says that ones and x differ, so x' decides, and x' = not ones'
    count += popcount(carry)              vpopcntd, vpaddd;   mismatches = 2 · count + popcount(ones) at the end

Five vector operations for 1024 products, against six for xor, population count and add of each word. Lanes of 32 bits
never overflow, so nothing is widened between the pieces of a window. 1.5 to 1.7 times LUT2 on the same core, and a
quarter of its weights' bytes (docs/performance.md).
A padded position is a stored bit, so it acts as −1 or +1; zero padding is repaired by the base of its border class.
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from ..layout.words import PIXEL_WORDS, ConvWord
from .counting import emit_corners
from .epilogue import make_epilogue
from .llvm import I32, cg, const, emit_load, emit_store, load_i64, prefetch, scratch, splat
from .tiles import tile_run

__all__ = ["PIXELS", "VECTORS", "conv_csa"]

PIXELS, VECTORS = 4, 2
_TILE_BYTES = PIXELS * VECTORS * 64
_LANES = ir.VectorType(I32, 16)
_XOR3, _CHOOSE = 0x96, 0x3A
"""Truth tables of vpternlog(a, b, c), bit 4a + 2b + c: a xor b xor c, and (a ? not b : c)."""


def _call(b: Any, name: str, result: Any, *arguments: Any) -> Any:
    kinds = [argument.type for argument in arguments]
    return b.call(cg.get_or_insert_function(b.module, ir.FunctionType(result, kinds), name), arguments)


def _ternary(b: Any, one: Any, two: Any, three: Any, truth: int) -> Any:
    return _call(b, "llvm.x86.avx512.pternlog.d.512", _LANES, one, two, three, ir.Constant(I32, truth))


def _ones(b: Any, value: Any) -> Any:
    return _call(b, "llvm.ctpop.v16i32", _LANES, value)


def _broadcast(b: Any, address: Any) -> Any:
    one = b.insert_element(ir.Constant(_LANES, ir.Undefined), emit_load(b, address, I32), ir.Constant(I32, 0))
    return b.shuffle_vector(one, one, splat(_LANES, 0))


def _emit(typing_context: Any, act: Any, pixels: Any, weights: Any, pieces: Any, count: Any, tile: Any) -> Any:
    """Write the mismatches of PIXELS pixels × 32 channels to ``tile``, int32 [PIXELS, 32]."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        act, pixels, weights, pieces, count, tile = arguments
        # Variables of the function, which LLVM turns into registers.
        place = cg.alloca_once_value(b, weights)
        ones = [cg.alloca_once(b, _LANES) for _ in range(PIXELS * VECTORS)]
        twos = [cg.alloca_once(b, _LANES) for _ in range(PIXELS * VECTORS)]
        for variable in (*ones, *twos):
            b.store(splat(_LANES, 0), variable)

        def load_weights(step: int) -> list[Any]:
            places = [const(64 * (step * VECTORS + v)) for v in range(VECTORS)]
            return [emit_load(b, b.add(b.load(place), offset), _LANES, 64) for offset in places]

        def pair(sources: list[Any]) -> None:
            first, second = load_weights(0), load_weights(1)
            carries = []
            for p, source in enumerate(sources):
                one, other = (_broadcast(b, b.add(source, const(4 * step))) for step in range(2))
                for v in range(VECTORS):
                    t = p * VECTORS + v
                    before = b.load(ones[t])
                    partial = _ternary(b, before, one, first[v], _XOR3)
                    after = _ternary(b, partial, other, second[v], _XOR3)
                    carries.append(_ternary(b, partial, after, before, _CHOOSE))
                    b.store(after, ones[t])
            counts = [_ones(b, carry) for carry in carries]
            for high, counted in zip(twos, counts, strict=True):
                b.store(b.add(b.load(high), counted), high)
            b.store(b.add(b.load(place), const(2 * 64 * VECTORS)), place)

        def single(sources: list[Any]) -> None:
            """Add a word that has no partner: its carry is what ``ones`` and the mismatches share."""
            lanes = load_weights(0)
            for p, source in enumerate(sources):
                one = _broadcast(b, source)
                for v in range(VECTORS):
                    t = p * VECTORS + v
                    before, mismatches = b.load(ones[t]), b.xor(one, lanes[v])
                    b.store(b.xor(before, mismatches), ones[t])
                    b.store(b.add(b.load(twos[t]), _ones(b, b.and_(before, mismatches))), twos[t])
            b.store(b.add(b.load(place), const(64 * VECTORS)), place)

        corners = emit_corners(b, act, pixels, PIXELS, 1, 1)
        with cg.for_range(b, count) as piece:
            row = b.add(pieces, b.mul(piece.index, const(16)))
            offset, length = emit_load(b, row, ir.IntType(64)), emit_load(b, b.add(row, const(8)), ir.IntType(64))
            sources = [b.add(corner, offset) for corner in corners]
            whole = b.and_(length, const(-8))
            with cg.for_range_slice(b, const(0), whole, const(8), ir.IntType(64), inc=True) as (index, _):
                pair([b.add(source, index) for source in sources])
            with b.if_then(b.icmp_signed("<", whole, length)):
                single([b.add(source, whole) for source in sources])
        for t, (low, high) in enumerate(zip(ones, twos, strict=True)):
            twice = b.shl(b.load(high), splat(_LANES, 1))
            emit_store(b, b.add(tile, const(64 * t)), b.add(twice, _ones(b, b.load(low))), 64)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 6), generate


_count: Any = intrinsic(_emit)
_epilogue = make_epilogue(PIXELS, 16 * VECTORS, width=16, counts=I32)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def conv_csa(step: int, image: int, begin: int, end: int) -> None:
    """Run units ``begin … end − 1`` of the convolution step at address ``step`` on one image of the batch."""
    act = load_i64(step, ConvWord.ACT) + image * load_i64(step, ConvWord.ACT_STRIDE)
    pieces, piece_count = load_i64(step, ConvWord.PIECES), load_i64(step, ConvWord.PIECE_COUNT)
    tile = scratch(_TILE_BYTES)
    unit = begin
    while unit < end:
        block, rows, tiles, ahead, share = tile_run(step, unit, end, PIXELS)
        weights = load_i64(block, 1)
        for _ in range(tiles):
            prefetch(ahead, share)
            _count(act + load_i64(block, 0), rows, weights, pieces, piece_count, tile)
            _epilogue(step, image, block, rows, tile)
            rows += 4 * PIXEL_WORDS * PIXELS
            ahead += share
        unit += tiles
