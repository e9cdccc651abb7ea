"""What kernel perm (:mod:`.perm`) needs to know of its input beforehand: how many codes of each pixel are odd.

A code is six channels; it is odd if an odd number of its signs are 1.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import ConvWord
from .llvm import (
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
)

__all__ = ["odd_codes"]

_EIGHT = ir.VectorType(I64, 8)
_CODES = sum(1 << place for place in range(0, 64, 6))
_BYTES, _BITS = 6, 48  # eight codes


@routine
def _eight(b: Any, words: Any, source: Any, target: Any) -> None:
    """Write the numbers of eight pixels side by side."""
    channels, pixel = emit_word(b, words, ConvWord.INPUTS), emit_word(b, words, ConvWord.ACT_PIXEL)
    total = cg.alloca_once_value(b, splat(_EIGHT, 0))
    chunks = b.sdiv(b.add(channels, const(_BITS - 1)), const(_BITS))
    with cg.for_range(b, chunks) as chunk:
        place, bits = b.add(source, b.mul(chunk.index, const(_BYTES))), ir.Constant(_EIGHT, ir.Undefined)
        for lane in range(8):
            bits = b.insert_element(bits, emit_load(b, place, I64), ir.Constant(I32, lane))
            place = b.add(place, pixel)
        left = b.sub(channels, b.mul(chunk.index, const(_BITS)))
        some = b.select(b.icmp_signed("<", left, const(_BITS)), left, const(_BITS))
        bits = b.and_(bits, broadcast(b, b.sub(b.shl(const(1), some), const(1)), 8))
        two = b.xor(bits, b.lshr(bits, splat(_EIGHT, 1)))
        six = b.xor(two, b.xor(b.lshr(two, splat(_EIGHT, 2)), b.lshr(two, splat(_EIGHT, 4))))
        odd = emit_intrinsic(b, "llvm.ctpop.v8i64", _EIGHT, b.and_(six, splat(_EIGHT, _CODES)))
        b.store(b.add(b.load(total), odd), total)
    emit_store(b, target, b.trunc(b.load(total), ir.VectorType(I16, 8)))


@kernel
def odd_codes(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the numbers, a uint16 for each pixel of the packed image."""
    pixel = load_i64(words, ConvWord.ACT_PIXEL)
    width = load_i64(words, ConvWord.ACT_ROW) // pixel
    act = load_i64(words, ConvWord.ACT) + image * load_i64(words, ConvWord.ACT_STRIDE)
    result = load_i64(words, ConvWord.SCRATCH)
    for index in range(begin * width, end * width, 8):  # the last turn may reach over: it writes what is right
        _eight(words, act + index * pixel, result + 2 * index)
