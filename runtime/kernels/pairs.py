"""Counting for two pixels by one look-up, as the kernels lut2 and tbl share it.

The bytes of two neighbouring output pixels, a = 2·nibble at x and b at x + stride, make one entry of a pair image
(uint16, :func:`make_pair_image`). It leads to a row of the table, whose bytes hold both counts::

    entry  a + 17·b ─► row of 16 bytes, 289 rows (17 × 17):  row[w] = popcount(a xor w) + 16 · popcount(b xor w)
    X = sum of up to three look-ups                both nibbles ≤ 12, no carry from low to high
    S += X                                         low counts and 16 times the high ones, modulo 256
    H += X >> 4                                    high counts
    at the end: low = S − 16·H (modulo 256, exact as low ≤ 248), high = H

So 256 products of vectors of 32 bytes cost 1 + 4/3 operations. A tile is 2 pairs × 64 channels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir

from ..layout.words import ConvWord
from .counting import BYTES, emit_corners, emit_count, emit_widen, emit_window
from .epilogue import make_epilogue
from .llvm import I16, I32, emit_load, emit_store, emit_word, kernel, load_i64, routine, splat
from .tiles import make_convolution

__all__ = ["LOOKUPS", "PAIRS", "VECTORS", "make_pair_convolution", "make_pair_image"]

PAIRS, VECTORS = 2, 2
"""Pairs of pixels, and vectors of 32 output channels, of a tile."""

LOOKUPS = 3
"""Look-ups of a sum X, at most."""

_Body = Callable[[Any, Any, list[Any], Any, list[Any], list[Any], int], tuple[list[Any], list[Any]]]


def make_pair_convolution(body: _Body, steps: Sequence[int], kind: ir.VectorType = BYTES, planes: int = 1) -> Any:
    """Return the convolution over a pair image that a kernel before it made; its counters are vectors of ``kind``.

    ``body(builder, table, sources, weights, low, high, turn)`` adds ``turn`` steps, one of ``steps``, to the counters S
    and H, pair by pair, and returns them (:func:`.counting.emit_count`). Of two ``planes`` a pair is one pixel in both.
    """
    pixels, lanes = 2 * PAIRS, BYTES.count * VECTORS
    size = PAIRS * lanes // kind.count

    def count(b: Any, words: Any, image: Any, source: Any, block: Any, rows: Any, tile: Any) -> None:
        """Emit the mismatches of two pairs of pixels × 64 channels to ``tile``, uint16 [4, 64]."""
        table = emit_word(b, words, ConvWord.TABLE, constant=True)

        def turn(b: Any, sources: list[Any], weights: Any, counters: list[Any], steps: int) -> list[Any]:
            low, high = body(b, table, sources, weights, counters[:size], counters[size:], steps)
            return low + high

        def widen(b: Any, counters: list[Any], first: bool) -> None:
            wide = _wide(b, counters)
            for t in range(PAIRS * VECTORS):
                p, v = divmod(t, VECTORS)
                both, high = wide[t], wide[PAIRS * VECTORS + t]
                low = b.sub(both, b.shl(high, splat(BYTES, 4)))
                emit_widen(b, low, tile, 32 * (2 * p * VECTORS + v), first)
                emit_widen(b, high, tile, 32 * ((2 * p + 1) * VECTORS + v), first)

        corners, window = emit_corners(b, source, block, rows, PAIRS, 2, 2), emit_window(b, words, block)
        emit_count(b, corners, window, 2 * size, steps, 2, VECTORS, turn, widen, kind)

    return make_convolution(count, make_epilogue(pixels, lanes, planes=planes), pixels, 2 * pixels * lanes)


def _wide(b: Any, counters: list[Any]) -> list[Any]:
    """Emit counters as vectors of 32 bytes, made of two where they hold 16."""
    if counters[0].type == BYTES:
        return counters
    both = ir.Constant(ir.VectorType(I32, BYTES.count), list(range(BYTES.count)))
    return [b.shuffle_vector(one, other, both) for one, other in zip(counters[::2], counters[1::2], strict=True)]


def make_pair_image(unit: int) -> Any:
    """Return the kernel that writes the pair image; its entries are ``unit`` times a + 17·b."""
    wide = ir.VectorType(I16, 32)

    @routine
    def pair(b: Any, first: Any, second: Any, target: Any) -> None:
        """Write 32 entries."""
        one, other = (b.zext(emit_load(b, address, BYTES), wide) for address in (first, second))
        entries = b.add(one, b.mul(other, splat(wide, 17)))
        emit_store(b, target, entries if unit == 1 else b.mul(entries, splat(wide, unit)))

    @kernel
    def image_of_pairs(words: int, image: int, begin: int, end: int) -> None:
        """Write rows ``begin … end − 1`` of the pair image: entry i is of byte i and byte i + shift."""
        act = load_i64(words, ConvWord.ACT) + image * load_i64(words, ConvWord.ACT_STRIDE)
        pairs, shift = load_i64(words, ConvWord.SCRATCH), load_i64(words, ConvWord.SCRATCH_STRIDE)
        width = load_i64(words, ConvWord.ACT_ROW)
        for index in range(begin * width, end * width, 32):  # the last turn may reach over: it writes what is right
            pair(act + index, act + index + shift, pairs + 2 * index)

    return image_of_pairs
