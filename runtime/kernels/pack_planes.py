"""Packing levels: float32 values, channels last, to two planes of bits, in one pass over the values.

A level is the number of thresholds, three for each channel, that a value reaches: plane 0 holds its lower bit, plane 1
its upper one. Work is counted in rows of pixels; bits lie as :mod:`.pack` puts them.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import PackWord
from .bit_store import bit_place, emit_bits
from .llvm import F32, cg, const, emit_load, kernel, load_i64, routine, vector

__all__ = ["pack_planes"]


def _emit_levels(
    b: Any, source: Any, limits: Any, row: Any, turn: Any, places: tuple[Any, Any], nibbles: Any, lanes: int
) -> None:
    """Emit the packing of ``lanes`` channels; it is ``row`` bytes from thresholds to the next, ``turn`` to factors."""
    kind = vector(F32, lanes)
    value = cg.alloca_once_value(b, emit_load(b, source, kind))
    with b.if_then(b.icmp_signed("!=", turn, const(0)), likely=False):
        b.store(b.fmul(b.load(value), emit_load(b, b.add(limits, turn), kind)), value)
    one, two, three = (
        b.fcmp_ordered(">=", b.load(value), emit_load(b, b.add(limits, b.mul(row, const(i))), kind)) for i in range(3)
    )
    differ = b.xor(one, two)
    lower, upper = b.xor(differ, three), b.or_(b.and_(differ, three), b.and_(one, two))
    for place, bits in zip(places, (lower, upper), strict=True):
        emit_bits(b, place, b.bitcast(bits, ir.IntType(lanes)), nibbles)


@routine
def _channels(
    b: Any, source: Any, limits: Any, row: Any, turn: Any, target: Any, plane: Any, nibbles: Any, channels: Any
) -> None:
    """Pack the channels of a pixel, a multiple of eight, to ``target`` and the place ``plane`` bytes behind it."""

    def emit(channel: Any, lanes: int) -> None:
        at, put = b.mul(channel, const(4)), b.add(target, bit_place(b, channel, nibbles))
        _emit_levels(b, b.add(source, at), b.add(limits, at), row, turn, (put, b.add(put, plane)), nibbles, lanes)

    whole = b.and_(channels, const(-16))
    with cg.for_range_slice(b, const(0), whole, const(16), whole.type, inc=True) as (channel, _):
        emit(channel, 16)
    with b.if_then(b.icmp_signed("<", whole, channels)):
        emit(whole, 8)


@kernel
def pack_planes(words: int, image: int, begin: int, end: int) -> None:
    """Pack rows ``begin … end − 1`` of one image by how many thresholds ``value · turn[c]`` reaches (NaN none)."""
    source = load_i64(words, PackWord.SOURCE) + image * load_i64(words, PackWord.SOURCE_STRIDE)
    target = load_i64(words, PackWord.TARGET) + image * load_i64(words, PackWord.TARGET_STRIDE)
    threshold, turn = load_i64(words, PackWord.THRESHOLD), load_i64(words, PackWord.TURN)
    row_stride, pixel_stride = 4 * load_i64(words, PackWord.ROW_STRIDE), 4 * load_i64(words, PackWord.PIXEL_STRIDE)
    channels, plane = load_i64(words, PackWord.GROUP_CHANNELS), load_i64(words, PackWord.GROUP_BYTES)
    row_bytes, pixel_bytes = load_i64(words, PackWord.ROW_BYTES), load_i64(words, PackWord.PIXEL_BYTES)
    nibbles = load_i64(words, PackWord.NIBBLES)
    for y in range(begin, end):
        for x in range(load_i64(words, PackWord.WIDTH)):
            pixel = source + y * row_stride + x * pixel_stride
            place = target + y * row_bytes + x * pixel_bytes
            _channels(pixel, threshold, 4 * channels, turn, place, plane, nibbles, channels)
