"""LUT2, the fastest kernel for x86 with AVX2: one look-up counts for two pixels (:mod:`.pairs`).

256 products cost 1 + 4/3 vector operations, where LUT takes four. The counters and sums of a tile take 12 registers of
sixteen, and none spills.
"""

from typing import Any

from .counting import BYTES
from .llvm import I16, const, emit_load, splat
from .lut import emit_row, emit_shuffle
from .pairs import LOOKUPS, PAIRS, VECTORS, make_pair_convolution, make_pair_image

__all__ = ["body_lut2", "conv_lut2", "pair_image"]


def body_lut2(
    b: Any, table: Any, sources: list[Any], weights: Any, low: list[Any], high: list[Any], steps: int
) -> tuple[list[Any], list[Any]]:
    """Emit sums of up to three look-ups, step after step."""
    for first in range(0, steps, LOOKUPS):
        sums: list[Any] = [None] * len(low)
        for step in range(first, min(first + LOOKUPS, steps)):
            lanes = [emit_load(b, b.add(weights, const(32 * (step * VECTORS + v))), BYTES) for v in range(VECTORS)]
            for p in range(PAIRS):
                row = emit_row(b, table, emit_load(b, b.add(sources[p], const(2 * step)), I16))
                for v in range(VECTORS):
                    found, t = emit_shuffle(b, row, lanes[v]), p * VECTORS + v
                    sums[t] = found if sums[t] is None else b.add(sums[t], found)
        low = [b.add(one, other) for one, other in zip(low, sums, strict=True)]
        high = [b.add(one, b.lshr(other, splat(BYTES, 4))) for one, other in zip(high, sums, strict=True)]
    return low, high


pair_image = make_pair_image(1)
conv_lut2 = make_pair_convolution(body_lut2, [6, 2])
"""The convolution over the pair image that :func:`pair_image` made before."""
