"""Sums of the exact stem in pairs of int16, for every CPU.

The image holds pixel − zero point as int16 with its padding, channels last, so a window row of kw pixels is one run of
kw·C numbers, taken in pairs::

    image row   … p0r p0g │ p0b p1r │ p1g p1b │ …          a pair is broadcast to eight lanes,
    weights     [o0 o0│o1 o1│ … │o7 o7]  a pair a lane     vpmaddwd: lane += pair · pair, int32

A tile is 2 pixels × 32 channels: 8 accumulators, 16 vector operations for 128 products. With a third pixel all sixteen
registers would be full, and one accumulator would go over the stack at every pair. That round trip set the pace: the
7×7 at 224² took 3.3 ms with three pixels and takes 2.2 ms with two (best of ``python -m latentbit.runtime profile``).
``vpmaddubsw`` on bytes would be twice as fast and wrong: 255·127·2 saturates int16.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import StemWord
from .llvm import I16, I32, I64, broadcast, const, emit_load, emit_store, kernel, load_i64, routine, splat

__all__ = ["sums_pairs"]

_PIXELS, _LANES = 2, 32
_VECTORS = _LANES // 8
_SUMS, _PAIRS, _WIDE = ir.VectorType(I32, 8), ir.VectorType(I16, 16), ir.VectorType(I32, 16)
_EVEN, _ODD = (ir.Constant(_SUMS, list(range(first, 16, 2))) for first in (0, 1))


def _multiply(b: Any, one: Any, other: Any) -> Any:
    """Emit the sums of neighbouring products: LLVM makes it vpmaddwd, or the like of another CPU."""
    product = b.mul(b.sext(one, _WIDE), b.sext(other, _WIDE))
    return b.add(b.shuffle_vector(product, product, _EVEN), b.shuffle_vector(product, product, _ODD))


@routine
def _tile(
    b: Any, first: Any, second: Any, row: Any, rows: Any, pairs: Any, weights: Any, target: Any, stride: Any
) -> None:
    """Write sums int32 of two windows × 32 channels to ``target`` and ``stride`` bytes behind it."""
    entry = b.block
    row_loop, pair_loop, row_end, end = (b.append_basic_block(name) for name in ("row", "pair", "row_end", "end"))
    b.branch(row_loop)
    b.position_at_end(row_loop)
    outer = [b.phi(I64), b.phi(I64), *(b.phi(_SUMS) for _ in range(_PIXELS * _VECTORS))]  # row, weights, sums
    for phi, value in zip(outer, [const(0), weights, *[splat(_SUMS, 0)] * (_PIXELS * _VECTORS)], strict=True):
        phi.add_incoming(value, entry)
    sources = [b.add(corner, b.mul(outer[0], row)) for corner in (first, second)]
    b.branch(pair_loop)
    b.position_at_end(pair_loop)
    inner = [b.phi(I64), b.phi(I64), *(b.phi(_SUMS) for _ in range(_PIXELS * _VECTORS))]
    for phi, value in zip(inner, [const(0), *outer[1:]], strict=True):
        phi.add_incoming(value, row_loop)
    lanes = []
    for source in sources:
        pair = emit_load(b, b.add(source, b.mul(inner[0], const(4))), I32)
        lanes.append(b.bitcast(broadcast(b, pair, _SUMS.count), _PAIRS))
    sums = list(inner[2:])
    for v in range(_VECTORS):
        weight = emit_load(b, b.add(inner[1], const(32 * v)), _PAIRS, 32)
        for p in range(_PIXELS):
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
    for p, offset in enumerate((const(0), stride)):
        for v in range(_VECTORS):
            emit_store(b, b.add(b.add(target, offset), const(32 * v)), sums[p * _VECTORS + v])


@kernel
def sums_pairs(words: int, corner: int, weights: int, target: int) -> None:
    """Write a row of sums of a block of channels; ``corner`` is where the window of the first pixel begins."""
    row, rows, pairs = (
        load_i64(words, StemWord.ROW),
        load_i64(words, StemWord.KERNEL_HEIGHT),
        load_i64(words, StemWord.KERNEL_STEPS),
    )
    pixel, sums_pixel, width = (
        load_i64(words, StemWord.PIXEL),
        load_i64(words, StemWord.SUMS_PIXEL),
        load_i64(words, StemWord.WIDTH),
    )
    for x in range(0, width, _PIXELS):
        second = min(x + 1, width - 1) - x  # the last pixel of an odd width is computed twice
        at = corner + x * pixel
        _tile(at, at + second * pixel, row, rows, pairs, weights, target + x * sums_pixel, second * sums_pixel)
