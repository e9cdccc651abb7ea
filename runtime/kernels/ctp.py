"""CTP, the portable kernel: xor and the vector population count of LLVM, on every CPU.

A lane is an output channel; a step takes eight input channels of four pixels against 2 × 32 output channels::

    activations, 8 channels of a pixel:   a = [b7…b0]             broadcast to all 32 lanes
    weights, the same 8 channels:         w = [o0 o16 o1 o17 … o15 o31]        one byte a lane
                                          count[lane] += popcount(a xor w)     4 pixels × 64 channels at a time

The byte counts are widened to 16 bits after at most 31 steps (31 · 8 = 248 ≤ 255). Lanes hold output channels in the
order above so that the even bytes widen to channels 0…15 and the odd ones to 16…31, in natural order.
x86-64 without AVX2 splits the vectors; AArch64 gets ``ld1r, eor, cnt, add`` (NEON counts bits in bytes).
A padded position is a stored bit, so it acts as −1 or +1; zero padding is repaired by the base of its border class.
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from ..layout.words import PIXEL_WORDS, ConvWord
from .counting import BYTES, emit_corners, emit_count, emit_widen
from .epilogue import make_epilogue
from .llvm import I8, I32, cg, const, emit_load, load_i64, prefetch, scratch, splat
from .tiles import tile_run

__all__ = ["PIXELS", "VECTORS", "conv_ctp"]

PIXELS, VECTORS = 4, 2
_TILE_BYTES = PIXELS * VECTORS * 64


def _body(b: Any, sources: list[Any], weights: Any, counters: list[Any], steps: int) -> list[Any]:
    ctpop = cg.get_or_insert_function(b.module, ir.FunctionType(BYTES, [BYTES]), "llvm.ctpop.v32i8")
    lanes = [emit_load(b, b.add(weights, const(32 * v)), BYTES) for v in range(VECTORS)]
    sums = []
    for p in range(PIXELS):
        one = b.insert_element(ir.Constant(BYTES, ir.Undefined), emit_load(b, sources[p], I8), ir.Constant(I32, 0))
        spread = b.shuffle_vector(one, one, splat(ir.VectorType(I32, 32), 0))
        for v in range(VECTORS):
            sums.append(b.add(counters[p * VECTORS + v], b.call(ctpop, [b.xor(spread, lanes[v])])))
    return sums


def _emit(typing_context: Any, act: Any, pixels: Any, weights: Any, pieces: Any, count: Any, tile: Any) -> Any:
    """Write the mismatches of PIXELS pixels × 64 channels to ``tile``, uint16 [PIXELS, 64]."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        act, pixels, weights, pieces, count, tile = arguments

        def widen(b: Any, counters: list[Any], first: bool) -> None:
            for index, counter in enumerate(counters):
                emit_widen(b, counter, tile, 32 * index, first)

        corners = emit_corners(b, act, pixels, PIXELS, 1, 1)
        emit_count(b, corners, (weights, pieces, count), PIXELS * VECTORS, [1], 1, VECTORS, _body, widen)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 6), generate


_count: Any = intrinsic(_emit)
_epilogue = make_epilogue(PIXELS, 32 * VECTORS)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def conv_ctp(step: int, image: int, begin: int, end: int) -> None:
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
