"""Packing: float32 values of any layout to the packed image that a convolution kernel reads.

A unit is one row of pixels. Channel c of group g of a pixel goes to bit ``c % 8`` of byte ``c // 8`` of its group, or,
in the form with four channels a byte, to bit ``1 + c % 4`` of byte ``c // 4`` (two times the nibble, see :mod:`.lut`).
Eight neighbouring channels are compared at once where they lie side by side.
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from ..layout.words import PackWord
from .llvm import F32, I8, I16, cg, const, emit_load, emit_store, load_f32, load_i64, store_u8

__all__ = ["pack_floats", "pack_pooled"]

_EIGHT = ir.VectorType(F32, 8)


def _write(b: Any, byte: Any, target: Any, nibbles: Any) -> None:
    with b.if_else(b.icmp_signed("!=", nibbles, const(0))) as (then, otherwise):
        with then:
            wide = b.zext(byte, I16)
            twice = b.or_(b.shl(wide, ir.Constant(I16, 1)), b.shl(wide, ir.Constant(I16, 5)))
            emit_store(b, target, b.and_(twice, ir.Constant(I16, 0x1E1E)))
        with otherwise:
            emit_store(b, target, byte)


def _emit_eight(typing_context: Any, source: Any, threshold: Any, target: Any, nibbles: Any) -> Any:
    """Pack eight floats at ``source`` by eight thresholds to one byte, or to two of 2 · nibble."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        source, threshold, target, nibbles = arguments
        mask = b.fcmp_ordered(">=", emit_load(b, source, _EIGHT), emit_load(b, threshold, _EIGHT))
        _write(b, b.bitcast(mask, I8), target, nibbles)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), generate


def _emit_any_eight(
    typing_context: Any, corner: Any, rows: Any, columns: Any, row: Any, column: Any, threshold: Any, target: Any,
    nibbles: Any,
) -> Any:  # fmt: skip
    """Pack eight channels of a window of ``rows`` × ``columns`` pixels: bits of what reaches the threshold anywhere."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        corner, rows, columns, row, column, threshold, target, nibbles = arguments
        limit = emit_load(b, threshold, _EIGHT)
        found = cg.alloca_once(b, I8)
        b.store(ir.Constant(I8, 0), found)
        with cg.for_range(b, rows) as outer, cg.for_range(b, columns) as inner:
            place = b.add(corner, b.add(b.mul(outer.index, row), b.mul(inner.index, column)))
            mask = b.bitcast(b.fcmp_ordered(">=", emit_load(b, place, _EIGHT), limit), I8)
            b.store(b.or_(b.load(found), mask), found)
        _write(b, b.load(found), target, nibbles)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 8), generate


_eight: Any = intrinsic(_emit_eight)
_any_eight: Any = intrinsic(_emit_any_eight)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def pack_floats(step: int, image: int, begin: int, end: int) -> None:
    """Pack rows ``begin … end − 1`` of one image by ``value >= threshold[c]`` (NaN gives 0)."""
    source = load_i64(step, PackWord.SOURCE) + image * load_i64(step, PackWord.SOURCE_STRIDE)
    target = load_i64(step, PackWord.TARGET) + image * load_i64(step, PackWord.TARGET_STRIDE)
    threshold = load_i64(step, PackWord.THRESHOLD)
    row_stride, pixel_stride = load_i64(step, PackWord.ROW_STRIDE), load_i64(step, PackWord.PIXEL_STRIDE)
    channel_stride, width = load_i64(step, PackWord.CHANNEL_STRIDE), load_i64(step, PackWord.WIDTH)
    groups, channels = load_i64(step, PackWord.GROUPS), load_i64(step, PackWord.GROUP_CHANNELS)
    row_bytes, pixel_bytes = load_i64(step, PackWord.ROW_BYTES), load_i64(step, PackWord.PIXEL_BYTES)
    group_bytes, nibbles = load_i64(step, PackWord.GROUP_BYTES), load_i64(step, PackWord.NIBBLES)
    per_byte = 8 - 4 * nibbles
    whole = channels // 8 if channel_stride == 1 else 0
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
                        if load_f32(source, pixel + channel * channel_stride) >= load_f32(threshold, channel):
                            bits |= 1 << (bit + nibbles)
                    store_u8(place, group * group_bytes + byte, bits)


@cfunc("void(int64, int64, int64, int64)", error_model="numpy")
def pack_pooled(step: int, image: int, begin: int, end: int) -> None:
    """Pack rows of the max-pool of one image: a bit is 1 where any value of the window reaches the threshold."""
    source = load_i64(step, PackWord.SOURCE) + image * load_i64(step, PackWord.SOURCE_STRIDE)
    target = load_i64(step, PackWord.TARGET) + image * load_i64(step, PackWord.TARGET_STRIDE)
    threshold = load_i64(step, PackWord.THRESHOLD)
    row_stride, pixel_stride = load_i64(step, PackWord.ROW_STRIDE), load_i64(step, PackWord.PIXEL_STRIDE)
    groups, channels = load_i64(step, PackWord.GROUPS), load_i64(step, PackWord.GROUP_CHANNELS)
    row_bytes, pixel_bytes = load_i64(step, PackWord.ROW_BYTES), load_i64(step, PackWord.PIXEL_BYTES)
    group_bytes, nibbles = load_i64(step, PackWord.GROUP_BYTES), load_i64(step, PackWord.NIBBLES)
    height, width = load_i64(step, PackWord.SOURCE_HEIGHT), load_i64(step, PackWord.SOURCE_WIDTH)
    per_byte = 8 - 4 * nibbles
    for y in range(begin, end):
        start_y = y * load_i64(step, PackWord.POOL_STRIDE_Y) - load_i64(step, PackWord.POOL_TOP)
        top, bottom = max(0, start_y), min(height, start_y + load_i64(step, PackWord.POOL_HEIGHT))
        for x in range(load_i64(step, PackWord.WIDTH)):
            start_x = x * load_i64(step, PackWord.POOL_STRIDE_X) - load_i64(step, PackWord.POOL_LEFT)
            left, right = max(0, start_x), min(width, start_x + load_i64(step, PackWord.POOL_WIDTH))
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
