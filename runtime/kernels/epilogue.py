"""The epilogue of every convolution kernel: from mismatch counts to floats and packed bits, in registers.

Two pixels at a time, so that all addresses stay in registers, and eight channels of them, or sixteen where the vectors
of the CPU hold as many::

    half = base[class, c] / 2 − mismatches                         half the accumulator, exact in float32
    y = fl(fl(half · 2·scale) + bias)                              BinaryConv2d: doubling rounds nothing
    y = fl(y + residual)                                           RESIDUAL
    z = fl(y − shift_in); z = z < 0 ? fl(z · slope) : z; y = fl(z + shift_out)      ACTIVATION
                          z = z < 0 ? 0 : z                                         RELU, instead of the slope
    out = y                                                        STORE
    bit = y · turn ≥ threshold                                     BITS: turn is 1 or −1
    bit = mismatches < limit[class, c]                             LIMITS: no float at all
    bit = mismatches − limit[class, c] < width[class, c]           LIMITS | INTERVALS: the difference may overflow

A Relu is a slope of −0, which makes 0 of what is below. It would make NaN of −∞, which only a residual can bring, so
behind one a Relu is RELU. A NaN stays one in every stage, and reaches no threshold.
Multiply and add stay two instructions: a fused one rounds once, and the result would not be the file's.
The last channels of a block that are no whole vector go through masked loads and stores.
"""

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ir

from ..layout.words import BlockWord, Constant, ConvWord, Flag, PixelWord
from .bit_store import bit_place, emit_each
from .llvm import (
    F32,
    I8,
    I16,
    I32,
    I64,
    cg,
    const,
    emit_load,
    emit_mask,
    emit_masked_load,
    emit_masked_store,
    emit_store,
    emit_word,
    splat,
    vector,
)

__all__ = ["make_epilogue"]

_VARIANTS = [
    *(
        stages | output
        for stages in (
            Flag(0),
            Flag.ACTIVATION,
            Flag.RESIDUAL,
            Flag.RESIDUAL | Flag.ACTIVATION,
            Flag.RESIDUAL | Flag.ACTIVATION | Flag.RELU,
        )
        for output in (Flag.STORE, Flag.BITS, Flag.STORE | Flag.BITS)
    ),
    Flag.LIMITS,
    Flag.LIMITS | Flag.INTERVALS,
]


@dataclass(frozen=True)
class _Pixel:
    """Addresses of one pixel: its counts, those that count twice or None, its outputs, its row of a table by class."""

    counts: Any
    twice: Any
    residual: Any
    out: Any
    bits: Any
    in_class: Any


class _Emitter:
    """Emits one variant: the loop over the channels of a block, all pixels of the tile in each turn."""

    def __init__(
        self, b: Any, constants: Any, first: Any, pixels: list[_Pixel], nibbles: Any, width: int, counts: Any,
        widths: Any,
    ) -> None:  # fmt: skip
        self.b, self.constants, self.first, self.nibbles, self.widths = b, constants, first, nibbles, widths
        self.all_pixels, self.pixels = pixels, pixels
        self.width, self.counts = width, vector(counts, width)
        self.floats, self.integers = vector(F32, width), vector(I32, width)

    def at(self, start: Any, index: Any, size: int) -> Any:
        return self.b.add(start, self.b.mul(index, const(size)))

    def emit(self, flags: Flag, channels: Any) -> None:
        """Emit all whole vectors, then what is left under a mask, for two pixels and two pixels."""
        for start in range(0, len(self.all_pixels), 2):
            self.pixels = self.all_pixels[start : start + 2]
            self.some(flags, channels)

    def some(self, flags: Flag, channels: Any) -> None:
        b = self.b
        whole = b.and_(channels, const(-self.width))
        with cg.for_range_slice(b, const(0), whole, const(self.width), I64, inc=True) as (i, _):
            self.finish(flags, i, None)
        left = b.sub(channels, whole)
        with b.if_then(b.icmp_signed(">", left, const(0)), likely=False):
            self.finish(flags, whole, emit_mask(b, left, self.width))

    def finish(self, flags: Flag, i: Any, mask: Any) -> None:
        """Emit a vector of channels from lane ``i`` of the tile on."""
        b, floats = self.b, self.floats
        channel = b.add(self.first, i)
        row = b.add(self.constants, b.mul(i, const(4 * len(Constant))))  # a row for each vector of channels

        def constant(which: Constant) -> Any:
            return emit_load(b, b.add(row, const(4 * self.width * which)), floats, 4 * self.width)

        used = [Constant.SCALE, Constant.BIAS] if flags & (Flag.STORE | Flag.BITS) else []
        used += [Constant.SHIFT_IN, Constant.SHIFT_OUT] if flags & Flag.ACTIVATION else []
        used += [Constant.SLOPE] if flags & (Flag.ACTIVATION | Flag.RELU) == Flag.ACTIVATION else []
        used += [Constant.THRESHOLD, Constant.TURN] if flags & Flag.BITS else []
        constants = {which: constant(which) for which in used}
        writes = list[tuple[Any, Any]]()
        for pixel in self.pixels:
            count = self.count(pixel.counts, i)
            if pixel.twice is not None:
                count = b.add(count, b.shl(self.count(pixel.twice, i), splat(self.integers, 1)))
            by_class = self.at(pixel.in_class, channel, 4)
            if flags & Flag.LIMITS:
                limit = self.load(by_class, self.integers, mask)
                if flags & Flag.INTERVALS:
                    count, limit = b.sub(count, limit), self.load(b.add(by_class, self.widths), self.integers, mask)
                writes.append((self.place(pixel, channel), self.bits(b.icmp_signed("<", count, limit), mask)))
                continue
            half = b.fsub(self.load(by_class, floats, mask), b.sitofp(count, floats))
            y = b.fadd(b.fmul(half, constants[Constant.SCALE]), constants[Constant.BIAS])
            if flags & Flag.RESIDUAL:
                y = b.fadd(y, self.load(self.at(pixel.residual, channel, 4), floats, mask))
            if flags & Flag.ACTIVATION:
                z = b.fsub(y, constants[Constant.SHIFT_IN])
                zero = splat(floats, 0.0)
                below = zero if flags & Flag.RELU else b.fmul(z, constants[Constant.SLOPE])
                z = b.select(b.fcmp_ordered("<", z, zero), below, z)
                y = b.fadd(z, constants[Constant.SHIFT_OUT])
            if flags & Flag.STORE:
                self.store(self.at(pixel.out, channel, 4), y, mask)
            if flags & Flag.BITS:
                reached = b.fcmp_ordered(">=", b.fmul(y, constants[Constant.TURN]), constants[Constant.THRESHOLD])
                writes.append((self.place(pixel, channel), self.bits(reached, mask)))
        if writes:
            emit_each(b, writes, self.nibbles)

    def count(self, row: Any, i: Any) -> Any:
        count = emit_load(self.b, self.at(row, i, self.counts.element.width // 8), self.counts)
        return count if self.counts == self.integers else self.b.zext(count, self.integers)

    def load(self, address: Any, kind: Any, mask: Any) -> Any:
        return emit_load(self.b, address, kind) if mask is None else emit_masked_load(self.b, address, kind, mask)

    def store(self, address: Any, value: Any, mask: Any) -> None:
        if mask is None:
            emit_store(self.b, address, value)
        else:
            emit_masked_store(self.b, address, value, mask)

    def place(self, pixel: _Pixel, channel: Any) -> Any:
        """Emit where the bits of a vector at a channel lie: eight to a byte, or to two bytes of 2 · nibble."""
        return self.b.add(pixel.bits, bit_place(self.b, channel, self.nibbles))

    def bits(self, reached: Any, mask: Any) -> Any:
        return self.b.bitcast(reached if mask is None else self.b.and_(reached, mask), ir.IntType(self.width))


def make_epilogue(
    pixels: int, lanes: int, *, width: int = 8, counts: ir.Type = I16, row: int | None = None, planes: int = 1
) -> Any:
    """Return the ``epilogue(builder, words, image, block, rows, tile)`` that emits it for tiles of rows of ``counts``.

    It finishes ``pixels`` rows of the pixel table for the block of channels at ``block``, ``width`` channels at a time.
    A pixel of the tile takes ``lanes`` lanes; with ``row`` it takes rows of so many, as few as the layer needs.
    With two ``planes`` an output pixel has two rows of the pixel table, and what the second counts counts twice.
    """
    row_bytes = counts.width // 8 * (lanes if row is None else row)

    def epilogue(b: Any, words: Any, image: Any, block: Any, rows: Any, tile: Any) -> None:
        value = {word: emit_word(b, words, word) for word in list(ConvWord)[: ConvWord.SIZE]}

        def moved(start: ConvWord, stride: ConvWord) -> Any:
            return b.add(value[start], b.mul(image, value[stride]))

        residual = moved(ConvWord.RESIDUAL, ConvWord.RESIDUAL_STRIDE)
        out, bits = moved(ConvWord.OUT, ConvWord.OUT_STRIDE), moved(ConvWord.BITS, ConvWord.BITS_STRIDE)
        limits = b.icmp_signed("!=", b.and_(value[ConvWord.FLAGS], const(int(Flag.LIMITS))), const(0))
        by_class = b.select(limits, value[ConvWord.LIMITS], value[ConvWord.BASE])
        first, channels, constants = (
            emit_word(b, block, word) for word in (BlockWord.FIRST, BlockWord.CHANNELS, BlockWord.CONSTANTS)
        )
        # Filler pixels of an incomplete tile write to scratch memory. The pixel that they repeat may already have
        # overwritten its residual in place, so what they compute is wrong.
        aside = cg.alloca_once(b, ir.ArrayType(I8, 8 * lanes + 64))
        aside.align = 64
        floats_aside = b.sub(b.ptrtoint(aside, I64), b.mul(first, const(4)))
        nibbles = value[ConvWord.NIBBLES]
        bits_aside = b.sub(b.ptrtoint(aside, I64), bit_place(b, first, nibbles))
        places = []
        for p in range(0, pixels, planes):
            entry = b.add(rows, const(4 * PixelWord.SIZE * p))
            second = None
            if planes == 2:
                second = b.sext(emit_load(b, b.add(entry, const(4 * (PixelWord.SIZE + PixelWord.COUNTS))), I32), I64)
            index, target, in_class, lane = (
                b.sext(emit_load(b, b.add(entry, const(4 * word)), I32), I64)
                for word in (PixelWord.OUTPUT, PixelWord.TARGET, PixelWord.CLASS, PixelWord.COUNTS)
            )
            live = b.icmp_signed(">=", index, const(0))
            offset = b.mul(b.mul(index, value[ConvWord.CHANNELS]), const(4))
            place = b.add(out, b.mul(index, value[ConvWord.OUT_PIXEL]))
            places.append(
                _Pixel(
                    counts=b.add(tile, b.mul(lane, const(row_bytes))),
                    twice=None if second is None else b.add(tile, b.mul(second, const(row_bytes))),
                    residual=b.add(residual, b.select(live, offset, const(0))),
                    out=b.select(live, place, floats_aside),
                    bits=b.select(live, b.add(bits, target), bits_aside),
                    in_class=b.add(by_class, b.mul(in_class, const(4))),
                )
            )
        done = b.append_basic_block("tile_done")
        switch = b.switch(value[ConvWord.FLAGS], done)
        for flags in _VARIANTS:
            variant = b.append_basic_block(f"variant_{int(flags)}")
            switch.add_case(const(int(flags)), variant)
            b.position_at_end(variant)
            _Emitter(b, constants, first, places, nibbles, width, counts, value[ConvWord.WIDTHS]).emit(flags, channels)
            b.branch(done)
        b.position_at_end(done)

    return epilogue
