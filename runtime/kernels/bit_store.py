"""Writing bits to a packed image: eight channels to a byte, or, as the LUT kernels read them, four as 2 · nibble."""

from collections.abc import Sequence
from typing import Any

from .llvm import I8, I16, const, emit_store, splat, vector

__all__ = ["bit_place", "emit_bits", "emit_each"]


def bit_place(b: Any, channel: Any, nibbles: Any) -> Any:
    """Emit the byte of a channel (a multiple of 8) in a pixel: eight channels to a byte, or to two of 2 · nibble."""
    return b.shl(b.lshr(channel, const(3)), nibbles)


def emit_bits(b: Any, place: Any, bits: Any, nibbles: Any) -> None:
    """Emit the store of an integer of one or more bytes of bits, as they are or four channels to a byte."""
    emit_each(b, [(place, bits)], nibbles)


def emit_each(b: Any, writes: Sequence[tuple[Any, Any]], nibbles: Any) -> None:
    """Emit such a store for each place and its bits, behind one branch.

    What made the bits lies in front of it in one piece, so that a core that takes instructions in their order does the
    work of one place while that of another waits.
    """
    with b.if_else(b.icmp_signed("!=", nibbles, const(0))) as (then, otherwise):
        with then:
            for place, bits in writes:
                count = bits.type.width // 8
                wide = b.zext(b.bitcast(bits, vector(I8, count)), vector(I16, count))
                # ........hhhhllll -> ...hhhh....llll. : low nibble first, both times two
                twice = b.or_(b.shl(wide, splat(wide.type, 1)), b.shl(wide, splat(wide.type, 5)))
                emit_store(b, place, b.and_(twice, splat(wide.type, 0x1E1E)))
        with otherwise:
            for place, bits in writes:
                emit_store(b, place, bits)
