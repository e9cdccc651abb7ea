"""BYTES, the signed sums of every CPU: a byte of bits finds one of 256 sums of eight inputs, which lie in memory.

The four tables of a step take four kilobytes of the first cache, so a look-up is a load: for 32 products four of them,
four additions, and what takes a word apart. Flipping signs in registers of four lanes takes twice as many instructions.
"""

from typing import Any

import llvmlite.ir as ir

from .llvm import F32, I8, I32, I64, broadcast, cg, const, emit_load, emit_store
from .signed_sums import FOURS, emit_pairs, emit_table, make_signed_sums

__all__ = ["sums_bytes"]

_TABLE_BYTES = 4 * 256
_OUTPUTS = 4


def _prepare(b: Any, inputs: Any) -> Any:
    """Emit the tables of the four eights of inputs, and return where they lie."""
    room = cg.alloca_once(b, ir.ArrayType(I8, FOURS // 2 * _TABLE_BYTES))
    room.align = 64
    tables = b.ptrtoint(room, I64)
    for eight in range(FOURS // 2):
        low, high = (emit_table(b, b.add(inputs, const(32 * eight + 16 * half)), 16) for half in range(2))
        for row in range(16):
            sums = b.fadd(low, broadcast(b, b.extract_element(high, ir.Constant(I32, row)), 16))
            emit_store(b, b.add(tables, const(_TABLE_BYTES * eight + 64 * row)), sums, 64)
    return tables


def _sum(b: Any, tables: Any, words: Any) -> Any:
    totals = ir.Constant(ir.VectorType(F32, _OUTPUTS), ir.Undefined)
    for output in range(_OUTPUTS):
        place = ir.Constant(I32, output)
        word = b.zext(b.extract_element(words, place), I64)
        found = []
        for eight in range(FOURS // 2):
            byte = b.and_(b.lshr(word, const(8 * eight)), const(255))
            entry = b.add(b.add(tables, const(_TABLE_BYTES * eight)), b.shl(byte, const(2)))
            found.append(emit_load(b, entry, F32, 4))
        totals = b.insert_element(totals, emit_pairs(b, found), place)
    return totals


sums_bytes = make_signed_sums(_OUTPUTS, _prepare, _sum)
