"""TBL, the look-up kernel for NEON: one ``tbl`` counts four channels of two pixels for 16 output channels.

It counts as LUT2 does (:mod:`.pairs`), with ``usra`` for H += X >> 4. 384 products cost seven operations where CTP
takes nine. An entry of its pair image is the offset of a row in the table, so a look-up needs no arithmetic of
addresses: ``ldrh, ldr, tbl``.

Cores differ: an A72 takes one and a half cycles for a ``tbl``, and counts faster by CTP (docs/performance.md).
LLVM has no portable instruction that looks up bytes. So the module calls :data:`LOOK_UP`, which
:mod:`..machine.objects` defines as ``tbl`` for AArch64. Elsewhere it is what stands here, 16 moves of a byte: slow,
but it gives the same integers, and so the tests of every machine run this kernel.
"""

from typing import Any

import llvmlite.ir as ir

from ..machine.objects import LOOK_UP
from .llvm import I8, I16, I32, I64, const, emit_load, portable, splat
from .pairs import PAIRS, make_pair_convolution, make_pair_image

__all__ = ["conv_tbl", "offset_image"]

_LANES, _VECTORS, _ROW_BYTES = 16, 4, 16
_KIND = ir.VectorType(I8, _LANES)


def _body(
    b: Any, table: Any, sources: list[Any], weights: Any, low: list[Any], high: list[Any], steps: int
) -> tuple[list[Any], list[Any]]:
    """Emit a sum of up to three look-ups for vector after vector of channels.

    In this order counters and rows take 22 registers of 32. Step after step, as in LUT2, LLVM spills some of them.
    """
    low, high = list(low), list(high)
    look_up = portable(b.module, LOOK_UP, _KIND, (_KIND, _KIND), _find)
    rows = [[_row(b, table, b.add(source, const(2 * step))) for step in range(steps)] for source in sources]
    for v in range(_VECTORS):
        lanes = [emit_load(b, b.add(weights, const(_LANES * (step * _VECTORS + v))), _KIND) for step in range(steps)]
        sums: list[Any] = [None] * PAIRS
        for step in range(steps):
            for p in range(PAIRS):
                found = b.call(look_up, [rows[p][step], lanes[step]])
                sums[p] = found if sums[p] is None else b.add(sums[p], found)
        for p, found in enumerate(sums):
            t = p * _VECTORS + v
            low[t], high[t] = b.add(low[t], found), b.add(high[t], b.lshr(found, splat(_KIND, 4)))
    return low, high


def _row(b: Any, table: Any, entry: Any) -> Any:
    return emit_load(b, b.add(table, b.zext(emit_load(b, entry, I16), I64)), _KIND, 16)


def _find(b: Any, row: Any, lanes: Any) -> Any:
    """Emit the bytes of a row at these places."""
    found = ir.Constant(_KIND, ir.Undefined)
    for lane in (ir.Constant(I32, number) for number in range(_LANES)):
        place = b.zext(b.extract_element(lanes, lane), I32)
        found = b.insert_element(found, b.extract_element(row, place), lane)
    return found


offset_image = make_pair_image(_ROW_BYTES // 2)
"""The pair image in offsets: bytes of a packed image are two times a nibble, so a + 17·b is two times a row."""
conv_tbl = make_pair_convolution(_body, [3, 1], _KIND)
"""The convolution over the pair image that :func:`offset_image` made before."""
