"""FLIPS, the signed sums of every CPU: each bit is shifted to the place of the sign and flips that of an input.

Nothing is looked up: a shift, an and, an xor and an addition for as many products as a register has lanes.
"""

from typing import Any

import llvmlite.ir as ir

from .llvm import F32, I32, broadcast, const, emit_load, splat
from .signed_sums import FOURS, emit_flip, emit_four, make_signed_sums

__all__ = ["sums_flips"]

_WORDS = ir.VectorType(I32, 16)


def _prepare(b: Any, inputs: Any) -> list[Any]:
    """Emit each input in all lanes."""
    return [broadcast(b, emit_load(b, b.add(inputs, const(4 * index)), F32), 16) for index in range(4 * FOURS)]


def _find(b: Any, spread: list[Any], words: Any, four: int) -> Any:
    def signed(index: int) -> Any:
        sign = b.and_(b.shl(words, splat(_WORDS, 31 - index)), splat(_WORDS, 1 << 31))
        return emit_flip(b, spread[index], sign)

    return emit_four(b, *(signed(4 * four + bit) for bit in range(4)))


sums_flips = make_signed_sums(16, _prepare, _find)
