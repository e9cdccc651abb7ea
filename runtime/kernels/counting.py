"""The loop that all counting kernels share: over the pieces under a window, over the bytes of a piece.

A kernel gives three things: its counters (byte vectors), ``body``, which adds some steps to them, and ``widen``, which
adds them to the 16-bit tile before a byte can overflow::

    for piece in pieces:                      runs of bytes under the window, short enough for byte counters
        counters = 0
        for each length of step, longest first:
            while steps are left: counters = body(...)
        widen(counters)                       tile += counters (the first piece: tile = counters)

Written as LLVM IR with the counters as phi nodes, so that they stay in registers (numba would keep arrays in memory).
"""

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir

from ..layout.words import BlockWord, ConvWord, PixelWord
from .llvm import I8, I16, I32, I64, const, emit_load, emit_store, emit_word, splat

__all__ = ["BYTES", "emit_corners", "emit_count", "emit_widen", "emit_window"]

BYTES, _WORDS = ir.VectorType(I8, 32), ir.VectorType(I16, 16)
_Body = Callable[[Any, list[Any], Any, list[Any], int], list[Any]]
"""``body(builder, sources, weights, counters, steps)``: addresses of the pixels' bytes and of the weights, counters."""


def emit_corners(b: Any, source: Any, block: Any, rows: Any, count: int, stride: int, element: int) -> list[Any]:
    """Emit the addresses of the windows of ``count`` pixels, every ``stride``-th row of the pixel table.

    ``source`` is the image, of ``element`` bytes for each byte of the packed input, ``block`` the block of channels.
    """
    group = b.add(source, b.mul(emit_word(b, block, BlockWord.GROUP, constant=True), const(element)))
    corners = []
    for p in range(count):
        place = b.add(rows, const(4 * (PixelWord.SIZE * stride * p + PixelWord.INPUT)))
        corners.append(b.add(group, b.mul(b.sext(emit_load(b, place, I32), I64), const(element))))
    return corners


def emit_window(b: Any, words: Any, block: Any) -> tuple[Any, Any, Any]:
    """Emit the addresses of the block's weights and of the pieces under a window, and the number of pieces."""
    pieces, count = (emit_word(b, words, word, constant=True) for word in (ConvWord.PIECES, ConvWord.PIECE_COUNT))
    return emit_word(b, block, BlockWord.WEIGHTS, constant=True), pieces, count


def emit_widen(b: Any, counter: Any, tile: Any, place: int, first: bool) -> None:
    """Emit tile[place … place + 31] += counter (= for the first piece): even bytes are channels 0…15, odd 16…31."""
    pairs = b.bitcast(counter, _WORDS)
    for half, part in enumerate((b.and_(pairs, splat(_WORDS, 255)), b.lshr(pairs, splat(_WORDS, 8)))):
        address = b.add(tile, const(2 * place + 32 * half))
        emit_store(b, address, part if first else b.add(emit_load(b, address, _WORDS), part))


def emit_count(
    b: Any,
    corners: Sequence[Any],
    window: tuple[Any, Any, Any],
    counters: int,
    steps: Sequence[int],
    element: int,
    vectors: int,
    body: _Body,
    widen: Callable[[Any, list[Any], bool], None],
    kind: ir.VectorType = BYTES,
) -> None:
    """Emit the loops over a ``window`` as :func:`emit_window` gives it, with counters of ``kind``.

    ``steps`` are the lengths of a turn of ``body``; ``element`` bytes of activations and ``vectors`` · 32 bytes of
    weights belong to one step.
    """
    weights, pieces, piece_count = window
    entry = b.block
    piece_loop, end = b.append_basic_block("piece"), b.append_basic_block("end")
    b.branch(piece_loop)
    b.position_at_end(piece_loop)
    piece, piece_weights = b.phi(I64), b.phi(I64)
    piece.add_incoming(const(0), entry)
    piece_weights.add_incoming(weights, entry)
    row = b.add(pieces, b.mul(piece, const(16)))
    offset, length = emit_load(b, row, I64), emit_load(b, b.add(row, const(8)), I64)
    starts = [b.add(corner, b.mul(offset, const(element))) for corner in corners]
    index, at, values = const(0), piece_weights, [splat(kind, 0)] * counters
    for length_of_step in steps:
        before = b.block
        head, inner, out = (b.append_basic_block(f"{name}{length_of_step}") for name in ("head", "inner", "out"))
        b.branch(head)
        b.position_at_end(head)
        phis = [b.phi(I64), b.phi(I64), *(b.phi(kind) for _ in values)]
        for phi, value in zip(phis, [index, at, *values], strict=True):
            phi.add_incoming(value, before)
        index, at, values = phis[0], phis[1], phis[2:]
        following = b.add(index, const(length_of_step))
        b.cbranch(b.icmp_signed("<=", following, length), inner, out)
        b.position_at_end(inner)
        sources = [b.add(start, b.mul(index, const(element))) for start in starts]
        results = body(b, sources, at, values, length_of_step)
        further = b.add(at, const(32 * vectors * length_of_step))
        for phi, value in zip(phis, [following, further, *results], strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(out)
    with b.if_else(b.icmp_signed("==", piece, const(0))) as (then, otherwise):
        with then:
            widen(b, values, True)
        with otherwise:
            widen(b, values, False)
    next_piece = b.add(piece, const(1))
    piece.add_incoming(next_piece, b.block)
    piece_weights.add_incoming(at, b.block)
    b.cbranch(b.icmp_signed("<", next_piece, piece_count), piece_loop, end)
    b.position_at_end(end)
