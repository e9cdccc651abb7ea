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
from .llvm import F32, I8, cg, const, emit_load, emit_mask, emit_masked_load, kernel, load_i64, routine

__all__ = ["pack_floats", "pack_pooled"]

_EIGHT = ir.VectorType(F32, 8)


def _load(b: Any, address: Any, mask: Any) -> Any:
    return emit_load(b, address, _EIGHT) if mask is None else emit_masked_load(b, address, _EIGHT, mask)


def _emit_reached(b: Any, source: Any, limits: tuple[Any, Any], mask: Any) -> Any:
    """Emit which values reach the limits, two places: thresholds, and bytes from there to factors of 1 or −1, or 0."""
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


def _emit_pool(b: Any, corner: Any, window: Any, limits: tuple[Any, Any], target: Any, nibbles: Any, mask: Any) -> None:
    rows, columns, row, column = window
    found = cg.alloca_once(b, I8)
    b.store(ir.Constant(I8, 0), found)
    with cg.for_range(b, rows) as outer, cg.for_range(b, columns) as inner:
        place = b.add(corner, b.add(b.mul(outer.index, row), b.mul(inner.index, column)))
        b.store(b.or_(b.load(found), _emit_reached(b, place, limits, mask)), found)
    emit_bits(b, target, b.load(found), nibbles)


@routine
def _any_eight(
    b: Any, corner: Any, rows: Any, columns: Any, row: Any, column: Any, threshold: Any, turn: Any, target: Any,
    nibbles: Any,
) -> None:  # fmt: skip
    """Pack eight channels of a window of ``rows`` × ``columns`` pixels: bits of what reaches the threshold anywhere."""
    _emit_pool(b, corner, (rows, columns, row, column), (threshold, turn), target, nibbles, None)


@routine
def _any_some(
    b: Any, corner: Any, rows: Any, columns: Any, row: Any, column: Any, threshold: Any, turn: Any, target: Any,
    nibbles: Any, count: Any,
) -> None:  # fmt: skip
    """Pack ``count`` channels of a window, less than eight, in the same way."""
    _emit_pool(b, corner, (rows, columns, row, column), (threshold, turn), target, nibbles, emit_mask(b, count, 8))


@kernel
def pack_floats(words: int, image: int, begin: int, end: int) -> None:
    """Pack rows ``begin … end − 1`` of one image by ``value · turn[c] >= threshold[c]`` (NaN gives 0)."""
    source = load_i64(words, PackWord.SOURCE) + image * load_i64(words, PackWord.SOURCE_STRIDE)
    target = load_i64(words, PackWord.TARGET) + image * load_i64(words, PackWord.TARGET_STRIDE)
    threshold, turn = load_i64(words, PackWord.THRESHOLD), load_i64(words, PackWord.TURN)
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
    """Pack rows of the max-pool of one image: a bit is 1 where any of a window is, by the same comparison."""
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
                for _ in range(whole):
                    _any_eight(corner, rows, columns, row_stride, pixel_stride, limits, turn, put, nibbles)
                    corner, limits, put = corner + 32, limits + 32, put + 1 + nibbles
                if left:
                    _any_some(corner, rows, columns, row_stride, pixel_stride, limits, turn, put, nibbles, left)
