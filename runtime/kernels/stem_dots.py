"""Sums of the exact stem in fours of bytes, for ARM cores with dot products: ``sdot`` by an element.

It multiplies four signed bytes by four and adds all to int32, four channels at a time: 512 products are 32 ``sdot`` and
twelve loads (:mod:`.stem_elements`). Pixels lie as pixel − 128, which a signed byte holds, and a lane starts at
−Σ w·(zero point − 128). Zero weights fill a window row of kw·C bytes up to fours.

LLVM has no portable instruction for it. So the module calls :data:`DOT`, which :mod:`..machine.objects` defines as
``sdot`` for AArch64. Elsewhere it is what stands here, slow but with the same integers, for tests on every machine.
"""

from typing import Any

import llvmlite.ir as ir

from ..machine.objects import DOT
from .llvm import I8, I32, const, emit_load, portable
from .stem_elements import FOUR, make_sums

__all__ = ["sums_dots"]

_BYTES, _WIDE = ir.VectorType(I8, 16), ir.VectorType(I32, 16)


def _fours(b: Any, total: Any, one: Any, other: Any) -> Any:
    """Emit four sums plus those of the products of four bytes each."""
    products = b.mul(b.sext(one, _WIDE), b.sext(other, _WIDE))
    for first in range(4):
        total = b.add(total, b.shuffle_vector(products, products, ir.Constant(FOUR, list(range(first, 16, 4)))))
    return total


def _multiply(b: Any, sums: list[Any], spread: Any, weights: Any) -> list[Any]:
    dot, element = portable(b.module, DOT, FOUR, (FOUR, _BYTES, _BYTES), _fours), b.bitcast(spread, _BYTES)
    return [
        b.call(dot, [total, element, emit_load(b, b.add(weights, const(16 * v)), _BYTES, 16)])
        for v, total in enumerate(sums)
    ]


sums_dots = make_sums(I32, True, _multiply)
"""A row of sums of a block of channels."""
