"""LUT2, the fastest kernel for x86 with AVX2: one look-up counts for two pixels.

The bytes of two neighbouring output pixels, a = 2·nibble at x and b at x + stride, make one entry a + 17·b of a pair
image (uint16, written by :func:`pair_image`). A table byte holds both counts::

    entry ─► row of 16 bytes, 289 rows (17 × 17):  row[w] = popcount(a xor w) + 16 · popcount(b xor w)
    X = sum of up to three look-ups                both nibbles ≤ 12, no carry from low to high
    S += X                                         low counts and 16 times the high ones, modulo 256
    H += X >> 4                                    high counts
    at the end: low = S − 16·H (modulo 256, exact as low ≤ 248), high = H

So 256 products cost 1 + 4/3 vector operations, where LUT takes four. A tile is 2 pairs × 64 channels: 12 registers of
counters, and none spills.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import ConvWord
from .counting import BYTES, WORDS, emit_corners, emit_count, emit_widen, emit_window
from .epilogue import make_epilogue
from .llvm import I16, cg, const, emit_load, emit_store, emit_word, kernel, load_i64, routine, splat
from .lut import emit_row
from .tiles import make_convolution

__all__ = ["conv_lut2", "pair_image"]

_PAIRS, _VECTORS = 2, 2
_PIXELS = 2 * _PAIRS
_LOOKUPS = 3  # per sum X


def _high(b: Any, value: Any) -> Any:
    """Emit the high nibbles of bytes."""
    return b.and_(b.bitcast(b.lshr(b.bitcast(value, WORDS), splat(WORDS, 4)), BYTES), splat(BYTES, 15))


def _count(b: Any, words: Any, image: Any, source: Any, block: Any, rows: Any, tile: Any) -> None:
    """Emit the mismatches of two pairs of pixels × 64 channels to ``tile``, uint16 [4, 64]."""
    table = emit_word(b, words, ConvWord.TABLE, constant=True)
    shuffle = cg.get_or_insert_function(b.module, ir.FunctionType(BYTES, [BYTES, BYTES]), "llvm.x86.avx2.pshuf.b")
    size = _PAIRS * _VECTORS

    def body(b: Any, sources: list[Any], weights: Any, counters: list[Any], steps: int) -> list[Any]:
        low, high = counters[:size], counters[size:]
        for first in range(0, steps, _LOOKUPS):
            sums: list[Any] = [None] * size
            for step in range(first, min(first + _LOOKUPS, steps)):
                places = [const(32 * (step * _VECTORS + v)) for v in range(_VECTORS)]
                lanes = [emit_load(b, b.add(weights, place), BYTES) for place in places]
                for p in range(_PAIRS):
                    row = emit_row(b, table, emit_load(b, b.add(sources[p], const(2 * step)), I16))
                    for v in range(_VECTORS):
                        found, t = b.call(shuffle, [row, lanes[v]]), p * _VECTORS + v
                        sums[t] = found if sums[t] is None else b.add(sums[t], found)
            low = [b.add(one, other) for one, other in zip(low, sums, strict=True)]
            high = [b.add(one, _high(b, other)) for one, other in zip(high, sums, strict=True)]
        return low + high

    def widen(b: Any, counters: list[Any], first: bool) -> None:
        for p in range(_PAIRS):
            for v in range(_VECTORS):
                both, high = counters[p * _VECTORS + v], counters[size + p * _VECTORS + v]
                sixteen = b.bitcast(b.shl(b.bitcast(high, WORDS), splat(WORDS, 4)), BYTES)
                low = b.sub(both, b.and_(sixteen, splat(BYTES, 240)))
                emit_widen(b, low, tile, 32 * (2 * p * _VECTORS + v), first)
                emit_widen(b, high, tile, 32 * ((2 * p + 1) * _VECTORS + v), first)

    corners = emit_corners(b, source, block, rows, _PAIRS, 2, 2)
    emit_count(b, corners, emit_window(b, words, block), 2 * size, [6, 2], 2, _VECTORS, body, widen)


@routine
def _pair(b: Any, first: Any, second: Any, target: Any) -> None:
    """Write 32 entries a + 17·b."""
    wide = ir.VectorType(I16, 32)
    one, other = (b.zext(emit_load(b, address, BYTES), wide) for address in (first, second))
    emit_store(b, target, b.add(one, b.mul(other, splat(wide, 17))))


@kernel
def pair_image(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the pair image: entry i = byte i + 17 · byte (i + shift)."""
    act = load_i64(words, ConvWord.ACT) + image * load_i64(words, ConvWord.ACT_STRIDE)
    pairs, shift = load_i64(words, ConvWord.SCRATCH), load_i64(words, ConvWord.SCRATCH_STRIDE)
    width = load_i64(words, ConvWord.ACT_ROW)
    for index in range(begin * width, end * width, 32):  # the last turn may reach over: it writes what is right there
        _pair(act + index, act + index + shift, pairs + 2 * index)


_epilogue = make_epilogue(_PIXELS, 32 * _VECTORS)
conv_lut2 = make_convolution(_count, _epilogue, _PIXELS, _PIXELS * _VECTORS * 64)
"""The convolution over the pair image that :func:`pair_image` made before."""
