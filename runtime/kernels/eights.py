"""EIGHTS, the signed sums of AVX2: a register holds the eight sums in which the fourth input is added.

The other eight are their negatives, so a word holds for each four three bits that find a sum and one that negates it
(:func:`..layout.signed.eights`)::

    bit 3·f … 3·f + 2    of four f: the signs of its first three inputs, all turned round where the fourth is negative
    bit 31 − f           the sign of the fourth

``vpermps`` reads the low three bits of a lane. Two shifts, a permute, an and, an xor and an addition for 32 products.
"""

from typing import Any

import llvmlite.ir as ir

from .llvm import F32, I32, const, emit_intrinsic, splat
from .signed_sums import FOURS, emit_flip, emit_pairs, emit_table, make_signed_sums

__all__ = ["sums_eights"]

_SUMS, _WORDS = ir.VectorType(F32, 8), ir.VectorType(I32, 8)


def _prepare(b: Any, inputs: Any) -> list[Any]:
    return [emit_table(b, b.add(inputs, const(16 * four)), 8) for four in range(FOURS)]


def _sum(b: Any, tables: list[Any], words: Any) -> Any:
    def found(four: int) -> Any:
        lanes = b.lshr(words, splat(_WORDS, 3 * four)) if four else words
        value = emit_intrinsic(b, "llvm.x86.avx2.permps", _SUMS, tables[four], lanes)
        sign = b.and_(b.shl(words, splat(_WORDS, four)) if four else words, splat(_WORDS, 1 << 31))
        return emit_flip(b, value, sign)

    return emit_pairs(b, [found(four) for four in range(FOURS)])


sums_eights = make_signed_sums(8, _prepare, _sum)
