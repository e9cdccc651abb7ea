"""Packing: float32 values of any layout to the packed image that a convolution kernel reads.

A unit is one row of pixels. Channel c of group g of a pixel goes to bit ``c % 8`` of byte ``c // 8`` of its group, or,
in the form with four channels a byte, to bit ``1 + c % 4`` of byte ``c // 4`` (two times the nibble, see kernel_lut).
"""

from numba import cfunc

from .descriptor import Pack
from .llvm import load_f32, load_i64, store_u8

__all__ = ["pack_floats"]


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
    for y in range(begin, end):
        for x in range(width):
            pixel = y * row_stride + x * pixel_stride
            place = target + y * row_bytes + x * pixel_bytes
            for group in range(groups):
                for byte in range((channels + per_byte - 1) // per_byte):
                    bits = 0
                    first = byte * per_byte
                    for bit in range(min(per_byte, channels - first)):
                        channel = group * channels + first + bit
                        if load_f32(source, pixel + channel * channel_stride) >= load_f32(threshold, channel):
                            bits |= 1 << (bit + nibbles)
                    store_u8(place, group * group_bytes + byte, bits)
