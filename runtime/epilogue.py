"""The epilogue of every convolution kernel: from mismatch counts to floats and packed bits, in registers.

For each pixel of a tile, eight channels at a time (the rest one by one)::

    accumulator = base[class, c] − 2 · mismatches                  exact integer, int32
    y = fl(fl(accumulator · scale) + bias)                         BinaryConv2d
    y = fl(y + residual)                                           RESIDUAL
    z = fl(y − shift_in); z = z < 0 ? fl(z · slope) : z; y = fl(z + shift_out)      ACTIVATION
    out = y                                                        STORE
    bit = y ≥ threshold                                            BITS8, BITS4
    bit = mismatches < limit[class, c]                             LIMITS: no float at all

Multiply and add stay two instructions: a fused one rounds once, and the result would not be the file's.
"""

from itertools import product
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from .descriptor import PIXEL_WORDS, Conv, Flag
from .llvm import F32, I8, I16, I32, I64, cg, const, emit_load, emit_store, vector

__all__ = ["epilogue"]


def _variants() -> list[Flag]:
    outputs = [Flag.STORE, Flag.BITS8, Flag.BITS4, Flag.STORE | Flag.BITS8, Flag.STORE | Flag.BITS4]
    stages = product((Flag(0), Flag.RESIDUAL), (Flag(0), Flag.ACTIVATION), outputs)
    return [r | a | o for r, a, o in stages] + [Flag.LIMITS | Flag.BITS8, Flag.LIMITS | Flag.BITS4]


class _Emitter:
    """Emits one variant: the loop over the channels of one pixel."""

    def __init__(self, builder: Any, words: dict[Conv, Any], tile: Any, pixel: dict[str, Any]) -> None:
        self.b, self.words, self.tile, self.pixel = builder, words, tile, pixel

    def at(self, start: Any, index: Any, size: int) -> Any:
        return self.b.add(start, self.b.mul(index, const(size)))

    def bits(self, flags: Flag, i: Any, lanes: int) -> Any:
        """Emit ``lanes`` channels from lane ``i`` of the tile on; return their bits (i1 each) or None."""
        b, words, pixel = self.b, self.words, self.pixel
        channel = b.add(pixel["first"], i)
        count = b.zext(emit_load(b, self.at(self.tile, i, 2), vector(I16, lanes)), vector(I32, lanes))
        in_class = b.add(pixel["class"], channel)
        if flags & Flag.LIMITS:
            limit = emit_load(b, self.at(words[Conv.LIMITS], in_class, 4), vector(I32, lanes))
            return b.icmp_signed("<", count, limit)
        base = emit_load(b, self.at(words[Conv.BASE], in_class, 4), vector(I32, lanes))
        floats = vector(F32, lanes)

        def constant(word: Conv) -> Any:
            return emit_load(b, self.at(words[word], channel, 4), floats)

        y = b.sitofp(b.sub(base, b.add(count, count)), floats)
        y = b.fadd(b.fmul(y, constant(Conv.SCALE)), constant(Conv.BIAS))
        if flags & Flag.RESIDUAL:
            y = b.fadd(y, emit_load(b, self.at(pixel["residual"], channel, 4), floats))
        if flags & Flag.ACTIVATION:
            zero = ir.Constant(F32, 0.0) if lanes == 1 else ir.Constant(floats, [0.0] * lanes)
            z = b.fsub(y, constant(Conv.SHIFT_IN))
            z = b.select(b.fcmp_ordered("<", z, zero), b.fmul(z, constant(Conv.SLOPE)), z)
            y = b.fadd(z, constant(Conv.SHIFT_OUT))
        if flags & Flag.STORE:
            emit_store(b, self.at(pixel["out"], channel, 4), y)
        if flags & (Flag.BITS8 | Flag.BITS4):
            return b.fcmp_ordered(">=", y, constant(Conv.THRESHOLD))
        return None

    def write(self, flags: Flag, i: Any, byte: Any) -> None:
        """Write eight bits (an i8) at channel ``i`` of the tile: one byte, or two bytes of 2 · nibble."""
        b = self.b
        place = b.lshr(b.add(self.pixel["first"], i), const(3))
        if flags & Flag.BITS8:
            emit_store(b, b.add(self.pixel["bits"], place), byte)
        else:
            wide = b.zext(byte, I16)  # ........hhhhllll -> ...hhhh....llll. : low nibble first, both times two
            twice = b.or_(b.shl(wide, ir.Constant(I16, 1)), b.shl(wide, ir.Constant(I16, 5)))
            twice = b.and_(twice, ir.Constant(I16, 0x1E1E))
            emit_store(b, b.add(self.pixel["bits"], b.add(place, place)), twice)

    def emit(self, flags: Flag) -> None:
        b, eight = self.b, const(8)
        whole = b.and_(self.pixel["count"], const(-8))
        with cg.for_range_slice(b, const(0), whole, eight, I64, inc=True) as (i, _):
            mask = self.bits(flags, i, 8)
            if mask is not None:
                self.write(flags, i, b.bitcast(mask, I8))
        rest = b.sub(self.pixel["count"], whole)
        with b.if_then(b.icmp_signed(">", rest, const(0)), likely=False):
            byte = cg.alloca_once(b, I8)
            b.store(ir.Constant(I8, 0), byte)
            with cg.for_range(b, rest) as loop:
                bit = self.bits(flags, b.add(whole, loop.index), 1)
                if bit is not None:
                    moved = b.shl(b.zext(bit, I8), b.trunc(loop.index, I8))
                    b.store(b.or_(b.load(byte), moved), byte)
            if flags & (Flag.BITS8 | Flag.BITS4):
                self.write(flags, whole, b.load(byte))


def _emit_epilogue(
    typing_context: Any, step: Any, image: Any, block: Any, pixels: Any, count: Any, tile: Any, width: Any
) -> Any:
    """Finish ``count`` pixels (rows at ``pixels``) of a tile, uint16 ``[count, width]``, for the block ``block``."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        step, image, block, pixels, count, tile, width = arguments
        words = {word: emit_load(b, b.add(step, const(8 * word)), I64) for word in list(Conv)[: Conv.SIZE]}

        def moved(start: Conv, stride: Conv) -> Any:
            return b.add(words[start], b.mul(image, words[stride]))

        residual = moved(Conv.RESIDUAL, Conv.RESIDUAL_STEP)
        out, bits = moved(Conv.OUT, Conv.OUT_STEP), moved(Conv.BITS, Conv.BITS_STEP)
        first = emit_load(b, b.add(block, const(16)), I64)
        channels = emit_load(b, b.add(block, const(24)), I64)
        with cg.for_range(b, count) as loop:
            row = b.add(pixels, b.mul(loop.index, const(8 * PIXEL_WORDS)))
            index = emit_load(b, b.add(row, const(8)), I64)
            with b.if_then(b.icmp_signed(">=", index, const(0)), likely=True):
                offset = b.mul(b.mul(index, words[Conv.CHANNELS]), const(4))
                pixel = {
                    "first": first, "count": channels,
                    "residual": b.add(residual, offset), "out": b.add(out, offset),
                    "bits": b.add(bits, emit_load(b, b.add(row, const(16)), I64)),
                    "class": emit_load(b, b.add(row, const(24)), I64),
                }  # fmt: skip
                lanes = b.add(tile, b.mul(b.mul(loop.index, width), const(2)))
                done = b.append_basic_block("pixel_done")
                switch = b.switch(words[Conv.FLAGS], done)
                for flags in _variants():
                    block_of = b.append_basic_block(f"variant_{int(flags)}")
                    switch.add_case(const(int(flags)), block_of)
                    b.position_at_end(block_of)
                    _Emitter(b, words, lanes, pixel).emit(flags)
                    b.branch(done)
                b.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 7), generate


epilogue: Any = intrinsic(_emit_epilogue)
