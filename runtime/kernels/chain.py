"""A chain of elementwise stages over float32 values, channels last, between packed layers.

An image goes through in blocks of pixels that fit in the first cache, each through all stages::

    source ─ stage ─► out ─ stage ─► out ─ … ─► out          a block at a time, in place from the second stage on

A number per channel comes as so many copies as a block has pixels, so that a stage is one loop over a block, whatever
the number of channels. A gate, one number per image and channel, comes from another step: pixel by pixel.

Every stage is the float32 arithmetic of its operator, one rounding an operation and no fused multiply-add. The sigmoid
and the error function alone are functions of our own: they are within four units of the last place of the true value
(a sigmoid is 0 where that is below 2·10⁻³⁸), and give the same bits on every CPU.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import ChainOp, ChainWord, StageWord
from .llvm import F32, I32, I64, cg, const, emit_load, emit_store, kernel, load_i64, routine, splat

__all__ = ["chain"]

_LANES = ir.VectorType(F32, 16)
_LOG2_E, _LN2_HIGH, _LN2_LOW = 1.4426950408889634, 0.693359375, -2.12194440e-4
_TO_INTEGER = 12582912.0  # 1.5 · 2²³: a float32 that is added to it and taken off again is rounded to an integer
_LARGEST = 87.0  # exp of it and of its negative is a normal float32; a sigmoid does not change beyond
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
"""Coefficients of exp on [−ln 2 / 2, ln 2 / 2], the highest power first: Moshier, Cephes mathematical library, expf."""

_ERF_NEAR = (-6.01303414e-4, 4.99793189e-3, -2.67701857e-2, 1.12819262e-1, -3.76125067e-1, 1.28379151e-1)
_ERF_FAR = (
    *(-1.15224639e-5, 3.25654371e-4, -3.65377055e-3, 2.37853602e-2),
    *(-1.06263161e-1, -6.35135889e-1, -1.12865222),
)
"""Coefficients of erf(x) / x − 1 in x², and of ln(1 − erf(x)) / x in x, the highest power first.

Fitted by least squares at Chebyshev nodes, reweighted until the largest error was least (Lawson); the lines that do it
are in tests/runtime/kernels/test_erf.py.
"""
_ERF_NEAR_END, _ERF_END = 0.92, 4.0  # the second holds beyond the first, and erf(4) is 1 as a float32


def _emit_least(b: Any, x: Any, bound: Any) -> Any:
    return b.select(b.fcmp_ordered(">", x, bound), bound, x)


def _emit_most(b: Any, x: Any, bound: Any) -> Any:
    return b.select(b.fcmp_ordered("<", x, bound), bound, x)


def _emit_prelu(b: Any, x: Any, y: Any, z: Any) -> Any:
    return b.select(b.fcmp_ordered("<", x, splat(x.type, 0.0)), b.fmul(x, y), x)


def _emit_clip(b: Any, x: Any, y: Any, z: Any) -> Any:
    return _emit_least(b, _emit_most(b, x, y), z)


def _emit_hard_sigmoid(b: Any, x: Any, y: Any, z: Any) -> Any:
    line = b.fadd(b.fmul(x, y), z)
    return _emit_most(b, _emit_least(b, line, splat(x.type, 1.0)), splat(x.type, 0.0))


def _emit_hard_swish(b: Any, x: Any, y: Any, z: Any) -> Any:
    return b.fmul(x, _emit_hard_sigmoid(b, x, y, z))


def _emit_exp(b: Any, x: Any) -> Any:
    """Emit exp(x) for |x| ≤ 87: 2ⁿ times a polynomial in what is left of x, at most half of ln 2."""
    kind = x.type
    shifted = b.fadd(b.fmul(x, splat(kind, _LOG2_E)), splat(kind, _TO_INTEGER))
    n = b.fsub(shifted, splat(kind, _TO_INTEGER))
    left = b.fsub(x, b.fmul(n, splat(kind, _LN2_HIGH)))
    left = b.fsub(left, b.fmul(n, splat(kind, _LN2_LOW)))
    total = splat(kind, _EXP[0])
    for coefficient in _EXP[1:]:
        total = b.fadd(b.fmul(total, left), splat(kind, coefficient))
    total = b.fadd(b.fadd(b.fmul(b.fmul(total, left), left), left), splat(kind, 1.0))
    integers = ir.VectorType(I32, kind.count) if isinstance(kind, ir.VectorType) else I32
    exponent = b.shl(b.fptosi(n, integers), splat(integers, 23))
    return b.bitcast(b.add(b.bitcast(total, integers), exponent), kind)


def _emit_sigmoid(b: Any, x: Any, y: Any, z: Any) -> Any:
    bounded = _emit_least(b, _emit_most(b, x, splat(x.type, -_LARGEST)), splat(x.type, _LARGEST))
    one, zero = splat(x.type, 1.0), splat(x.type, 0.0)
    above = b.select(b.fcmp_ordered("<", x, bounded), zero, one)
    return b.fdiv(above, b.fadd(one, _emit_exp(b, b.fsub(zero, bounded))))


def _emit_polynomial(b: Any, x: Any, coefficients: tuple[float, ...]) -> Any:
    """Emit a polynomial of x, the highest power first."""
    total = splat(x.type, coefficients[0])
    for coefficient in coefficients[1:]:
        total = b.fadd(b.fmul(total, x), splat(x.type, coefficient))
    return total


def _emit_erf(b: Any, x: Any, y: Any, z: Any) -> Any:
    """Emit x + x·p(x²) near 0, and beyond it 1 − exp(|x|·q(|x|)) with the sign of x, which ends at 1."""
    kind, zero = x.type, splat(x.type, 0.0)
    negative = b.fsub(zero, x)
    size = _emit_least(b, b.select(b.fcmp_ordered("<", x, zero), negative, x), splat(kind, _ERF_END))
    near = b.fadd(b.fmul(_emit_polynomial(b, b.fmul(x, x), _ERF_NEAR), x), x)
    far = b.fsub(splat(kind, 1.0), _emit_exp(b, b.fmul(_emit_polynomial(b, size, _ERF_FAR), size)))
    far = b.select(b.fcmp_ordered("<", x, zero), b.fsub(zero, far), far)
    return b.select(b.fcmp_ordered(">", size, splat(kind, _ERF_NEAR_END)), far, near)


_EMIT: dict[ChainOp, Callable[[Any, Any, Any, Any], Any]] = {
    ChainOp.ADD: lambda b, x, y, z: b.fadd(x, y),
    ChainOp.SUBTRACT: lambda b, x, y, z: b.fsub(x, y),
    ChainOp.SUBTRACT_FROM: lambda b, x, y, z: b.fsub(y, x),
    ChainOp.MULTIPLY: lambda b, x, y, z: b.fmul(x, y),
    ChainOp.DIVIDE: lambda b, x, y, z: b.fdiv(x, y),
    ChainOp.PRELU: _emit_prelu,
    ChainOp.CLIP: _emit_clip,
    ChainOp.HARD_SIGMOID: _emit_hard_sigmoid,
    ChainOp.HARD_SWISH: _emit_hard_swish,
    ChainOp.SIGMOID: _emit_sigmoid,
    ChainOp.ERF: _emit_erf,
    ChainOp.SILU: lambda b, x, y, z: b.fmul(_emit_sigmoid(b, x, y, z), x),
}
_OPERANDS = {
    **dict.fromkeys((ChainOp.CLIP, ChainOp.HARD_SIGMOID, ChainOp.HARD_SWISH), 2),
    **dict.fromkeys((ChainOp.SIGMOID, ChainOp.ERF, ChainOp.SILU), 0),
}
"""How many operands a stage has besides x, where it is not one."""


def _emit_some(
    b: Any, op: ChainOp, source: Any, other: Any, second: Any, target: Any, index: Any, kind: ir.Type
) -> None:
    offset = b.mul(index, const(4))
    places = (other, second)[: _OPERANDS.get(op, 1)]
    operands = [emit_load(b, b.add(place, offset), kind) for place in places]
    x = emit_load(b, b.add(source, offset), kind)
    emit_store(b, b.add(target, offset), _EMIT[op](b, x, *operands, *[None] * (2 - len(operands))))


@routine
def _stage(b: Any, op: Any, source: Any, other: Any, second: Any, target: Any, count: Any) -> None:
    """Do one stage on ``count`` floats, sixteen at a time and then one by one."""
    whole, done = b.and_(count, const(-_LANES.count)), b.append_basic_block("stage_done")
    switch = b.switch(op, done)
    for each in ChainOp:
        switch.add_case(const(int(each)), block := b.append_basic_block(each.name.lower()))
        b.position_at_end(block)
        some = partial(_emit_some, b, each, source, other, second, target)
        with cg.for_range_slice(b, const(0), whole, const(_LANES.count), I64, inc=True) as (index, _):
            some(index, _LANES)
        with cg.for_range_slice(b, whole, count, const(1), I64, inc=True) as (index, _):
            some(index, F32)
        b.branch(done)
    b.position_at_end(done)


@kernel
def chain(words: int, image: int, begin: int, end: int) -> None:
    """Take blocks ``begin … end − 1`` of one image through all stages."""
    source = load_i64(words, ChainWord.SOURCE) + image * load_i64(words, ChainWord.SOURCE_STRIDE)
    out = load_i64(words, ChainWord.OUT) + image * load_i64(words, ChainWord.OUT_STRIDE)
    channels, per, pixels = (
        load_i64(words, ChainWord.CHANNELS),
        load_i64(words, ChainWord.PER),
        load_i64(words, ChainWord.PIXELS),
    )
    table, stages = load_i64(words, ChainWord.STAGES), load_i64(words, ChainWord.COUNT)
    for block in range(begin, end):
        first = block * per
        count = min(per, pixels - first)
        values, target = source + 4 * first * channels, out + 4 * first * channels
        for index in range(stages):
            row = table + 8 * index * StageWord.SIZE
            op, second = load_i64(row, StageWord.OP), load_i64(row, StageWord.SECOND)
            other = load_i64(row, StageWord.OTHER) + image * load_i64(row, StageWord.OTHER_STRIDE)
            other += first * load_i64(row, StageWord.OTHER_PIXEL)
            runs, step, length = 1, 0, count * channels
            if load_i64(row, StageWord.GATE):
                runs, step, length = count, 4 * channels, channels
            for run in range(runs):
                _stage(op, values + run * step, other, second, target + run * step, length)
            values = target
