"""The float dense layer over few rows: fused multiply-adds, 128 inputs at a time, and the bias at last.

::

    rows      [N, K]        weights [O/16][K][16]        a tile is 1 to 4 rows × 16, 32 or 64 outputs
    for each run of 128 inputs:  for k in it: sum[r, o] = fma(broadcast rows[r, k], weights[k, o], sum[r, o]), from 0 on
                                total[r, o] += sum[r, o]                                       then total + bias

One row is bound by memory where the weights do not lie in a cache: they are read once, in four streams. One output
alone would wait for its own sum, so a row takes sixty-four at once. With AVX-512 several rows do too; sixteen registers
hold the sums of four rows × 16. Every sum is made in this order, whatever the tile, so a row has the same bits alone,
in a batch, with helper threads and on every CPU. To first order it is within (130 + ⌈K/128⌉) · 2⁻²⁴ · (Σ|x·w| + |bias|)
of the exact one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import LINEAR_BLOCK, LINEAR_GROUP, LinearWord
from .llvm import (
    F32,
    I64,
    broadcast,
    cg,
    const,
    emit_intrinsic,
    emit_load,
    emit_store,
    kernel,
    load_i64,
    routine,
    scratch,
    splat,
)

__all__ = ["products", "products_wide"]

_RUN = 128
_SUMS = ir.VectorType(F32, LINEAR_BLOCK)
_BLOCK_BYTES = 4 * LINEAR_BLOCK
_NARROW, _WIDE = (4, 2, 1, 1), (LINEAR_GROUP,) * 4
_ROWS = len(_WIDE)
_ROOM = _ROWS * LINEAR_GROUP * _BLOCK_BYTES


def _make_tile(rows: int, blocks: int) -> Any:
    """Return the routine of a tile; it writes ``rows`` × ``blocks`` · 16 sums side by side.

    Blocks behind number ``last`` are that block again: their sums are there, and nobody reads them.
    """

    @routine
    def tile(b: Any, source: Any, inputs: Any, weights: Any, last: Any, target: Any) -> None:
        sources = [b.add(source, b.mul(inputs, const(4 * row))) for row in range(rows)]
        numbers = [b.select(b.icmp_signed("<", const(n), last), const(n), last) for n in range(blocks)]
        streams = [b.add(weights, b.mul(number, b.mul(inputs, const(_BLOCK_BYTES)))) for number in numbers]
        sums = [[cg.alloca_once(b, _SUMS) for _ in streams] for _ in sources]  # variables that become registers
        totals = [total for row in sums for total in row]
        places = [b.add(target, const(number * _BLOCK_BYTES)) for number in range(len(totals))]
        for place in places:
            emit_store(b, place, splat(_SUMS, 0.0), 64)
        with cg.for_range_slice(b, const(0), inputs, const(_RUN), I64, inc=True) as (first, _):
            for total in totals:
                b.store(splat(_SUMS, 0.0), total)
            end = b.add(first, const(_RUN))
            end = b.select(b.icmp_signed("<", end, inputs), end, inputs)
            with cg.for_range_slice(b, first, end, const(1), I64, inc=True) as (index, _):
                offset = b.mul(index, const(_BLOCK_BYTES))
                lanes = [emit_load(b, b.add(stream, offset), _SUMS, 64) for stream in streams]
                offset = b.mul(index, const(4))
                for one, row in zip(sources, sums, strict=True):
                    spread = broadcast(b, emit_load(b, b.add(one, offset), F32), LINEAR_BLOCK)
                    for weight, total in zip(lanes, row, strict=True):
                        b.store(emit_intrinsic(b, "llvm.fma.v16f32", _SUMS, spread, weight, b.load(total)), total)
            for place, total in zip(places, totals, strict=True):
                emit_store(b, place, b.fadd(emit_load(b, place, _SUMS, 64), b.load(total)), 64)

    return tile


@routine
def _finish(b: Any, sums: Any, bias: Any, out: Any, count: Any) -> None:
    """Write ``count`` sums with their bias, by vectors and then one by one."""
    whole = b.and_(count, const(-LINEAR_BLOCK))
    for first, last, kind, lanes in ((const(0), whole, _SUMS, LINEAR_BLOCK), (whole, count, F32, 1)):
        with cg.for_range_slice(b, first, last, const(lanes), I64, inc=True) as (index, _):
            offset = b.mul(index, const(4))
            total, shift = (emit_load(b, b.add(place, offset), kind) for place in (sums, bias))
            emit_store(b, b.add(out, offset), b.fadd(total, shift))


def _make_products(blocks: Sequence[int]) -> Callable[[int, int, int, int], None]:
    """Return the function of a kernel whose tile of 1, 2, … rows takes so many blocks."""
    one, two, three, four = (_make_tile(rows, count) for rows, count in enumerate(blocks, start=1))
    by_rows, room = tuple(blocks), _ROOM

    def products(words: int, image: int, begin: int, end: int) -> None:
        """Do groups ``begin … end − 1`` of outputs, all rows."""
        rows, inputs, outputs = (
            load_i64(words, LinearWord.ROWS),
            load_i64(words, LinearWord.INPUTS),
            load_i64(words, LinearWord.OUTPUTS),
        )
        sums, last = scratch(room), (outputs - 1) // LINEAR_BLOCK
        for group in range(begin, end):
            for row in range(0, rows, _ROWS):
                some = min(_ROWS, rows - row)
                step = by_rows[some - 1]
                source = load_i64(words, LinearWord.SOURCE) + 4 * row * inputs
                for block in range(group * LINEAR_GROUP, min(last + 1, (group + 1) * LINEAR_GROUP), step):
                    weights = load_i64(words, LinearWord.WEIGHT) + block * inputs * _BLOCK_BYTES
                    if some == 1:
                        one(source, inputs, weights, last - block, sums)
                    elif some == 2:
                        two(source, inputs, weights, last - block, sums)
                    elif some == 3:
                        three(source, inputs, weights, last - block, sums)
                    else:
                        four(source, inputs, weights, last - block, sums)
                    first = block * LINEAR_BLOCK
                    bias, count = (
                        load_i64(words, LinearWord.BIAS) + 4 * first,
                        min(step * LINEAR_BLOCK, outputs - first),
                    )
                    for index in range(some):
                        out = load_i64(words, LinearWord.OUT) + 4 * ((row + index) * outputs + first)
                        _finish(sums + index * step * _BLOCK_BYTES, bias, out, count)

    return products


products = kernel(_make_products(_NARROW))
products_wide = kernel(_make_products(_WIDE))
