"""Whole numbers as floats to bytes: what a convolution of integers (plan/integers.py) reads, inside its border.

A byte is the whole number next to the float times a reciprocal, and a zero point. A NaN, which is no number, sets NAN.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import StemWord
from .llvm import (
    F32,
    I8,
    I16,
    I32,
    I64,
    broadcast,
    cg,
    const,
    emit_intrinsic,
    emit_load,
    emit_store,
    emit_word,
    kernel,
    load_i64,
    routine,
    splat,
    vector,
)

__all__ = ["place_floats"]


def _emit_bytes(b: Any, words: Any, source: Any, target: Any, lanes: int) -> None:
    floats, integers = vector(F32, lanes), vector(I32, lanes)

    def spread(value: Any) -> Any:
        return value if lanes == 1 else broadcast(b, value, lanes)

    inverse = spread(emit_load(b, emit_word(b, words, StemWord.INVERSE), F32))
    zero = spread(b.sext(emit_load(b, emit_word(b, words, StemWord.ZERO), I16), I32))
    value = emit_load(b, source, floats)
    number = b.fcmp_ordered("ord", value, value)
    scaled = b.fmul(b.select(number, value, splat(floats, 0.0)), inverse)
    suffix = "f32" if lanes == 1 else f"v{lanes}f32"
    whole = b.fptosi(emit_intrinsic(b, f"llvm.rint.{suffix}", floats, scaled), integers)
    emit_store(b, target, b.trunc(b.add(whole, zero), vector(I8, lanes)))
    mask, every = b.bitcast(number, ir.IntType(lanes)), ir.Constant(ir.IntType(lanes), -1)
    with b.if_then(b.icmp_signed("!=", mask, every), likely=False):
        emit_store(b, b.add(words, const(8 * StemWord.NAN)), const(1))


@routine
def _row(b: Any, words: Any, source: Any, target: Any, count: Any) -> None:
    """Make ``count`` bytes, 16 at a time, the rest one by one."""
    whole = b.and_(count, const(-16))
    for first, last, lanes in ((const(0), whole, 16), (whole, count, 1)):
        with cg.for_range_slice(b, first, last, const(lanes), I64, inc=True) as (index, _):
            _emit_bytes(b, words, b.add(source, b.mul(index, const(4))), b.add(target, index), lanes)


@kernel
def place_floats(words: int, image: int, begin: int, end: int) -> None:
    """Put rows ``begin … end − 1`` of the floats as bytes into their border."""
    source = load_i64(words, StemWord.SOURCE) + image * load_i64(words, StemWord.SOURCE_STRIDE)
    count, row = load_i64(words, StemWord.SOURCE_ROW), load_i64(words, StemWord.ROW)
    for y in range(begin, end):
        _row(words, source + 4 * y * count, load_i64(words, StemWord.INSIDE) + y * row, count)
