"""LUT, a kernel for x86 with AVX2: the activation chooses a row of a table, the weights index into it.

A lane is an output channel; a step takes four input channels (a nibble) of five pixels against 2 × 32 channels::

    activation byte  2·nibble, 32 for zero padding ─► row of 16 bytes at table + 8·byte, broadcast to both halves
    row[w] = popcount(nibble xor w), w = 0…15         row 16 (padding) = 2 2 2 … : four channels count 4 − 2·2 = 0
    weights  [o0 o16 o1 o17 … o15 o31], a nibble a lane ─► count[lane] += vpshufb(row, weights)

Two vector operations for 128 products and no xor; exact zero padding costs nothing. Byte counts are widened after at
most 62 steps (62 · 4 = 248 ≤ 255).
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import ConvWord
from .counting import BYTES, emit_corners, emit_count, emit_widen, emit_window
from .epilogue import make_epilogue
from .llvm import I8, I32, I64, const, emit_intrinsic, emit_load, emit_word
from .tiles import make_convolution

__all__ = ["conv_lut", "emit_row", "emit_shuffle"]

_PIXELS, _VECTORS = 5, 2
_HALF = ir.VectorType(I8, 16)
_BOTH = ir.Constant(ir.VectorType(I32, 32), [*range(16), *range(16)])


def emit_row(b: Any, table: Any, entry: Any) -> Any:
    """Emit the table row of an entry (two times the row number), in both halves of a vector."""
    row = emit_load(b, b.add(table, b.shl(b.zext(entry, I64), const(3))), _HALF, 16)
    return b.shuffle_vector(row, row, _BOTH)


def emit_shuffle(b: Any, row: Any, lanes: Any) -> Any:
    """Emit the look-up of each lane in its half of a table row."""
    return emit_intrinsic(b, "llvm.x86.avx2.pshuf.b", BYTES, row, lanes)


def _count(b: Any, words: Any, image: Any, source: Any, block: Any, rows: Any, tile: Any) -> None:
    """Emit the mismatches of five pixels × 64 channels to ``tile``, uint16 [5, 64]."""
    table = emit_word(b, words, ConvWord.TABLE, constant=True)

    def body(b: Any, sources: list[Any], weights: Any, counters: list[Any], steps: int) -> list[Any]:
        for step in range(steps):
            places = [const(32 * (step * _VECTORS + v)) for v in range(_VECTORS)]
            lanes = [emit_load(b, b.add(weights, place), BYTES) for place in places]
            sums = []
            for p in range(_PIXELS):
                row = emit_row(b, table, emit_load(b, b.add(sources[p], const(step)), I8))
                for v in range(_VECTORS):
                    sums.append(b.add(counters[p * _VECTORS + v], emit_shuffle(b, row, lanes[v])))
            counters = sums
        return counters

    def widen(b: Any, counters: list[Any], first: bool) -> None:
        for index, counter in enumerate(counters):
            emit_widen(b, counter, tile, 32 * index, first)

    corners = emit_corners(b, source, block, rows, _PIXELS, 1, 1)
    emit_count(b, corners, emit_window(b, words, block), _PIXELS * _VECTORS, [2], 1, _VECTORS, body, widen)


_epilogue = make_epilogue(_PIXELS, 32 * _VECTORS)
conv_lut = make_convolution(_count, _epilogue, _PIXELS, _PIXELS * _VECTORS * 64)
