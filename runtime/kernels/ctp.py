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

from .counting import BYTES, emit_corners, emit_count, emit_widen, emit_window
from .epilogue import make_epilogue
from .llvm import I8, broadcast, const, emit_intrinsic, emit_load
from .tiles import make_convolution

__all__ = ["TILE_BYTES", "conv_ctp", "count_ctp"]

_PIXELS, _VECTORS = 4, 2
TILE_BYTES = _PIXELS * _VECTORS * 64


def _body(b: Any, sources: list[Any], weights: Any, counters: list[Any], steps: int) -> list[Any]:
    lanes = [emit_load(b, b.add(weights, const(32 * v)), BYTES) for v in range(_VECTORS)]
    sums = []
    for p in range(_PIXELS):
        spread = broadcast(b, emit_load(b, sources[p], I8), BYTES.count)
        for v in range(_VECTORS):
            ones = emit_intrinsic(b, "llvm.ctpop.v32i8", BYTES, b.xor(spread, lanes[v]))
            sums.append(b.add(counters[p * _VECTORS + v], ones))
    return sums


def count_ctp(b: Any, words: Any, image: Any, source: Any, block: Any, rows: Any, tile: Any) -> None:
    """Emit the mismatches of four pixels × 64 channels to ``tile``, uint16 [4, 64]."""

    def widen(b: Any, counters: list[Any], first: bool) -> None:
        for index, counter in enumerate(counters):
            emit_widen(b, counter, tile, 32 * index, first)

    corners = emit_corners(b, source, block, rows, _PIXELS, 1, 1)
    emit_count(b, corners, emit_window(b, words, block), _PIXELS * _VECTORS, [1], 1, _VECTORS, _body, widen)


_epilogue = make_epilogue(_PIXELS, 32 * _VECTORS)
conv_ctp = make_convolution(count_ctp, _epilogue, _PIXELS, TILE_BYTES)
