"""PERM, the kernel for x86 with the byte permutes of AVX-512 (VBMI): one looks up six channels of two pixels.

A byte lane is an output channel. A code is six input channels of a pixel; it is odd if it has an odd number of ones.
What a code a of a pixel and a code w of weights mismatch, 0 … 6, has a known lowest bit, so two bits hold the rest::

    popcount(a xor w) = 2 · q − odd(a) + odd(w)                  q = 0 … 3

How many codes of a window are odd is counted beforehand, once for all output channels (perm_odd.py), and how many of a
channel's weights when they are packed. The table row of a code of two pixels a, a′, which lie half an image apart,
holds q for each of the 64 codes that the weights can have::

    row[w] = q(a, w) + 16 · q(a′, w)
    x = sum of four vpermb(weights, row)                         four codes: nibbles of at most 12
    S += x;  H += x >> 4                                         bytes; at most 72 look-ups, 216
    of a′: Σ q = H, of a: Σ q = S − 16 · H                       added to 16 bits, every 72 look-ups

Ten operations for 3072 products, where csa takes fifteen. ``x >> 4`` is taken of words: it leaves the low nibble of an
odd byte on top of the even one, which vanishes from 16 · H, and is then taken off H. Half of the pairs shift, half
multiply by 4096 and keep the upper word: on Zen 4 these go to different pipes.

What is counted at a time is a chunk, six bytes of a pixel, of seven pairs of pixels in a row. Rows of the table are
built once for all taps and blocks of channels, and kept for the tiles below: three rows of the image, 14 KB::

    for each chunk:                                     sums of up to 24 tiles and blocks wait
        for each tile of a strip, downwards:            builds the rows of the table that it is the first to need
            for each block of channels:                 counts nine taps, eight codes of seven pairs (perm_rows.py)

On Zen 4 a step of 21 sums takes 110 cycles where its pipes allow 105 (docs/measurements.md).

A padded position is a stored bit, so it acts as −1 or +1; zero padding is repaired by the base of its border class.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir

from ..layout.words import BlockWord, ConvWord, PixelWord
from .epilogue import make_epilogue
from .llvm import (
    I16,
    I32,
    I64,
    broadcast,
    cg,
    const,
    emit_load,
    emit_store,
    emit_word,
    kernel,
    load_i64,
    routine,
    scratch,
    splat,
)
from .perm_rows import CODES, PAIRS, RING_BYTES, SUMS_BYTES, Plan, count_tiles

__all__ = ["conv_perm"]

_LANES, _TILES = 64, 24
_PIXEL, _BLOCK = 4 * PixelWord.SIZE, 8 * BlockWord.SIZE
_TILE = 2 * PAIRS * _PIXEL
_CHUNK_BYTES, _CHUNK_BITS = 6, 48
_PLAN = -(-8 * Plan.SIZE // 64) * 64
_ROOM, _SUMS = _PLAN + RING_BYTES + SUMS_BYTES, _TILES * SUMS_BYTES
_WORDS, _EIGHT = ir.VectorType(I16, 32), ir.VectorType(I16, 8)


def _least(b: Any, one: Any, other: Any) -> Any:
    return b.select(b.icmp_signed("<", one, other), one, other)


def _apart(b: Any, emit: Callable[[Any, Any], None], plan: Any) -> None:
    """Emit a call of the code of ``emit``, a function of its own."""
    function = b.module.globals.get(emit.__name__)
    if function is None:
        function = ir.Function(b.module, ir.FunctionType(ir.VoidType(), [I64]), emit.__name__)
        function.linkage = "internal"
        function.attributes.add("noinline")
        inner = ir.IRBuilder(function.append_basic_block("entry"))
        emit(inner, *function.args)
        inner.ret_void()
    b.call(function, [plan])


@routine
def _fit(b: Any, words: Any, rows: Any, limit: Any, result: Any) -> None:
    """Store how many of ``limit`` tiles from ``rows`` on lie one under the other."""

    def windows(at: Any) -> list[Any]:
        places = [b.add(at, const(_PIXEL * place + 4 * PixelWord.INPUT)) for place in range(2)]
        return [b.sext(emit_load(b, place, I32), I64) for place in places]

    below = emit_word(b, words, ConvWord.ACT_ROW)
    emit_store(b, result, const(1), 8)
    with cg.for_range_slice(b, const(1), limit, const(1), I64, inc=True) as (tile, _):
        at = b.add(rows, b.mul(tile, const(_TILE)))
        (one, other), (first, second) = windows(b.sub(at, const(_TILE))), windows(at)
        same = b.and_(b.icmp_signed("==", b.sub(first, one), below), b.icmp_signed("==", b.sub(second, other), below))
        counted = emit_load(b, result, I64)
        grows = b.and_(same, b.icmp_signed("==", counted, tile))
        emit_store(b, result, b.add(counted, b.zext(grows, I64)), 8)


@routine
def _count(
    b: Any, words: Any, source: Any, block: Any, rows: Any, tiles: Any, blocks: Any, sums: Any, room: Any
) -> None:
    """Count ``tiles`` tiles from ``rows`` on, one under the other, for ``blocks`` blocks of channels."""
    plan, ring = room, b.add(room, const(_PLAN))
    zeros = b.add(ring, const(RING_BYTES))
    for at in range(0, SUMS_BYTES, 64):
        emit_store(b, b.add(zeros, const(at)), splat(_WORDS, 0), 64)
    channels, pixel = emit_word(b, words, ConvWord.INPUTS), emit_word(b, words, ConvWord.ACT_PIXEL)
    corner, partner = (
        b.sext(emit_load(b, b.add(rows, const(_PIXEL * place + 4 * PixelWord.INPUT)), I32), I64) for place in range(2)
    )
    stride = emit_word(b, block, BlockWord.WEIGHT_BYTES)
    values = {
        Plan.ROW: emit_word(b, words, ConvWord.ACT_ROW),
        Plan.PIXEL: pixel,
        Plan.PARTNER: b.sub(partner, corner),
        Plan.TILES: tiles,
        Plan.BLOCKS: blocks,
        Plan.WEIGHT_BYTES: stride,
        Plan.SUMS: sums,
        Plan.TABLE: emit_word(b, words, ConvWord.TABLE),
        Plan.RING: ring,
    }
    for word, value in values.items():
        emit_store(b, b.add(plan, const(8 * word)), value, 8)
    weights = cg.alloca_once_value(b, emit_word(b, block, BlockWord.WEIGHTS))
    b.store(emit_word(b, block, BlockWord.WEIGHTS), weights)
    chunks = b.sdiv(b.add(channels, const(_CHUNK_BITS - 1)), const(_CHUNK_BITS))
    with cg.for_range(b, chunks) as chunk:
        left = b.sub(channels, b.mul(chunk.index, const(_CHUNK_BITS)))
        codes = _least(b, b.sdiv(b.add(left, const(5)), const(6)), const(CODES))
        begun = b.icmp_signed("!=", chunk.index, const(0))
        values = {
            Plan.SOURCE: b.add(b.add(source, corner), b.mul(chunk.index, const(_CHUNK_BYTES))),
            Plan.MASK: b.sub(b.shl(const(1), _least(b, left, const(_CHUNK_BITS))), const(1)),
            Plan.WEIGHTS: b.load(weights),
            Plan.NEXT: b.sub(b.mul(codes, const(9 * 64)), b.mul(stride, b.sub(blocks, const(1)))),
            Plan.BEFORE: b.select(begun, sums, zeros),
            Plan.STEPS: b.lshr(codes, const(2)),
            Plan.REST: b.and_(codes, const(3)),
            Plan.BEFORE_STEP: b.select(begun, const(SUMS_BYTES), const(0)),
        }
        for word, value in values.items():
            emit_store(b, b.add(plan, const(8 * word)), value, 8)
        _apart(b, count_tiles, plan)
        b.store(b.add(b.load(weights), b.mul(codes, const(9 * 64))), weights)


@routine
def _odd_codes(b: Any, words: Any, rows: Any, result: Any) -> None:
    """Store how many codes under the windows of a tile's pixels are odd, uint16 [2, 8]: pixels, their partners."""
    pixel, row = emit_word(b, words, ConvWord.ACT_PIXEL), emit_word(b, words, ConvWord.ACT_ROW)
    below = b.mul(b.sdiv(row, pixel), const(2))
    for place in range(2):
        at = b.sext(emit_load(b, b.add(rows, const(_PIXEL * place + 4 * PixelWord.INPUT)), I32), I64)
        corner = b.add(emit_word(b, words, ConvWord.SCRATCH), b.mul(b.sdiv(at, pixel), const(2)))
        total = splat(_EIGHT, 0)
        for _ in range(3):
            for x in range(3):
                total = b.add(total, emit_load(b, b.add(corner, const(2 * x)), _EIGHT))
            corner = b.add(corner, below)
        emit_store(b, b.add(result, const(16 * place)), total, 16)


@routine
def _unfold(b: Any, tile: Any, block: Any, odds: Any) -> None:
    """Make counts of the sums of a tile, uint16 [14, 64]: even lanes are channels 0 … 31, odd ones 32 … 63."""
    end = b.add(emit_word(b, block, BlockWord.WEIGHTS), emit_word(b, block, BlockWord.WEIGHT_BYTES))
    of_weights = [emit_load(b, b.sub(end, const(128 - 64 * i)), _WORDS, 64) for i in range(2)]
    for p in range(2 * PAIRS):
        place = b.add(tile, const(128 * p))
        of_pixel = broadcast(b, emit_load(b, b.add(odds, const(16 * (p % 2) + 2 * (p // 2))), I16), 32)
        both, odd = (emit_load(b, b.add(place, const(64 * i)), _WORDS, 64) for i in range(2))
        even = b.sub(both, b.shl(odd, splat(_WORDS, 8)))
        for i, half in enumerate((even, odd)):
            count = b.add(b.add(half, half), b.sub(of_weights[i], of_pixel))
            emit_store(b, b.add(place, const(64 * i)), count, 64)


_epilogue = routine(make_epilogue(2, _LANES, width=16, counts=I16))


@kernel
def conv_perm(words: int, image: int, begin: int, end: int) -> None:
    """Do work ``begin … end − 1`` of a convolution: tiles × blocks of channels, blocks running fastest."""
    source = load_i64(words, ConvWord.ACT) + image * load_i64(words, ConvWord.ACT_STRIDE)
    blocks = (load_i64(words, ConvWord.CHANNELS) + _LANES - 1) // _LANES
    room, sums, below = scratch(_ROOM), scratch(_SUMS), scratch(64)
    odds = scratch(64)
    work = begin
    while work < end:
        first = work % blocks
        block = load_i64(words, ConvWord.BLOCKS) + first * _BLOCK
        rows = load_i64(words, ConvWord.PIXELS) + work // blocks * _TILE
        some = min(min(blocks - first, end - work), _TILES)
        tiles = 1
        if some == blocks:
            _fit(words, rows, min((end - work) // blocks, _TILES // blocks), below)
            tiles = load_i64(below, 0)
        _count(words, source, block, rows, tiles, some, sums, room)
        for index in range(tiles * some):
            tile = sums + index * SUMS_BYTES
            of_tile, of_block = rows + index // some * _TILE, block + index % some * _BLOCK
            if index % some == 0:
                _odd_codes(words, of_tile, odds)
            _unfold(tile, of_block, odds)
            for pair in range(PAIRS):
                _epilogue(words, image, of_block, of_tile + pair * (2 * _PIXEL), tile)
        work += tiles * some
