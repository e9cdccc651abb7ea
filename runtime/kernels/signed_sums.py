"""Sums of real inputs with signs, for dense layers of one bit a weight, whose bits are expanded in registers alone.

Such a layer is bound by memory when an engine holds its weights as floats. Here a weight stays one bit, and no product
is made: a sum of four inputs with four signs is one of sixteen numbers, which a kernel finds by the four bits::

    32 inputs x      eight fours: x0 x1 x2 x3 │ x4 x5 x6 x7 │ … │ x28 x29 x30 x31
    a word, 32 bits  of each of 16 outputs side by side, 1 for −1: │ bits 0–3 │ bits 4–7 │ … │
    v[0] … v[7]      sums of a four with the signs of its bits:   (±x0 + ±x1) + (±x2 + ±x3)
    total += ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]))

A step takes 32 inputs through a block of up to 512 outputs, whose totals lie in the first cache, so the weights are
read once, one behind the other; further rows of a batch find those of a block in the second cache. How v is found is
the only difference between the kernels: :mod:`.sixteens`, :mod:`.eights`, :mod:`.bytes`. All of them add in the order
above and round each addition once, so they give the same bits on every CPU.

Of K inputs each passes at most 4 + ⌈K/32⌉ roundings. So, to first order, a sum is within (4 + ⌈K/32⌉) · 2⁻²⁴ · Σ|x| of
the exact one; added up one by one it would be within K · 2⁻²⁴ · Σ|x|.
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import SIGNED_BLOCK, SIGNED_LANES, SignedWord
from .llvm import F32, I32, I64, broadcast, cg, const, emit_load, emit_store, kernel, load_i64, routine, scratch, splat

__all__ = ["FOURS", "emit_flip", "emit_pairs", "emit_table", "make_signed_sums"]

FOURS = 8
"""Fours of inputs of a word."""

_LANES = ir.VectorType(F32, SIGNED_LANES)
_STEP_BYTES, _BLOCK_BYTES = 128, 4 * SIGNED_BLOCK


def emit_flip(b: Any, x: Any, signs: Any) -> Any:
    """Emit floats of which those are negated whose place in ``signs`` holds the bit of the sign."""
    return b.bitcast(b.xor(b.bitcast(x, signs.type), signs), x.type)


def emit_pairs(b: Any, values: Sequence[Any]) -> Any:
    """Emit the sum of 2ⁿ values: of neighbours, then of these sums, in the one order that all kernels have."""
    while len(values) > 1:
        values = [b.fadd(one, other) for one, other in zip(values[::2], values[1::2], strict=True)]
    return values[0]


def emit_table(b: Any, inputs: Any, lanes: int) -> Any:
    """Emit the sums of the four floats at an address: in lane n that with the signs of the bits of n, 1 for −1."""
    integers = ir.VectorType(I32, lanes)
    signs = [ir.Constant(integers, [(lane >> bit & 1) << 31 for lane in range(lanes)]) for bit in range(4)]
    spread = [broadcast(b, emit_load(b, b.add(inputs, const(4 * bit)), F32), lanes) for bit in range(4)]
    return emit_pairs(b, [emit_flip(b, x, sign) for x, sign in zip(spread, signs, strict=True)])


def make_signed_sums(lanes: int, prepare: Callable[[Any, Any], Any], find: Callable[[Any, Any, Any], Any]) -> Any:
    """Return the kernel that takes ``lanes`` outputs at once.

    ``prepare(builder, inputs)`` emits what the step needs of the 32 floats at an address; ``find(builder, prepared,
    words)`` emits their sums with the signs in the words of ``lanes`` outputs.
    """
    some, integers = ir.VectorType(F32, lanes), ir.VectorType(I32, lanes)

    @routine
    def step(b: Any, inputs: Any, weights: Any, totals: Any, width: Any) -> None:
        """Add 32 inputs to the totals of ``width`` outputs, a multiple of the lanes."""
        prepared = prepare(b, inputs)
        with cg.for_range_slice(b, const(0), b.mul(width, const(4)), const(4 * lanes), I64, inc=True) as (offset, _):
            words = emit_load(b, b.add(weights, offset), integers, 4 * lanes)
            place = b.add(totals, offset)
            total = b.fadd(emit_load(b, place, some, 4 * lanes), find(b, prepared, words))
            emit_store(b, place, total, 4 * lanes)

    @kernel
    def signed_sums(words: int, image: int, begin: int, end: int) -> None:
        """Do work ``begin … end − 1``: a block of outputs of a row each, the rows of a block one behind the other."""
        rows, inputs, outputs = (
            load_i64(words, SignedWord.ROWS),
            load_i64(words, SignedWord.INPUTS),
            load_i64(words, SignedWord.OUTPUTS),
        )
        whole, left = inputs // 32, inputs % 32
        steps = whole + (left > 0)
        rest, totals = scratch(_STEP_BYTES), scratch(_BLOCK_BYTES)
        _clear(rest, 32)
        for work in range(begin, end):
            block, row = work // rows, work % rows
            first = block * SIGNED_BLOCK
            count = min(SIGNED_BLOCK, outputs - first)
            width = (count + SIGNED_LANES - 1) // SIGNED_LANES * SIGNED_LANES
            source = load_i64(words, SignedWord.SOURCE) + 4 * row * inputs
            weights = load_i64(words, SignedWord.WEIGHT) + block * steps * _BLOCK_BYTES
            _copy(source + _STEP_BYTES * whole, rest, left)
            _clear(totals, width)
            for index in range(steps):
                step(source + _STEP_BYTES * index if index < whole else rest, weights, totals, width)
                weights += 4 * width
            scale, bias = load_i64(words, SignedWord.SCALE) + 4 * first, load_i64(words, SignedWord.BIAS) + 4 * first
            _finish(totals, scale, bias, load_i64(words, SignedWord.OUT) + 4 * (row * outputs + first), count)

    return signed_sums


@routine
def _clear(b: Any, target: Any, count: Any) -> None:
    """Write ``count`` zeros, a multiple of 16."""
    with cg.for_range_slice(b, const(0), count, const(SIGNED_LANES), I64, inc=True) as (index, _):
        emit_store(b, b.add(target, b.mul(index, const(4))), splat(_LANES, 0.0), 64)


@routine
def _copy(b: Any, source: Any, target: Any, count: Any) -> None:
    """Copy ``count`` floats."""
    with cg.for_range(b, count) as loop:
        offset = b.mul(loop.index, const(4))
        emit_store(b, b.add(target, offset), emit_load(b, b.add(source, offset), F32))


@routine
def _finish(b: Any, totals: Any, scale: Any, bias: Any, out: Any, count: Any) -> None:
    """Write ``count`` totals times the scale plus the bias, rounded twice: 16 at a time and then one by one."""
    whole = b.and_(count, const(-SIGNED_LANES))
    for first, last, kind, lanes in ((const(0), whole, _LANES, SIGNED_LANES), (whole, count, F32, 1)):
        with cg.for_range_slice(b, first, last, const(lanes), I64, inc=True) as (index, _):
            offset = b.mul(index, const(4))
            total, factor, shift = (emit_load(b, b.add(place, offset), kind) for place in (totals, scale, bias))
            emit_store(b, b.add(out, offset), b.fadd(b.fmul(total, factor), shift))
