"""The layer normalization of rows: each row of C floats gets the mean 0 and the variance 1, then a scale and a bias.

A sum over a row is made of sixteen sums, of the channels i, i + 16, i + 32, … of its whole blocks of sixteen. The upper
eight are added to the lower eight, and to these the next eight channels, if there are as many more; so it goes on with
four, two and one. The mean is found first, and the variance from what is left without it, both as a sum divided by C.
There is no fused multiply-add, and one rounding an operation: the same bits on every CPU.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import NORM_LANES, NormWord
from .llvm import (
    F32,
    I32,
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
    splat,
    vector,
)

__all__ = ["emit_over", "norm"]


def emit_over(b: Any, channels: Any, some: Any) -> None:
    """Emit ``some(index, kind)`` for all channels: vectors of sixteen, then one of eight, of four, of two, of one."""
    done = b.and_(channels, const(-NORM_LANES))
    with cg.for_range_slice(b, const(0), done, const(NORM_LANES), I64, inc=True) as (index, _):
        some(index, vector(F32, NORM_LANES))
    lanes = NORM_LANES // 2
    while lanes:
        kind = vector(F32, lanes)
        with b.if_then(b.icmp_signed("!=", b.and_(channels, const(lanes)), const(0))):
            some(b.and_(channels, const(-2 * lanes)), kind)
        lanes //= 2


def _emit_sum(b: Any, channels: Any, term: Any) -> Any:
    """Emit the sum over the channels of ``term(index, kind)``."""
    lanes, kind = NORM_LANES, vector(F32, NORM_LANES)
    place = cg.alloca_once(b, kind)
    b.store(splat(kind, 0.0), place)
    whole = b.and_(channels, const(-lanes))
    with cg.for_range_slice(b, const(0), whole, const(lanes), I64, inc=True) as (index, _):
        b.store(b.fadd(b.load(place), term(index, kind)), place)
    sums = b.load(place)
    while lanes > 1:
        lanes //= 2
        sums, kind = _emit_halved(b, sums, lanes), vector(F32, lanes)
        place = cg.alloca_once(b, kind)
        b.store(sums, place)
        with b.if_then(b.icmp_signed("!=", b.and_(channels, const(lanes)), const(0))):
            b.store(b.fadd(b.load(place), term(b.and_(channels, const(-2 * lanes)), kind)), place)
        sums = b.load(place)
    return sums


def _emit_halved(b: Any, sums: Any, lanes: int) -> Any:
    """Emit the sums of the lower ``lanes`` and the upper ones; of one lane as a number."""
    if lanes == 1:
        return b.fadd(*(b.extract_element(sums, ir.Constant(I32, lane)) for lane in (0, 1)))
    halves = (ir.Constant(ir.VectorType(I32, lanes), list(range(first, first + lanes))) for first in (0, lanes))
    return b.fadd(*(b.shuffle_vector(sums, sums, half) for half in halves))


@routine
def _row(b: Any, source: Any, target: Any, channels: Any, scale: Any, bias: Any, epsilon: Any) -> None:
    """Normalize one row."""
    count = b.sitofp(channels, F32)

    def at(place: Any, index: Any, kind: Any) -> Any:
        return emit_load(b, b.add(place, b.mul(index, const(4))), kind)

    def spread(value: Any, kind: Any) -> Any:
        return value if kind is F32 else broadcast(b, value, kind.count)

    def centred(index: Any, kind: Any) -> Any:
        return b.fsub(at(source, index, kind), spread(mean, kind))

    def squared(index: Any, kind: Any) -> Any:
        left = centred(index, kind)
        return b.fmul(left, left)

    mean = b.fdiv(_emit_sum(b, channels, lambda index, kind: at(source, index, kind)), count)
    variance = b.fdiv(_emit_sum(b, channels, squared), count)
    root = emit_intrinsic(b, "llvm.sqrt.f32", F32, b.fadd(variance, emit_load(b, epsilon, F32)))
    inverse = b.fdiv(ir.Constant(F32, 1.0), root)

    def finish(index: Any, kind: Any) -> None:
        value = b.fmul(b.fmul(centred(index, kind), spread(inverse, kind)), at(scale, index, kind))
        emit_store(b, b.add(target, b.mul(index, const(4))), b.fadd(value, at(bias, index, kind)))

    emit_over(b, channels, finish)


@kernel
def norm(words: int, image: int, begin: int, end: int) -> None:
    """Normalize blocks ``begin … end − 1`` of rows."""
    source, out = load_i64(words, NormWord.SOURCE), load_i64(words, NormWord.OUT)
    channels, per, rows = (
        load_i64(words, NormWord.CHANNELS),
        load_i64(words, NormWord.PER),
        load_i64(words, NormWord.ROWS),
    )
    scale, bias = load_i64(words, NormWord.SCALE), load_i64(words, NormWord.BIAS)
    epsilon = load_i64(words, NormWord.EPSILON)
    for row in range(begin * per, min(rows, end * per)):
        place = 4 * row * channels
        _row(source + place, out + place, channels, scale, bias, epsilon)
