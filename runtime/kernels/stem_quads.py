"""Sums of the exact stem in fours of bytes, for x86 with AVX-512 VNNI.

``vpdpbusd`` multiplies four unsigned by four signed bytes and adds all to int32, without saturation: pixels as they are
times int8 weights. The zero point is taken out of the loop: Σ w·(p − z) = Σ w·p − Σ w·z, so each lane starts at −Σ w·z.
Padding is stored as the zero point. Zero weights fill a window row of kw·C bytes up to fours; where one byte is left,
it is taken in a four with those of the rows below, so a 7×7 of three colours takes 37 fours and not 42::

    image row   … p0r p0g p0b p1r │ p1g p1b p2r p2g │ …    four bytes are broadcast from memory to sixteen lanes,
    weights     [o0 o0 o0 o0│ … │o15 o15 o15 o15]          four bytes a lane

A tile is 4 pixels × 64 channels: 16 accumulators of the 32 registers, 16 vector operations for 1024 products.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import StemWord
from .llvm import (
    I8,
    I32,
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
)

__all__ = ["sums_quads"]

_PIXELS, _LANES = 4, 64
_VECTORS = _LANES // 16
_SUMS = ir.VectorType(I32, 16)


@routine
def _tile(b: Any, words: Any, one: Any, two: Any, three: Any, four: Any, weights: Any, target: Any) -> None:
    """Write sums int32 of the windows at four addresses × 64 channels to ``target``, SUMS_PIXEL bytes apart."""
    row, rows, quads, pixel = (
        emit_word(b, words, which)
        for which in (StemWord.ROW, StemWord.KERNEL_HEIGHT, StemWord.KERNEL_STEPS, StemWord.SUMS_PIXEL)
    )
    sums = [cg.alloca_once(b, _SUMS) for _ in range(_PIXELS * _VECTORS)]  # variables that become registers
    for v in range(_VECTORS):
        start = emit_load(b, b.add(weights, const(64 * v)), _SUMS, 64)
        for p in range(_PIXELS):
            b.store(start, sums[p * _VECTORS + v])
    place = cg.alloca_once_value(b, b.add(weights, const(4 * _LANES)))

    def multiply(p: int, pixels: Any, lanes: list[Any]) -> None:
        """Emit the products of four bytes of pixel ``p`` with the weights of all lanes."""
        spread = broadcast(b, pixels, _SUMS.count)
        for t, lane in zip(sums[p * _VECTORS :], lanes, strict=False):
            b.store(emit_intrinsic(b, "llvm.x86.avx512.vpdpbusd.512", _SUMS, b.load(t), spread, lane), t)

    with cg.for_range(b, rows) as outer:
        sources = [b.add(corner, b.mul(outer.index, row)) for corner in (one, two, three, four)]
        with cg.for_range(b, quads) as inner:
            offset = b.mul(inner.index, const(4))
            at = b.load(place)
            lanes = [emit_load(b, b.add(at, const(64 * v)), _SUMS, 64) for v in range(_VECTORS)]
            for p, source in enumerate(sources):
                multiply(p, emit_load(b, b.add(source, offset), I32), lanes)
            b.store(b.add(at, const(4 * _LANES)), place)
    last = b.sub(rows, const(1))
    with cg.for_range(b, emit_word(b, words, StemWord.COLUMN_STEPS)) as column:
        at, offset = b.load(place), b.mul(quads, const(4))
        lanes = [emit_load(b, b.add(at, const(64 * v)), _SUMS, 64) for v in range(_VECTORS)]
        steps = [b.add(b.mul(column.index, const(4)), const(i)) for i in range(4)]
        below = [b.add(offset, b.mul(row, b.select(b.icmp_signed("<", i, last), i, last))) for i in steps]
        for p, corner in enumerate((one, two, three, four)):
            four_bytes: Any = ir.Constant(I32, 0)
            for i, distance in enumerate(below):
                byte = b.zext(emit_load(b, b.add(corner, distance), I8), I32)
                four_bytes = b.or_(four_bytes, b.shl(byte, ir.Constant(I32, 8 * i)))
            multiply(p, four_bytes, lanes)
        b.store(b.add(at, const(4 * _LANES)), place)
    for p in range(_PIXELS):
        for v in range(_VECTORS):
            at = b.add(target, b.add(b.mul(pixel, const(p)), const(64 * v)))
            emit_store(b, at, b.load(sums[p * _VECTORS + v]))


@kernel
def sums_quads(words: int, corner: int, weights: int, target: int) -> None:
    """Write a row of sums of a block of channels, and up to three pixels behind it, which the ring has room for."""
    pixel, sums_pixel, width = (
        load_i64(words, StemWord.PIXEL),
        load_i64(words, StemWord.SUMS_PIXEL),
        load_i64(words, StemWord.WIDTH),
    )
    for x in range(0, width, _PIXELS):
        one, last = corner + x * pixel, corner + (width - 1) * pixel  # places behind the row repeat its last pixel
        two, three, four = min(one + pixel, last), min(one + 2 * pixel, last), min(one + 3 * pixel, last)
        _tile(words, one, two, three, four, weights, target + x * sums_pixel)
