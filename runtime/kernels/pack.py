"""Packing: float32 values, channels last, to the packed image that a convolution kernel reads.

Work is counted in rows of pixels. Channel c of group g of a pixel goes to bit ``c % 8`` of byte ``c // 8`` of its
group, or, in the form with four channels a byte, to bit ``1 + c % 4`` of byte ``c // 4`` (two times the nibble, see
:mod:`.lut`).
Eight neighbouring channels are compared at once, those that are left of a group under a mask.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import PackWord
from .bit_store import emit_bits
from .llvm import (
    F32,
    I8,
    cg,
    const,
    emit_load,
    emit_mask,
    emit_masked_load,
    emit_store,
    keep_short,
    kernel,
    load_i64,
    routine,
    splat,
)

__all__ = ["pack_floats", "pack_pooled"]

_EIGHT, _TRUTHS = ir.VectorType(F32, 8), ir.VectorType(ir.IntType(1), 8)
_MANY = 4
"""Vectors of eight channels that go over a window together: turns of its loops cost more than what is done there."""


def _load(b: Any, address: Any, mask: Any) -> Any:
    return emit_load(b, address, _EIGHT) if mask is None else emit_masked_load(b, address, _EIGHT, mask)


def _emit_reached(b: Any, source: Any, limits: tuple[Any, Any], mask: Any) -> Any:
    """Emit which values reach the limits, two places: thresholds, and bytes from there to factors, or 0."""
    threshold, turn = limits
    value = cg.alloca_once_value(b, _load(b, source, mask))
    with b.if_then(b.icmp_signed("!=", turn, const(0)), likely=False):
        b.store(b.fmul(b.load(value), _load(b, b.add(threshold, turn), mask)), value)
    reached = b.fcmp_ordered(">=", b.load(value), _load(b, threshold, mask))
    return b.bitcast(reached if mask is None else b.and_(reached, mask), I8)


def _emit_pack(b: Any, source: Any, limits: tuple[Any, Any], target: Any, nibbles: Any, mask: Any) -> None:
    emit_bits(b, target, _emit_reached(b, source, limits, mask), nibbles)


@routine
def _eight(b: Any, source: Any, threshold: Any, turn: Any, target: Any, nibbles: Any) -> None:
    """Pack eight floats at ``source`` by eight thresholds to one byte, or to two of 2 · nibble."""
    _emit_pack(b, source, (threshold, turn), target, nibbles, None)


@routine
def _some(b: Any, source: Any, threshold: Any, turn: Any, target: Any, nibbles: Any, count: Any) -> None:
    """Pack ``count`` floats, less than eight, in the same way; the bits of the others are zeros."""
    _emit_pack(b, source, (threshold, turn), target, nibbles, emit_mask(b, count, 8))


def _emit_pool(b: Any, corner: Any, window: Any, places: Any, nibbles: Any, nan: Any, mask: Any, vectors: int) -> None:
    """Emit eight channels of a window for each of ``vectors``; of a part of eight, as ``mask`` says, for one.

    Only one alone is turned by its factors.
    """
    (rows, columns, row, column), (threshold, turn, target) = window, places
    factor = None
    if vectors == 1:
        turned = b.icmp_signed("!=", turn, const(0))
        factor = b.select(turned, _load(b, b.add(threshold, turn), mask), splat(_EIGHT, 1.0))
    largest, unordered = [cg.alloca_once(b, _EIGHT) for _ in range(vectors)], cg.alloca_once(b, _TRUTHS)
    for each in largest:
        b.store(splat(_EIGHT, float("-inf")), each)
    b.store(splat(_TRUTHS, 0), unordered)
    with cg.for_range(b, rows) as outer, cg.for_range(b, columns) as inner:
        place = b.add(corner, b.add(b.mul(outer.index, row), b.mul(inner.index, column)))
        values = [_load(b, b.add(place, const(32 * v)), mask) for v in range(vectors)]
        for value, each in zip(values, largest, strict=True):
            value, best = value if factor is None else b.fmul(value, factor), b.load(each)
            b.store(b.select(b.fcmp_ordered(">", value, best), value, best), each)  # a NaN is never the largest
        for v in range(0, vectors, 2):
            either = b.fcmp_unordered("uno", values[v], values[min(v + 1, vectors - 1)])
            b.store(b.or_(b.load(unordered), either), unordered)
    for loop in (inner, outer):
        keep_short(b, loop)
    with b.if_then(b.icmp_signed("!=", b.bitcast(b.load(unordered), I8), ir.Constant(I8, 0)), likely=False):
        emit_store(b, nan, const(1))
    for v, each in enumerate(largest):
        reached = b.fcmp_ordered(">=", b.load(each), _load(b, b.add(threshold, const(32 * v)), mask))
        reached = reached if mask is None else b.and_(reached, mask)
        place = b.add(target, b.mul(const(v), b.add(nibbles, const(1))))
        emit_bits(b, place, b.bitcast(reached, I8), nibbles)


def _make_pool(vectors: int) -> Any:
    """Return the routine of eight channels for each of ``vectors``; of none it takes ``count``, less than eight."""

    @routine
    def pool(
        b: Any, corner: Any, rows: Any, columns: Any, row: Any, column: Any, threshold: Any, turn: Any, target: Any,
        nibbles: Any, nan: Any, count: Any,
    ) -> None:  # fmt: skip
        mask = None if vectors else emit_mask(b, count, 8)
        places = threshold, turn, target
        _emit_pool(b, corner, (rows, columns, row, column), places, nibbles, nan, mask, max(1, vectors))

    return pool


_pool_many, _pool_eight, _pool_some = _make_pool(_MANY), _make_pool(1), _make_pool(0)


@kernel
def pack_floats(words: int, image: int, begin: int, end: int) -> None:
    """Pack rows ``begin … end − 1`` of one image by ``value · turn[c] >= threshold[c]`` (NaN gives 0).

    A turn is 1 or −1, or the gate of the image and channel.
    """
    source = load_i64(words, PackWord.SOURCE) + image * load_i64(words, PackWord.SOURCE_STRIDE)
    target = load_i64(words, PackWord.TARGET) + image * load_i64(words, PackWord.TARGET_STRIDE)
    threshold, turn = load_i64(words, PackWord.THRESHOLD), load_i64(words, PackWord.TURN)
    if turn != 0:
        turn += image * load_i64(words, PackWord.TURN_STRIDE)
    row_stride, pixel_stride = 4 * load_i64(words, PackWord.ROW_STRIDE), 4 * load_i64(words, PackWord.PIXEL_STRIDE)
    groups, channels = load_i64(words, PackWord.GROUPS), load_i64(words, PackWord.GROUP_CHANNELS)
    row_bytes, pixel_bytes = load_i64(words, PackWord.ROW_BYTES), load_i64(words, PackWord.PIXEL_BYTES)
    group_bytes, nibbles = load_i64(words, PackWord.GROUP_BYTES), load_i64(words, PackWord.NIBBLES)
    group_stride = 4 * load_i64(words, PackWord.GROUP_STRIDE)
    whole, left = channels // 8, channels % 8
    for y in range(begin, end):
        for x in range(load_i64(words, PackWord.WIDTH)):
            pixel = source + y * row_stride + x * pixel_stride
            place = target + y * row_bytes + x * pixel_bytes
            for group in range(groups):
                values, limits = pixel + group * group_stride, threshold + 4 * group * channels
                put = place + group * group_bytes
                for _ in range(whole):
                    _eight(values, limits, turn, put, nibbles)
                    values, limits, put = values + 32, limits + 32, put + 1 + nibbles
                if left:
                    _some(values, limits, turn, put, nibbles, left)


@kernel
def pack_pooled(words: int, image: int, begin: int, end: int) -> None:
    """Pack rows of the max-pool of one image: a bit is 1 where any of the window is, by the same comparison.

    That is the max-pool of the signs, NaN included. Of a NaN among floats engines make different maxima: it sets NAN.
    """
    nan = words + 8 * PackWord.NAN
    source = load_i64(words, PackWord.SOURCE) + image * load_i64(words, PackWord.SOURCE_STRIDE)
    target = load_i64(words, PackWord.TARGET) + image * load_i64(words, PackWord.TARGET_STRIDE)
    threshold, turn = load_i64(words, PackWord.THRESHOLD), load_i64(words, PackWord.TURN)
    row_stride, pixel_stride = 4 * load_i64(words, PackWord.ROW_STRIDE), 4 * load_i64(words, PackWord.PIXEL_STRIDE)
    groups, channels = load_i64(words, PackWord.GROUPS), load_i64(words, PackWord.GROUP_CHANNELS)
    row_bytes, pixel_bytes = load_i64(words, PackWord.ROW_BYTES), load_i64(words, PackWord.PIXEL_BYTES)
    group_bytes, nibbles = load_i64(words, PackWord.GROUP_BYTES), load_i64(words, PackWord.NIBBLES)
    group_stride = 4 * load_i64(words, PackWord.GROUP_STRIDE)
    height, width = load_i64(words, PackWord.SOURCE_HEIGHT), load_i64(words, PackWord.SOURCE_WIDTH)
    whole, left = channels // 8, channels % 8
    many = 0 if turn != 0 else whole // _MANY
    for y in range(begin, end):
        start_y = y * load_i64(words, PackWord.POOL_STRIDE_Y) - load_i64(words, PackWord.POOL_TOP)
        top, bottom = max(0, start_y), min(height, start_y + load_i64(words, PackWord.POOL_HEIGHT))
        rows = bottom - top
        for x in range(load_i64(words, PackWord.WIDTH)):
            start_x = x * load_i64(words, PackWord.POOL_STRIDE_X) - load_i64(words, PackWord.POOL_LEFT)
            first, last = max(0, start_x), min(width, start_x + load_i64(words, PackWord.POOL_WIDTH))
            columns = last - first
            pixel = source + top * row_stride + first * pixel_stride
            place = target + y * row_bytes + x * pixel_bytes
            for group in range(groups):
                corner, limits = pixel + group * group_stride, threshold + 4 * group * channels
                put = place + group * group_bytes
                for _ in range(many):
                    _pool_many(corner, rows, columns, row_stride, pixel_stride, limits, turn, put, nibbles, nan, 0)
                    corner, limits, put = corner + 32 * _MANY, limits + 32 * _MANY, put + _MANY * (1 + nibbles)
                for _ in range(whole - _MANY * many):
                    _pool_eight(corner, rows, columns, row_stride, pixel_stride, limits, turn, put, nibbles, nan, 0)
                    corner, limits, put = corner + 32, limits + 32, put + 1 + nibbles
                if left:
                    _pool_some(corner, rows, columns, row_stride, pixel_stride, limits, turn, put, nibbles, nan, left)
