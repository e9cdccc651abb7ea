"""The tile that the NEON kernels of the exact stem's sums share: 4 pixels × 16 channels, some steps in a turn.

NEON multiplies a vector by an element of another one. So eight bytes of a pixel, loaded once, serve several steps, and
nothing is broadcast::

    pixel p    [ s0 │ s1 │ … ]                               eight bytes of its window row, an element a step
    weights    [o0 … o15] of s0 │ [o0 … o15] of s1 │ …       of 16 output channels, step after step
    sums[p]    += weights of s · element s of pixel p        16 registers of 32 in all

Steps of a window row that fill no eight bytes are done one by one. What an element is and how it is multiplied is the
only difference between the kernels: :mod:`.stem_singles`, :mod:`.stem_dots`.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir

from ..layout.words import StemWord
from .llvm import I32, cg, const, emit_load, emit_store, emit_word, keep_short, kernel, load_i64, routine, splat

__all__ = ["FOUR", "make_sums"]

FOUR = ir.VectorType(I32, 4)
"""Sums of four channels."""

_PIXELS, _LANES = 4, 16
_VECTORS = _LANES // FOUR.count


def make_sums(element: ir.IntType, start: bool, multiply: Callable[[Any, list[Any], Any, Any], list[Any]]) -> Any:
    """Return the kernel of sums whose steps take an ``element`` of a pixel each.

    ``multiply(builder, sums, spread, weights)`` emits the sums of a pixel, four vectors of :data:`FOUR`, with a step
    added: ``spread`` is a vector of 16 bytes that holds its element in every place, ``weights`` the address of those of
    16 channels. With ``start`` sums begin at 16 numbers int32 that lie before the weights, else at 0.
    """
    size = element.width // 8
    per_turn, places = 8 // size, ir.VectorType(I32, 16 // size)

    @routine
    def tile(b: Any, words: Any, one: Any, two: Any, three: Any, four: Any, weights: Any, target: Any) -> None:
        """Write sums of the windows at four addresses × 16 channels to ``target``, SUMS_PIXEL bytes apart."""
        row, rows, steps, pixel = (
            emit_word(b, words, which)
            for which in (StemWord.ROW, StemWord.KERNEL_HEIGHT, StemWord.KERNEL_STEPS, StemWord.SUMS_PIXEL)
        )
        sums = [[cg.alloca_once(b, FOUR) for _ in range(_VECTORS)] for _ in range(_PIXELS)]  # they become registers
        for v in range(_VECTORS):
            first = emit_load(b, b.add(weights, const(16 * v)), FOUR, 16) if start else splat(FOUR, 0)
            for of_pixel in sums:
                b.store(first, of_pixel[v])
        place = cg.alloca_once_value(b, b.add(weights, const(4 * _LANES)) if start else weights)
        with cg.for_range(b, rows) as outer:
            sources = [b.add(corner, b.mul(outer.index, row)) for corner in (one, two, three, four)]
            left = b.and_(steps, const(per_turn - 1))
            whole = b.sub(steps, left)
            for begin, turns, count in ((const(0), b.udiv(whole, const(per_turn)), per_turn), (whole, left, 1)):
                kind = ir.VectorType(element, count)
                with cg.for_range(b, turns) as loop:
                    offset, at = b.add(b.mul(begin, const(size)), b.mul(loop.index, const(size * count))), b.load(place)
                    elements = [emit_load(b, b.add(source, offset), kind) for source in sources]
                    for step in range(count):
                        of_step = b.add(at, const(_LANES * size * step))
                        for values, of_pixel in zip(elements, sums, strict=True):
                            spread = b.shuffle_vector(values, values, splat(places, step))
                            added = multiply(b, [b.load(each) for each in of_pixel], spread, of_step)
                            for value, each in zip(added, of_pixel, strict=True):
                                b.store(value, each)
                    b.store(b.add(at, const(_LANES * size * count)), place)
                keep_short(b, loop)
        for p, of_pixel in enumerate(sums):
            for v, each in enumerate(of_pixel):
                emit_store(b, b.add(target, b.add(b.mul(pixel, const(p)), const(16 * v))), b.load(each))

    @kernel
    def row_of_sums(words: int, corner: int, weights: int, target: int) -> None:
        """Write a row of sums of a block of channels, and up to three pixels behind it, which the ring has room for."""
        pixel, sums_pixel, width = (
            load_i64(words, StemWord.PIXEL),
            load_i64(words, StemWord.SUMS_PIXEL),
            load_i64(words, StemWord.WIDTH),
        )
        for x in range(0, width, _PIXELS):
            one, last = corner + x * pixel, corner + (width - 1) * pixel  # places behind the row repeat its last pixel
            two, three, four = min(one + pixel, last), min(one + 2 * pixel, last), min(one + 3 * pixel, last)
            tile(words, one, two, three, four, weights, target + x * sums_pixel)

    return row_of_sums
