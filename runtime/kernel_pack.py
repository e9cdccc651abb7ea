"""Packing: float32 values of any layout to the packed image that a convolution kernel reads.

A unit is one row of pixels. Channel c of group g of a pixel goes to bit ``c % 8`` of byte ``c // 8`` of its group, or,
in the form with four channels a byte, to bit ``1 + c % 4`` of byte ``c // 4`` (two times the nibble, see kernel_lut).
Eight neighbouring channels are compared at once where they lie side by side.
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from .descriptor import Pack
from .llvm import F32, I8, I16, const, emit_load, emit_store, load_f32, load_i64, store_u8

__all__ = ["pack_floats"]

_EIGHT = ir.VectorType(F32, 8)


def _emit_eight(typing_context: Any, source: Any, threshold: Any, target: Any, nibbles: Any) -> Any:
    """Pack eight floats at ``source`` by eight thresholds to one byte, or to two of 2 · nibble."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        source, threshold, target, nibbles = arguments
        mask = b.fcmp_ordered(">=", emit_load(b, source, _EIGHT), emit_load(b, threshold, _EIGHT))
        byte = b.bitcast(mask, I8)
        with b.if_else(b.icmp_signed("!=", nibbles, const(0))) as (then, otherwise):
            with then:
                wide = b.zext(byte, I16)
                twice = b.or_(b.shl(wide, ir.Constant(I16, 1)), b.shl(wide, ir.Constant(I16, 5)))
                emit_store(b, target, b.and_(twice, ir.Constant(I16, 0x1E1E)))
            with otherwise:
                emit_store(b, target, byte)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 4), generate


_eight: Any = intrinsic(_emit_eight)


@cfunc("void(int64, int64, int64, int64)", cache=True, error_model="numpy")
def pack_floats(step: int, image: int, begin: int, end: int) -> None:
    """Pack rows ``begin … end − 1`` of one image by ``value >= threshold[c]`` (NaN gives 0)."""
    source = load_i64(step, Pack.SOURCE) + image * load_i64(step, Pack.SOURCE_STEP)
    target = load_i64(step, Pack.TARGET) + image * load_i64(step, Pack.TARGET_STEP)
    threshold = load_i64(step, Pack.THRESHOLD)
    row_stride, pixel_stride = load_i64(step, Pack.ROW_STRIDE), load_i64(step, Pack.PIXEL_STRIDE)
    channel_stride, width = load_i64(step, Pack.CHANNEL_STRIDE), load_i64(step, Pack.WIDTH)
    groups, channels = load_i64(step, Pack.GROUPS), load_i64(step, Pack.GROUP_CHANNELS)
    row_bytes, pixel_bytes = load_i64(step, Pack.ROW_BYTES), load_i64(step, Pack.PIXEL_BYTES)
    group_bytes, nibbles = load_i64(step, Pack.GROUP_BYTES), load_i64(step, Pack.NIBBLES)
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
