"""Arithmetic on bit planes: plane p of a number holds bit p of 512 counts, eight cells of 64 channels.

Every function emits plain vector operations, a bit of the vectors being a channel; LLVM makes one instruction of three
operands of them where the CPU has it.
"""

from typing import Any

import llvmlite.ir as ir

from .llvm import I8, I32, I64, splat

__all__ = ["CELLS", "emit_below", "emit_counts", "emit_eight", "emit_ripple"]

CELLS, COUNTS = ir.VectorType(I64, 8), ir.VectorType(I8, 64)


def _full_adder(b: Any, one: Any, two: Any, three: Any) -> tuple[Any, Any]:
    """Emit sum and carry of three bits: where the first two differ the third is the carry, else either of them."""
    differ = b.xor(one, two)
    carry = b.xor(b.and_(b.xor(one, three), differ), one)
    return b.xor(differ, three), carry


def emit_ripple(b: Any, planes: list[Any], bit: Any) -> None:
    """Emit planes += bit; the last carry is known to be none."""
    for plane in planes[:-1]:
        before = b.load(plane)
        b.store(b.xor(before, bit), plane)
        bit = b.and_(before, bit)
    b.store(b.xor(b.load(planes[-1]), bit), planes[-1])


def emit_eight(b: Any, planes: list[Any], bits: list[Any]) -> None:
    """Emit planes += the sum of eight bits."""
    for plane in planes[:3]:
        total, carries = b.load(plane), []
        for one, other in zip(bits[::2], bits[1::2], strict=True):
            total, carry = _full_adder(b, total, one, other)
            carries.append(carry)
        b.store(total, plane)
        bits = carries
    emit_ripple(b, planes[3:], bits[0])


def _transpose(b: Any, planes: list[Any]) -> list[Any]:
    """Emit eight byte vectors from up to eight planes: byte j of vector k is the count of channel 8 j + k.

    Three rounds merge bits to pairs, pairs to nibbles and nibbles to bytes: of two vectors one takes the low fields of
    both, the other the high fields.
    """
    fields = planes + [splat(CELLS, 0)] * (8 - len(planes))
    for size, low in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        lower, higher, places = splat(CELLS, low), splat(CELLS, low << size), splat(CELLS, size)
        merged = list(fields)
        for plane in range(8):
            if plane & size:
                continue
            one, other = fields[plane], fields[plane | size]
            merged[plane] = b.or_(b.and_(one, lower), b.and_(b.shl(other, places), higher))
            merged[plane | size] = b.or_(b.and_(b.lshr(one, places), lower), b.and_(other, higher))
        fields = merged
    return [b.bitcast(field, COUNTS) for field in fields]


def _interleave(b: Any, counts: list[Any]) -> list[Any]:
    """Emit the counts in order: the 16 bytes at 16 q of vector m are those of the channels from 128 q + 16 m on."""
    order = [[16 * q + 8 * half + i // 2 + 64 * (i % 2) for q in range(4) for i in range(16)] for half in range(2)]
    orders = [ir.Constant(ir.VectorType(I32, 64), places) for places in order]
    for _ in range(3):
        counts = [b.shuffle_vector(counts[i], counts[i + 4], places) for i in range(4) for places in orders]
    return counts


def emit_counts(b: Any, planes: list[Any]) -> list[Any]:
    """Emit the counts of 512 channels in order, a byte each, as 32 vectors of 16."""
    vectors = _interleave(b, _transpose(b, planes))
    parts = [ir.Constant(ir.VectorType(I32, 16), list(range(start, start + 16))) for start in range(0, 64, 16)]
    return [b.shuffle_vector(vector, vector, part) for part in parts for vector in vectors]


def emit_below(b: Any, planes: list[Any], limits: list[Any]) -> Any:
    """Emit a bit for each channel, 1 where its count is below its limit: the highest plane that differs decides."""
    below: Any = splat(CELLS, 0)
    for plane, limit in zip(planes, limits, strict=True):
        differ = b.xor(plane, limit)
        below = b.or_(b.and_(differ, limit), b.and_(b.not_(differ), below))
    return below
