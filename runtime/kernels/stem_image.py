"""The image that the exact stem's sums read: pixels with their border, channels last, in one of three forms.

===================== =========================== =========================================================
:func:`centre_pixels` int16, pixel − zero point   products are what the file asks for
:func:`place_pixels`  uint8, the pixel            a lane of sums starts at −Σ w·zero point
:func:`shift_pixels`  int8, pixel − 128           a lane of sums starts at −Σ w·(zero point − 128)
===================== =========================== =========================================================

The border is filled once, when the stem is bound.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import StemWord
from .llvm import I8, I16, I64, cg, const, emit_load, emit_store, kernel, load_i64, routine, splat

__all__ = ["centre_pixels", "place_pixels", "shift_pixels"]

_BYTES, _BYTES16, _WORDS16 = ir.VectorType(I8, 32), ir.VectorType(I8, 16), ir.VectorType(I16, 16)


@routine
def _centre(b: Any, source: Any, zero: Any, target: Any, count: Any) -> None:
    """Write ``count`` numbers byte − zero as int16, sixteen at a time, the rest one by one."""

    def some(index: Any, of_bytes: Any, of_words: Any) -> None:
        pixel = b.zext(emit_load(b, b.add(source, index), of_bytes), of_words)
        twice = b.add(index, index)
        emit_store(b, b.add(target, twice), b.sub(pixel, emit_load(b, b.add(zero, twice), of_words)))

    whole = b.and_(count, const(-16))
    with cg.for_range_slice(b, const(0), whole, const(16), I64, inc=True) as (index, _):
        some(index, _BYTES16, _WORDS16)
    with cg.for_range_slice(b, whole, count, const(1), I64, inc=True) as (index, _):
        some(index, I8, I16)


def _make_copy(flip: int) -> Any:
    """Return the routine that copies bytes, with the bits of ``flip`` turned round."""

    @routine
    def copy(b: Any, source: Any, target: Any, count: Any) -> None:
        """Copy ``count`` bytes, 32 at a time, the rest one by one."""
        whole = b.and_(count, const(-32))
        for first, last, kind, size in ((const(0), whole, _BYTES, 32), (whole, count, I8, 1)):
            with cg.for_range_slice(b, first, last, const(size), I64, inc=True) as (index, _):
                value = emit_load(b, b.add(source, index), kind)
                emit_store(b, b.add(target, index), b.xor(value, splat(kind, flip)) if flip else value)

    return copy


_copy, _copy_signed = _make_copy(0), _make_copy(128)


@kernel
def centre_pixels(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the centred image."""
    source = load_i64(words, StemWord.SOURCE) + image * load_i64(words, StemWord.SOURCE_STRIDE)
    count, row = load_i64(words, StemWord.SOURCE_ROW), load_i64(words, StemWord.ROW)
    for y in range(begin, end):
        _centre(source + y * count, load_i64(words, StemWord.ZERO), load_i64(words, StemWord.INSIDE) + y * row, count)


@kernel
def place_pixels(words: int, image: int, begin: int, end: int) -> None:
    """Copy rows ``begin … end − 1`` of the pixels into their border."""
    source = load_i64(words, StemWord.SOURCE) + image * load_i64(words, StemWord.SOURCE_STRIDE)
    count, row = load_i64(words, StemWord.SOURCE_ROW), load_i64(words, StemWord.ROW)
    for y in range(begin, end):
        _copy(source + y * count, load_i64(words, StemWord.INSIDE) + y * row, count)


@kernel
def shift_pixels(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of pixels − 128: a byte with its highest bit turned round."""
    source = load_i64(words, StemWord.SOURCE) + image * load_i64(words, StemWord.SOURCE_STRIDE)
    count, row = load_i64(words, StemWord.SOURCE_ROW), load_i64(words, StemWord.ROW)
    for y in range(begin, end):
        _copy_signed(source + y * count, load_i64(words, StemWord.INSIDE) + y * row, count)
