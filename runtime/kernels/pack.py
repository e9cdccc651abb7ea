"""Packing: float32 values, channels last, to the packed image that a convolution kernel reads.

Work is counted in rows of pixels. Channel c of group g of a pixel goes to bit ``c % 8`` of byte ``c // 8`` of its
group, or, in the form with four channels a byte, to bit ``1 + c % 4`` of byte ``c // 4`` (two times the nibble, see
:mod:`.lut`).
Eight neighbouring channels are compared at once, those that are left of a group one by one.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import PackWord
from .bit_store import emit_bits
from .llvm import F32, I8, cg, emit_load, kernel, load_f32, load_i64, routine, store_u8

__all__ = ["pack_floats", "pack_pooled"]

_EIGHT = ir.VectorType(F32, 8)


@routine
def _eight(b: Any, source: Any, threshold: Any, target: Any, nibbles: Any) -> None:
    """Pack eight floats at ``source`` by eight thresholds to one byte, or to two of 2 · nibble."""
    mask = b.fcmp_ordered(">=", emit_load(b, source, _EIGHT), emit_load(b, threshold, _EIGHT))
    emit_bits(b, target, b.bitcast(mask, I8), nibbles)


@routine
def _any_eight(
    b: Any, corner: Any, rows: Any, columns: Any, row: Any, column: Any, threshold: Any, target: Any,
    nibbles: Any,
) -> None:  # fmt: skip
    """Pack eight channels of a window of ``rows`` × ``columns`` pixels: bits of what reaches the threshold anywhere."""
    limit = emit_load(b, threshold, _EIGHT)
    found = cg.alloca_once(b, I8)
    b.store(ir.Constant(I8, 0), found)
    with cg.for_range(b, rows) as outer, cg.for_range(b, columns) as inner:
        place = b.add(corner, b.add(b.mul(outer.index, row), b.mul(inner.index, column)))
        mask = b.bitcast(b.fcmp_ordered(">=", emit_load(b, place, _EIGHT), limit), I8)
        b.store(b.or_(b.load(found), mask), found)
    emit_bits(b, target, b.load(found), nibbles)


@kernel
def pack_floats(words: int, image: int, begin: int, end: int) -> None:
    """Pack rows ``begin … end − 1`` of one image by ``value >= threshold[c]`` (NaN gives 0)."""
    source = load_i64(words, PackWord.SOURCE) + image * load_i64(words, PackWord.SOURCE_STRIDE)
    target = load_i64(words, PackWord.TARGET) + image * load_i64(words, PackWord.TARGET_STRIDE)
    threshold = load_i64(words, PackWord.THRESHOLD)
    row_stride, pixel_stride = load_i64(words, PackWord.ROW_STRIDE), load_i64(words, PackWord.PIXEL_STRIDE)
    groups, channels = load_i64(words, PackWord.GROUPS), load_i64(words, PackWord.GROUP_CHANNELS)
    row_bytes, pixel_bytes = load_i64(words, PackWord.ROW_BYTES), load_i64(words, PackWord.PIXEL_BYTES)
    group_bytes, nibbles = load_i64(words, PackWord.GROUP_BYTES), load_i64(words, PackWord.NIBBLES)
    width, per_byte, whole = load_i64(words, PackWord.WIDTH), 8 - 4 * nibbles, channels // 8
    for y in range(begin, end):
        for x in range(width):
            pixel = y * row_stride + x * pixel_stride
            place = target + y * row_bytes + x * pixel_bytes
            for group in range(groups):
                values, limits = source + 4 * (pixel + group * channels), threshold + 4 * group * channels
                for eight in range(whole):
                    put = place + group * group_bytes + eight * (1 + nibbles)
                    _eight(values + 32 * eight, limits + 32 * eight, put, nibbles)
                for byte in range(whole * (1 + nibbles), (channels + per_byte - 1) // per_byte):
                    bits = 0
                    first = byte * per_byte
                    for bit in range(min(per_byte, channels - first)):
                        channel = group * channels + first + bit
                        if load_f32(source, pixel + channel) >= load_f32(threshold, channel):
                            bits |= 1 << (bit + nibbles)
                    store_u8(place, group * group_bytes + byte, bits)


@kernel
def pack_pooled(words: int, image: int, begin: int, end: int) -> None:
    """Pack rows of the max-pool of one image: a bit is 1 where any value of the window reaches the threshold."""
    source = load_i64(words, PackWord.SOURCE) + image * load_i64(words, PackWord.SOURCE_STRIDE)
    target = load_i64(words, PackWord.TARGET) + image * load_i64(words, PackWord.TARGET_STRIDE)
    threshold = load_i64(words, PackWord.THRESHOLD)
    row_stride, pixel_stride = load_i64(words, PackWord.ROW_STRIDE), load_i64(words, PackWord.PIXEL_STRIDE)
    groups, channels = load_i64(words, PackWord.GROUPS), load_i64(words, PackWord.GROUP_CHANNELS)
    row_bytes, pixel_bytes = load_i64(words, PackWord.ROW_BYTES), load_i64(words, PackWord.PIXEL_BYTES)
    group_bytes, nibbles = load_i64(words, PackWord.GROUP_BYTES), load_i64(words, PackWord.NIBBLES)
    height, width = load_i64(words, PackWord.SOURCE_HEIGHT), load_i64(words, PackWord.SOURCE_WIDTH)
    per_byte = 8 - 4 * nibbles
    for y in range(begin, end):
        start_y = y * load_i64(words, PackWord.POOL_STRIDE_Y) - load_i64(words, PackWord.POOL_TOP)
        top, bottom = max(0, start_y), min(height, start_y + load_i64(words, PackWord.POOL_HEIGHT))
        for x in range(load_i64(words, PackWord.WIDTH)):
            start_x = x * load_i64(words, PackWord.POOL_STRIDE_X) - load_i64(words, PackWord.POOL_LEFT)
            left, right = max(0, start_x), min(width, start_x + load_i64(words, PackWord.POOL_WIDTH))
            place = target + y * row_bytes + x * pixel_bytes
            for group in range(groups):
                for eight in range(channels // 8):
                    channel = 4 * (group * channels + 8 * eight)
                    corner = source + 4 * (top * row_stride + left * pixel_stride) + channel
                    put = place + group * group_bytes + eight * (1 + nibbles)
                    steps = 4 * row_stride, 4 * pixel_stride
                    _any_eight(
                        corner, bottom - top, right - left, steps[0], steps[1], threshold + channel, put, nibbles
                    )
                for byte in range(channels // 8 * (1 + nibbles), (channels + per_byte - 1) // per_byte):
                    bits = 0
                    first = byte * per_byte
                    for bit in range(min(per_byte, channels - first)):
                        channel = group * channels + first + bit
                        limit = load_f32(threshold, channel)
                        for sy in range(top, bottom):
                            for sx in range(left, right):
                                if load_f32(source, sy * row_stride + sx * pixel_stride + channel) >= limit:
                                    bits |= 1 << (bit + nibbles)
                    store_u8(place, group * group_bytes + byte, bits)
