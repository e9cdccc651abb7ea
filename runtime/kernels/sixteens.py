"""SIXTEENS, the signed sums of AVX-512: the sixteen sums of four inputs are one register, in which a permute looks up.

``vpermps`` reads the low four bits of each of sixteen lanes, so a word is shifted by four from one four to the next and
nothing is masked: a shift, a permute and an addition for 64 products. Eight tables stay in registers through a step.
"""

from typing import Any

import llvmlite.ir as ir

from .llvm import F32, I32, broadcast, cg, const, emit_load, splat
from .signed_sums import FOURS, emit_flip, emit_four, make_signed_sums

__all__ = ["sums_sixteens"]

_SUMS, _WORDS = ir.VectorType(F32, 16), ir.VectorType(I32, 16)


def _prepare(b: Any, inputs: Any) -> list[Any]:
    """Emit the table of each four: in lane n the sum with the signs of the bits of n."""
    signs = [ir.Constant(_WORDS, [(lane >> bit & 1) << 31 for lane in range(16)]) for bit in range(4)]
    tables = []
    for four in range(FOURS):
        places = [b.add(inputs, const(16 * four + 4 * bit)) for bit in range(4)]
        spread = [broadcast(b, emit_load(b, place, F32), 16) for place in places]
        tables.append(emit_four(b, *(emit_flip(b, x, sign) for x, sign in zip(spread, signs, strict=True))))
    return tables


def _find(b: Any, tables: list[Any], words: Any, four: int) -> Any:
    of_permute = ir.FunctionType(_SUMS, [_SUMS, _WORDS])
    permute = cg.get_or_insert_function(b.module, of_permute, "llvm.x86.avx512.permvar.sf.512")
    return b.call(permute, [tables[four], b.lshr(words, splat(_WORDS, 4 * four)) if four else words])


sums_sixteens = make_signed_sums(16, _prepare, _find)
