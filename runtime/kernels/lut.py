"""LUT, a kernel for x86 with AVX2: the activation chooses a row of a table, the weights index into it.

A lane is an output channel; a step takes four input channels (a nibble) of five pixels against 2 × 32 channels::

    activation byte  2·nibble, 32 for zero padding ─► row of 16 bytes at table + 8·byte, broadcast to both halves
    row[w] = popcount(nibble xor w), w = 0…15         row 16 (padding) = 2 2 2 … : four channels count 4 − 2·2 = 0
    weights  [o0 o16 o1 o17 … o15 o31], a nibble a lane ─► count[lane] += vpshufb(row, weights)

Two vector operations for 128 products and no xor; exact zero padding costs nothing. 1.7 times the CTP kernel in the
study of kernels. Byte counts are widened after at most 62 steps (62 · 4 = 248 ≤ 255).
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from ..layout.words import PIXEL_WORDS, ConvWord
from .counting import BYTES, emit_corners, emit_count, emit_widen
from .epilogue import make_epilogue
from .llvm import I8, I32, I64, cg, const, emit_load, load_i64, prefetch, scratch
from .tiles import tile_run

__all__ = ["PIXELS", "VECTORS", "conv_lut", "emit_row"]

PIXELS, VECTORS = 5, 2
_TILE_BYTES = PIXELS * VECTORS * 64
_HALF = ir.VectorType(I8, 16)
_BOTH = ir.Constant(ir.VectorType(I32, 32), [*range(16), *range(16)])


def emit_row(b: Any, table: Any, entry: Any) -> Any:
    """Emit the table row of an entry (two times the row number), in both halves of a vector."""
    row = emit_load(b, b.add(table, b.shl(b.zext(entry, I64), const(3))), _HALF, 16)
    return b.shuffle_vector(row, row, _BOTH)


def _emit(
    typing_context: Any, act: Any, pixels: Any, weights: Any, pieces: Any, count: Any, tile: Any, table: Any
) -> Any:
    """Write the mismatches of PIXELS pixels × 64 channels to ``tile``, uint16 [PIXELS, 64]."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        act, pixels, weights, pieces, count, tile, table = arguments
        shuffle = cg.get_or_insert_function(b.module, ir.FunctionType(BYTES, [BYTES, BYTES]), "llvm.x86.avx2.pshuf.b")

        def body(b: Any, sources: list[Any], weights: Any, counters: list[Any], steps: int) -> list[Any]:
            for step in range(steps):
                places = [const(32 * (step * VECTORS + v)) for v in range(VECTORS)]
                lanes = [emit_load(b, b.add(weights, place), BYTES) for place in places]
                sums = []
                for p in range(PIXELS):
                    row = emit_row(b, table, emit_load(b, b.add(sources[p], const(step)), I8))
                    for v in range(VECTORS):
                        sums.append(b.add(counters[p * VECTORS + v], b.call(shuffle, [row, lanes[v]])))
                counters = sums
            return counters

        def widen(b: Any, counters: list[Any], first: bool) -> None:
            for index, counter in enumerate(counters):
                emit_widen(b, counter, tile, 32 * index, first)

        corners = emit_corners(b, act, pixels, PIXELS, 1, 1)
        emit_count(b, corners, (weights, pieces, count), PIXELS * VECTORS, [2], 1, VECTORS, body, widen)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 7), generate


_count: Any = intrinsic(_emit)
_epilogue = make_epilogue(PIXELS, 32 * VECTORS)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def conv_lut(step: int, image: int, begin: int, end: int) -> None:
    """Run units ``begin … end − 1`` of the convolution step at address ``step`` on one image of the batch."""
    act = load_i64(step, ConvWord.ACT) + image * load_i64(step, ConvWord.ACT_STRIDE)
    pieces, piece_count = load_i64(step, ConvWord.PIECES), load_i64(step, ConvWord.PIECE_COUNT)
    table = load_i64(step, ConvWord.TABLE)
    tile = scratch(_TILE_BYTES)
    unit = begin
    while unit < end:
        block, rows, tiles, ahead, share = tile_run(step, unit, end, PIXELS)
        weights = load_i64(block, 1)
        for _ in range(tiles):
            prefetch(ahead, share)
            _count(act + load_i64(block, 0), rows, weights, pieces, piece_count, tile, table)
            _epilogue(step, image, block, rows, tile)
            rows += 4 * PIXEL_WORDS * PIXELS
            ahead += share
        unit += tiles
