"""SIXTEENS, the signed sums of AVX-512: the sixteen sums of four inputs are one register, in which a permute looks up.

``vpermps`` reads the low four bits of each of sixteen lanes, so a word is shifted by four from one four to the next and
nothing is masked: a shift, a permute and an addition for 64 products. Eight tables stay in registers through a step.
"""

from typing import Any

import llvmlite.ir as ir

from .llvm import F32, I32, const, emit_intrinsic, splat
from .signed_sums import FOURS, emit_pairs, emit_table, make_signed_sums

__all__ = ["sums_sixteens"]

_SUMS, _WORDS = ir.VectorType(F32, 16), ir.VectorType(I32, 16)


def _prepare(b: Any, inputs: Any) -> list[Any]:
    return [emit_table(b, b.add(inputs, const(16 * four)), 16) for four in range(FOURS)]


def _sum(b: Any, tables: list[Any], words: Any) -> Any:
    def found(four: int) -> Any:
        lanes = b.lshr(words, splat(_WORDS, 4 * four)) if four else words
        return emit_intrinsic(b, "llvm.x86.avx512.permvar.sf.512", _SUMS, tables[four], lanes)

    return emit_pairs(b, [found(four) for four in range(FOURS)])


sums_sixteens = make_signed_sums(16, _prepare, _sum)
