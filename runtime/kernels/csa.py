"""CSA, the kernel for x86 with AVX-512 and its population count: pairs of words go through a carry-save adder.

A 32-bit lane is an output channel; a step takes two words of 32 input channels each, of four pixels, against 2 × 16
output channels::

    activations, 64 channels of a pixel:  a, a'   one word each, broadcast from memory to all 16 lanes
    weights, the same 64 channels:        w, w'   [o0 o1 … o15], a word a lane

    x = a xor w, x' = a' xor w'           the mismatches as bits, which are never computed on their own
    ones + x + x' = ones' + 2 · carry     a full adder for each of 512 bits, in three operations:
    p     = ones xor a xor w              vpternlog
    ones' = p xor a' xor w'               vpternlog
    carry = p ? not ones' : ones          vpternlog: p says that ones and x differ, so x' decides, and x' = not ones'
    count += popcount(carry)              vpopcntd, vpaddd;   mismatches = 2 · count + popcount(ones) at the end

Five vector operations for 1024 products, against six for xor, population count and add of each word. Lanes of 32 bits
never overflow, so nothing is widened between the pieces of a window. 1.5 to 1.7 times LUT2 on the same core, and a
quarter of its weights' bytes (docs/performance.md).
A padded position is a stored bit, so it acts as −1 or +1; zero padding is repaired by the base of its border class.
"""

from typing import Any

import llvmlite.ir as ir

from .counting import emit_corners, emit_window
from .epilogue import make_epilogue
from .llvm import I32, I64, broadcast, cg, const, emit_intrinsic, emit_load, emit_store, emit_word, splat
from .tiles import make_convolution

__all__ = ["TILE_BYTES", "conv_csa", "count_csa"]

_PIXELS, _VECTORS = 4, 2
TILE_BYTES = _PIXELS * _VECTORS * 64
_LANES = ir.VectorType(I32, 16)
_XOR3, _CHOOSE = 0x96, 0x3A
"""Truth tables of vpternlog(a, b, c), bit 4a + 2b + c: a xor b xor c, and (a ? not b : c)."""


def _ternary(b: Any, one: Any, two: Any, three: Any, truth: int) -> Any:
    return emit_intrinsic(b, "llvm.x86.avx512.pternlog.d.512", _LANES, one, two, three, ir.Constant(I32, truth))


def _ones(b: Any, value: Any) -> Any:
    return emit_intrinsic(b, "llvm.ctpop.v16i32", _LANES, value)


def _spread(b: Any, address: Any) -> Any:
    return broadcast(b, emit_load(b, address, I32), _LANES.count)


def count_csa(b: Any, words: Any, image: Any, source: Any, block: Any, rows: Any, tile: Any) -> None:
    """Emit the mismatches of four pixels × 32 channels to ``tile``, int32 [4, 32]."""
    weights, pieces, count = emit_window(b, words, block)
    # Variables of the function, which LLVM turns into registers.
    place = cg.alloca_once_value(b, weights)
    ones = [cg.alloca_once(b, _LANES) for _ in range(_PIXELS * _VECTORS)]
    twos = [cg.alloca_once(b, _LANES) for _ in range(_PIXELS * _VECTORS)]
    for variable in (*ones, *twos):
        b.store(splat(_LANES, 0), variable)

    def load_weights(word: int) -> list[Any]:
        places = [const(64 * (word * _VECTORS + v)) for v in range(_VECTORS)]
        return [emit_load(b, b.add(b.load(place), offset), _LANES, 64) for offset in places]

    def pair(sources: list[Any]) -> None:
        first, second = load_weights(0), load_weights(1)
        carries = []
        for p, source in enumerate(sources):
            one, other = (_spread(b, b.add(source, const(4 * word))) for word in range(2))
            for v in range(_VECTORS):
                t = p * _VECTORS + v
                before = b.load(ones[t])
                partial = _ternary(b, before, one, first[v], _XOR3)
                after = _ternary(b, partial, other, second[v], _XOR3)
                carries.append(_ternary(b, partial, after, before, _CHOOSE))
                b.store(after, ones[t])
        counts = [_ones(b, carry) for carry in carries]
        for high, counted in zip(twos, counts, strict=True):
            b.store(b.add(b.load(high), counted), high)
        b.store(b.add(b.load(place), const(2 * 64 * _VECTORS)), place)

    def single(sources: list[Any]) -> None:
        """Add a word that has no partner: its carry is what ``ones`` and the mismatches share."""
        lanes = load_weights(0)
        for p, source in enumerate(sources):
            one = _spread(b, source)
            for v in range(_VECTORS):
                t = p * _VECTORS + v
                before, mismatches = b.load(ones[t]), b.xor(one, lanes[v])
                b.store(b.xor(before, mismatches), ones[t])
                b.store(b.add(b.load(twos[t]), _ones(b, b.and_(before, mismatches))), twos[t])
        b.store(b.add(b.load(place), const(64 * _VECTORS)), place)

    corners = emit_corners(b, source, block, rows, _PIXELS, 1, 1)
    with cg.for_range(b, count) as piece:
        row = b.add(pieces, b.mul(piece.index, const(16)))
        offset, length = emit_word(b, row, 0), emit_word(b, row, 1)
        sources = [b.add(corner, offset) for corner in corners]
        whole = b.and_(length, const(-8))
        with cg.for_range_slice(b, const(0), whole, const(8), I64, inc=True) as (index, _):
            pair([b.add(source, index) for source in sources])
        with b.if_then(b.icmp_signed("<", whole, length)):
            single([b.add(source, whole) for source in sources])
    for t, (low, high) in enumerate(zip(ones, twos, strict=True)):
        twice = b.shl(b.load(high), splat(_LANES, 1))
        emit_store(b, b.add(tile, const(64 * t)), b.add(twice, _ones(b, b.load(low))), 64)


_epilogue = make_epilogue(_PIXELS, 16 * _VECTORS, width=16, counts=I32)
conv_csa = make_convolution(count_csa, _epilogue, _PIXELS, TILE_BYTES)
