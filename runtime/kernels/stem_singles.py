"""Sums of the exact stem, one int16 of a pixel after another, for NEON: ``smlal`` by an element.

A product of int16 is added to an int32 in one instruction, four channels at a time, where the pairs of x86 take a
multiplication and an addition of neighbours, which NEON would do in four instructions. 256 products are 64 ``smlal``
and eight loads (:mod:`.stem_elements`).
"""

from typing import Any

import llvmlite.ir as ir

from .llvm import I16, const, emit_load
from .stem_elements import FOUR, make_sums

__all__ = ["sums_singles"]

_EIGHT = ir.VectorType(I16, 8)
_HALVES = [ir.Constant(FOUR, list(range(first, first + 4))) for first in (0, 4)]


def _multiply(b: Any, sums: list[Any], spread: Any, weights: Any) -> list[Any]:
    added = []
    for v, total in enumerate(sums):
        eight, half = emit_load(b, b.add(weights, const(16 * (v // 2))), _EIGHT, 16), _HALVES[v % 2]
        four, element = (b.sext(b.shuffle_vector(each, each, half), FOUR) for each in (eight, spread))
        added.append(b.add(total, b.mul(four, element)))
    return added


sums_singles = make_sums(I16, False, _multiply)
"""A row of sums of a block of channels."""
