"""COPIES of a packed image for the bit-sliced kernel: in copy r every output channel finds the bit of its turn r.

The p-th output channel of a group of n inputs meets input (p + r) modulo n in turn r. Groups of four to four, and of
one to two::

    input of two groups      a0 a1 a2 a3 | b0 b1 b2 b3            input of four groups    a b c d
    copy 0                   a0 a1 a2 a3 | b0 b1 b2 b3            copy 0                  a a b b c c d d
    copy 1                   a1 a2 a3 a0 | b1 b2 b3 b0
    copy 2                   a2 a3 a0 a1 | b2 b3 b0 b1

Where a group has as many outputs as inputs :func:`turned_image` shifts 512 bits at once. The low channels of a group
are read from higher places and the others from lower ones, perhaps in the cell beside their own. :func:`spread_image`
serves all other groups: it gathers eight bits at once, by eight shifts of one word of the input.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.words import GATHER_WORDS, ConvWord
from .llvm import I1, I8, I64, broadcast, const, emit_intrinsic, emit_load, emit_store, kernel, load_i64, routine
from .planes import CELLS

__all__ = ["spread_image", "turned_image"]


def _funnel(b: Any, name: str, high: Any, low: Any, places: Any) -> Any:
    """Emit cells shifted by ``places`` (below 64), the bits of the cell above or below following."""
    return emit_intrinsic(b, f"llvm.{name}.v8i64", CELLS, high, low, places)


@routine
def _turn(b: Any, source: Any, target: Any, down: Any, up: Any, low: Any) -> None:
    """Write eight cells of which the bits ``low`` (an address) come from ``down`` places above, others ``up`` below."""
    before, here, after = (emit_load(b, b.add(source, const(place)), CELLS) for place in (-8, 0, 8))
    low = emit_load(b, low, CELLS)
    from_above = _funnel(b, "fshr", after, here, broadcast(b, down, CELLS.count))
    from_below = _funnel(b, "fshl", here, before, broadcast(b, up, CELLS.count))
    emit_store(b, target, b.or_(b.and_(from_above, low), b.and_(from_below, b.not_(low))))


@routine
def _gather(b: Any, source: Any, places: Any, target: Any) -> None:
    """Write a byte: its bit i is the bit at place i (a byte each) of the word at ``source``."""
    shifts = b.zext(b.bitcast(places, ir.VectorType(I8, 8)), CELLS)
    bits = b.trunc(b.lshr(broadcast(b, emit_load(b, source, I64), CELLS.count), shifts), ir.VectorType(I1, 8))
    emit_store(b, target, b.bitcast(bits, I8))


@kernel
def turned_image(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the copies: bit i of a group in copy r is bit (i + r) modulo its size."""
    act = load_i64(words, ConvWord.ACT) + image * load_i64(words, ConvWord.ACT_STRIDE)
    copies, copy_bytes = load_i64(words, ConvWord.SCRATCH), load_i64(words, ConvWord.SCRATCH_STRIDE)
    width, inputs = load_i64(words, ConvWord.ACT_ROW), load_i64(words, ConvWord.INPUTS)
    low, period = load_i64(words, ConvWord.TABLE), max(64, load_i64(words, ConvWord.ACT_PIXEL))
    for turn in range(inputs):
        copy = copies + turn * copy_bytes
        # The last pixels may reach over: they are written as is right there, and copies have room behind them.
        for pixels in range(begin * width, end * width, period):
            for index in range(0, period, 64):
                place = pixels + index
                _turn(act + place, copy + place, turn, inputs - turn, low + turn * period + index)


@kernel
def spread_image(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of the copies, byte by byte as the table says (slices.gathers)."""
    act = load_i64(words, ConvWord.ACT) + image * load_i64(words, ConvWord.ACT_STRIDE)
    table, copies = load_i64(words, ConvWord.TABLE), load_i64(words, ConvWord.SCRATCH)
    pixel_bytes, copy_pixel = load_i64(words, ConvWord.ACT_PIXEL), load_i64(words, ConvWord.SCRATCH_PIXEL)
    count, width = load_i64(words, ConvWord.GATHERS), load_i64(words, ConvWord.ACT_ROW) // pixel_bytes
    for pixel in range(begin * width, end * width):
        source, target = act + pixel * pixel_bytes, copies + pixel * copy_pixel
        for index in range(count):
            entry = table + 8 * GATHER_WORDS * index
            _gather(source + load_i64(entry, 0), load_i64(entry, 1), target + load_i64(entry, 2))
