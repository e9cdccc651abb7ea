"""SLICE, the kernel for groups of few channels, on every CPU: bits are added where they lie, 512 channels at a time.

The channels of a pixel lie side by side as bits, whatever their groups (SLICES), and so do the weights of a tap.
A vector of eight cells of 64 bits holds 8 pixels of up to 64 channels, 4 of 128, 2 of 256, or 512 channels of a pixel::

    activations under a tap    a   [ pixel 0: c0 c1 … c63 | pixel 1: c0 … c63 | … | pixel 7: c0 … c63 ]
    weights of the tap         w   [          w0 w1 … w63 |          w0 … w63 | … |          w0 … w63 ]
    mismatches, one bit each   x = a xor w
    counts, a bit a plane      eights, fours, twos, ones          full adders: x + x' + ones = ones' + 2 · carry

Eight taps go through seven full adders (Harley–Seal) and give a carry of eights; the tap left over of 9, 25 or 49
ripples through the planes. Neighbours of a row are one load; at its end, and with strides, cells are gathered. Then
the planes meet limits that lie as bits too (LIMITS), one or, for INTERVALS, two and a bit that turns what lies between;
the bits that come out are those that the next layer reads;
or else they are transposed: bit p of a channel's byte is its bit of plane p, the count that the epilogue reads.

An output channel of a group of n reads n inputs. For each of them there is a copy of the image (kernels/copies.py) in
which that bit lies in the channel's own place. Each copy is one more set of taps, so the loops know of no groups.
A padded position is a stored bit, so it acts as −1 or +1; zero padding is repaired by the base of its border class.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import FEW_TAPS, BlockWord, ConvWord, Flag, PixelWord
from .bit_store import bit_place, emit_bits
from .epilogue import make_epilogue
from .llvm import I8, I16, I32, I64, cg, const, emit_load, emit_store, emit_word, splat
from .planes import CELLS, emit_below, emit_counts, emit_eight, emit_ripple
from .tiles import make_convolution

__all__ = ["conv_slice"]

_PIXELS, _LANES = 8, 512
_FINISHED = 4  # pixels that the epilogue finishes at once
_LIMITS, _INTERVALS = int(Flag.LIMITS), int(Flag.INTERVALS)


class _Tile:
    """Emits the work on a tile: eight cells at a time, of one pixel or of several."""

    def __init__(self, b: Any, words: Any, image: Any, source: Any, block: Any, rows: Any, plane_count: int) -> None:
        self.b, self.words, self.image, self.block, self.rows = b, words, image, block, rows
        self.plane_count = plane_count
        self.group = b.add(source, self.of_block(BlockWord.GROUP))
        self.shift = self.word(ConvWord.CELLS)
        self.planes = [cg.alloca_once(b, CELLS) for _ in range(plane_count)]

    def add(self, value: Any, number: int) -> Any:
        return self.b.add(value, const(number))

    def word(self, word: ConvWord) -> Any:
        return emit_word(self.b, self.words, word)

    def of_block(self, word: BlockWord) -> Any:
        return emit_word(self.b, self.block, word)

    def of_pixel(self, cell: Any, word: PixelWord) -> Any:
        """Emit a word of the row of the pixel table of the pixel that a cell belongs to."""
        b = self.b
        row = b.add(self.rows, b.mul(b.lshr(cell, self.shift), const(4 * PixelWord.SIZE)))
        return b.sext(emit_load(b, b.add(row, const(4 * word)), I32), I64)

    def part(self, cell: Any) -> Any:
        """Emit which cell of its pixel a cell is."""
        return self.b.and_(cell, self.b.sub(self.b.shl(const(1), self.shift), const(1)))

    def source(self, cell: Any) -> Any:
        b = self.b
        return b.add(b.add(self.group, self.of_pixel(cell, PixelWord.INPUT)), b.mul(self.part(cell), const(8)))

    def one_run(self, address: Any, first: Any) -> Any:
        """Emit whether eight cells are one run of memory; a place that repeats a pixel is no part of one."""
        b, last = self.b, self.add(first, 7)
        run = b.icmp_signed("==", b.sub(address(last), address(first)), const(56))
        return b.and_(
            run,
            b.icmp_signed("==", b.lshr(self.of_pixel(last, PixelWord.COUNTS), self.shift), b.lshr(last, self.shift)),
        )

    def gathered(self, starts: list[Any], offset: Any) -> Any:
        """Emit a vector of cells that lie ``offset`` bytes behind these addresses."""
        b, vector = self.b, ir.Constant(CELLS, ir.Undefined)
        for i, start in enumerate(starts):
            vector = b.insert_element(vector, emit_load(b, b.add(start, offset), I64), ir.Constant(I32, i))
        return vector

    def count(self, first: Any) -> None:
        """Emit planes = the mismatches of the cells ``first`` … ``first`` + 7."""
        b = self.b
        with b.if_else(self.one_run(self.source, first)) as (run, scattered):
            with run:
                start = self.source(first)
                self.add_taps(lambda offset: emit_load(b, b.add(start, offset), CELLS))
            with scattered:
                starts = [self.source(self.add(first, i)) for i in range(8)]
                self.add_taps(lambda offset: self.gathered(starts, offset))

    def add_taps(self, load: Any) -> None:
        b, pieces, count, weights = (
            self.b,
            self.word(ConvWord.PIECES),
            self.word(ConvWord.PIECE_COUNT),
            self.of_block(BlockWord.WEIGHTS),
        )
        for plane in self.planes:
            b.store(splat(CELLS, 0), plane)

        def mismatches(tap: Any) -> Any:
            offset = emit_load(b, b.add(pieces, b.mul(tap, const(16))), I64)
            return b.xor(load(offset), emit_load(b, b.add(weights, b.mul(tap, const(64))), CELLS, 64))

        whole = b.and_(count, const(-8))
        with cg.for_range_slice(b, const(0), whole, const(8), I64, inc=True) as (tap, _):
            emit_eight(b, self.planes, [mismatches(self.add(tap, i)) for i in range(8)])
        with cg.for_range_slice(b, whole, count, const(1), I64, inc=True) as (tap, _):
            emit_ripple(b, self.planes, mismatches(tap))

    def below(self, first: Any, *, intervals: bool) -> Any:
        """Emit the bits of the cells by the limits of their pixels' border classes.

        A bit is 1 where the count is below the limit. With ``intervals`` it is 1 where the count is below one of two
        limits alone, or, as a last bit says, where it is not.
        """
        b, stride, count = self.b, self.word(ConvWord.LIMITS_STRIDE), self.plane_count
        row_count = 2 * count + 1 if intervals else count
        limits = b.add(self.word(ConvWord.LIMITS), b.mul(self.of_block(BlockWord.GROUP), const(row_count)))
        found = cg.alloca_once(b, CELLS)
        planes = [b.load(plane) for plane in self.planes]

        def compare(rows: list[Any]) -> Any:
            bits = emit_below(b, planes, rows[:count])
            return b.xor(b.xor(bits, emit_below(b, planes, rows[count:-1])), rows[-1]) if intervals else bits

        classes = [self.of_pixel(self.add(first, i), PixelWord.CLASS) for i in range(8)]
        others = const(0)
        for which in classes[1:]:
            others = b.or_(others, b.xor(which, classes[0]))
        with b.if_else(b.icmp_signed("==", others, const(0))) as (same, mixed):
            with same:
                start = b.add(limits, b.mul(classes[0], stride))
                b.store(compare([emit_load(b, self.add(start, 64 * row), CELLS) for row in range(row_count)]), found)
            with mixed:
                starts = [self.add(b.add(limits, b.mul(which, stride)), 8 * i) for i, which in enumerate(classes)]
                b.store(compare([self.gathered(starts, const(64 * row)) for row in range(row_count)]), found)
        return b.load(found)

    def write(self, first: Any, bits: Any) -> None:
        """Emit the store of the bits of eight cells, in one where they are whole and lie side by side."""
        b, nibbles = self.b, self.word(ConvWord.NIBBLES)
        base = b.add(self.word(ConvWord.BITS), b.mul(self.image, self.word(ConvWord.BITS_STRIDE)))
        channel, channels = self.of_block(BlockWord.FIRST), self.of_block(BlockWord.CHANNELS)

        def target(cell: Any) -> Any:
            of_cell = b.add(channel, b.mul(self.part(cell), const(64)))
            return b.add(b.add(base, self.of_pixel(cell, PixelWord.TARGET)), bit_place(b, of_cell, nibbles))

        filled = b.icmp_signed("==", b.shl(const(64), self.shift), channels)
        plain = b.and_(filled, b.icmp_signed("==", nibbles, const(0)))
        with b.if_else(b.and_(plain, self.one_run(target, first))) as (at_once, apart):
            with at_once:
                emit_store(b, target(first), bits)
            with apart:
                for i in range(8):
                    cell = self.add(first, i)
                    left = b.sub(channels, b.mul(self.part(cell), const(64)))
                    with b.if_then(b.icmp_signed(">=", self.of_pixel(cell, PixelWord.OUTPUT), const(0))):
                        value, place = b.extract_element(bits, ir.Constant(I32, i)), target(cell)
                        with b.if_else(b.icmp_signed(">=", left, const(64))) as (all_bits, some):
                            with all_bits:
                                emit_bits(b, place, value, nibbles)
                            with some, cg.for_range_slice(b, const(0), left, const(16), I64, inc=True) as (bit, _):
                                sixteen = b.trunc(b.lshr(value, bit), I16)
                                emit_bits(b, b.add(place, bit_place(b, bit, nibbles)), sixteen, nibbles)


def _emit_flag(b: Any, words: Any, flag: int) -> Any:
    """Emit whether a flag is set."""
    return b.icmp_signed("!=", b.and_(emit_word(b, words, ConvWord.FLAGS, constant=True), const(flag)), const(0))


def _emit_tile(b: Any, work: _Tile, tile: Any) -> None:
    """Write bits (LIMITS), or else the mismatches of eight pixels to ``tile``, uint8 [8, cells, 64]."""
    limits, intervals = _emit_flag(b, work.words, _LIMITS), _emit_flag(b, work.words, _INTERVALS)
    with cg.for_range_slice(b, const(0), b.shl(const(8), work.shift), const(8), I64, inc=True) as (first, _):
        work.count(first)
        with b.if_else(limits) as (then, otherwise):
            with then:
                found = cg.alloca_once(b, CELLS)
                with b.if_else(intervals) as (two, one):
                    with two:
                        b.store(work.below(first, intervals=True), found)
                    with one:
                        b.store(work.below(first, intervals=False), found)
                work.write(first, b.load(found))
            with otherwise:
                for i, sixteen in enumerate(emit_counts(b, [b.load(plane) for plane in work.planes])):
                    emit_store(b, b.add(tile, b.add(b.mul(first, const(64)), const(16 * i))), sixteen, 16)


def _count(b: Any, words: Any, image: Any, source: Any, block: Any, rows: Any, tile: Any) -> None:
    """Emit both ways to count a tile: in four bit planes where its taps are few, or else in eight."""
    few = b.icmp_signed("<=", emit_word(b, words, ConvWord.PIECE_COUNT, constant=True), const(FEW_TAPS))
    with b.if_else(few) as (then, otherwise):
        for branch, planes in ((then, 4), (otherwise, 8)):
            with branch:
                _emit_tile(b, _Tile(b, words, image, source, block, rows, planes), tile)


_finish = make_epilogue(_FINISHED, _LANES, width=16, counts=I8, row=64)


def _epilogue(b: Any, words: Any, image: Any, block: Any, rows: Any, tile: Any) -> None:
    """Emit the epilogue of some pixels after others, none where their bits are written already."""
    limits = _emit_flag(b, words, _LIMITS)
    with b.if_then(b.not_(limits)), cg.for_range(b, const(_PIXELS // _FINISHED)) as loop:
        _finish(b, words, image, block, b.add(rows, b.mul(loop.index, const(4 * PixelWord.SIZE * _FINISHED))), tile)


conv_slice = make_convolution(_count, _epilogue, _PIXELS, _PIXELS * _LANES)
