"""CTP, the portable kernel: xor and the vector population count of LLVM, on every CPU.

A lane is an output channel; a step takes eight input channels of four pixels against 2 × 32 output channels::

    activations, 8 channels of a pixel:   a = [b7…b0]             broadcast to all 32 lanes
    weights, the same 8 channels:         w = [o0 o16 o1 o17 … o15 o31]        one byte a lane
                                          count[lane] += popcount(a xor w)     4 pixels × 64 channels at a time

The byte counts are widened to 16 bits after at most 31 steps (31 · 8 = 248 ≤ 255). Lanes hold output channels in the
order above so that the even bytes widen to channels 0…15 and the odd ones to 16…31, in natural order.
x86-64 without AVX2 splits the vectors; AArch64 gets ``ld1r, eor, cnt, add`` (NEON counts bits in bytes).
A padded position is a stored bit, so it acts as −1 or +1; zero padding is repaired by the base of its border class.
"""

from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.extending import intrinsic

from .descriptor import PIXEL_WORDS, Conv
from .epilogue import epilogue
from .llvm import I8, I16, I32, I64, cg, const, emit_load, emit_store, load_i64, scratch, splat

__all__ = ["PIXELS", "VECTORS", "conv_ctp"]

PIXELS, VECTORS = 4, 2
_TILE_BYTES = PIXELS * VECTORS * 64
_BYTES, _WORDS = ir.VectorType(I8, 32), ir.VectorType(I16, 16)


def _emit_count(
    typing_context: Any, act: Any, pixels: Any, weights: Any, pieces: Any, piece_count: Any, tile: Any
) -> Any:
    """Write the mismatches of PIXELS pixels × 64 channels to ``tile``, uint16 [PIXELS, 64]."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        act, pixels, weights, pieces, piece_count, tile = arguments
        ctpop = cg.get_or_insert_function(b.module, ir.FunctionType(_BYTES, [_BYTES]), "llvm.ctpop.v32i8")
        tiles = range(PIXELS * VECTORS)
        for t in range(2 * len(tiles)):
            emit_store(b, b.add(tile, const(32 * t)), splat(_WORDS, 0))
        corners = [b.add(act, emit_load(b, b.add(pixels, const(8 * PIXEL_WORDS * p)), I64)) for p in range(PIXELS)]
        entry = b.block
        piece_loop, byte_loop, widen, end = (b.append_basic_block(name) for name in ("piece", "byte", "widen", "end"))
        b.branch(piece_loop)

        b.position_at_end(piece_loop)
        piece, piece_weights = b.phi(I64), b.phi(I64)
        piece.add_incoming(const(0), entry)
        piece_weights.add_incoming(weights, entry)
        row = b.add(pieces, b.mul(piece, const(16)))
        offset, length = emit_load(b, row, I64), emit_load(b, b.add(row, const(8)), I64)
        sources = [b.add(corner, offset) for corner in corners]
        b.branch(byte_loop)

        b.position_at_end(byte_loop)
        index, lane_weights = b.phi(I64), b.phi(I64)
        counts = [b.phi(_BYTES) for _ in tiles]
        index.add_incoming(const(0), piece_loop)
        lane_weights.add_incoming(piece_weights, piece_loop)
        for count in counts:
            count.add_incoming(splat(_BYTES, 0), piece_loop)
        lanes = [emit_load(b, b.add(lane_weights, const(32 * v)), _BYTES) for v in range(VECTORS)]
        sums = []
        for p in range(PIXELS):
            byte = emit_load(b, b.add(sources[p], index), I8)
            one = b.insert_element(ir.Constant(_BYTES, ir.Undefined), byte, ir.Constant(I32, 0))
            spread = b.shuffle_vector(one, one, splat(ir.VectorType(I32, 32), 0))
            sums += [b.add(counts[p * VECTORS + v], b.call(ctpop, [b.xor(spread, lanes[v])])) for v in range(VECTORS)]
        following, next_weights = b.add(index, const(1)), b.add(lane_weights, const(32 * VECTORS))
        index.add_incoming(following, byte_loop)
        lane_weights.add_incoming(next_weights, byte_loop)
        for count, total in zip(counts, sums, strict=True):
            count.add_incoming(total, byte_loop)
        b.cbranch(b.icmp_signed("<", following, length), byte_loop, widen)

        b.position_at_end(widen)
        for t in tiles:
            pairs = b.bitcast(sums[t], _WORDS)
            for half, part in enumerate((b.and_(pairs, splat(_WORDS, 255)), b.lshr(pairs, splat(_WORDS, 8)))):
                place = b.add(tile, const(64 * t + 32 * half))
                emit_store(b, place, b.add(emit_load(b, place, _WORDS), part))
        next_piece = b.add(piece, const(1))
        piece.add_incoming(next_piece, widen)
        piece_weights.add_incoming(next_weights, widen)
        b.cbranch(b.icmp_signed("<", next_piece, piece_count), piece_loop, end)
        b.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*(types.int64,) * 6), generate


_count: Any = intrinsic(_emit_count)


@cfunc("void(int64, int64, int64, int64)", cache=True, error_model="numpy")
def conv_ctp(step: int, image: int, begin: int, end: int) -> None:
    """Run units ``begin … end − 1`` of the convolution step at address ``step`` on one image of the batch."""
    act = load_i64(step, Conv.ACT) + image * load_i64(step, Conv.ACT_STEP)
    tiles = load_i64(step, Conv.TILES)
    tile = scratch(_TILE_BYTES)
    for unit in range(begin, end):
        block = load_i64(step, Conv.BLOCKS) + unit // tiles * 32
        pixels = load_i64(step, Conv.PIXELS) + unit % tiles * (8 * PIXEL_WORDS * PIXELS)
        _count(
            act + load_i64(block, 0), pixels, load_i64(block, 1),
            load_i64(step, Conv.PIECES), load_i64(step, Conv.PIECE_COUNT), tile,
        )  # fmt: skip
        epilogue(step, image, block, pixels, PIXELS, tile, 32 * VECTORS)
