"""The counting of kernel perm (:mod:`.perm`): four codes of every pixel of tiles one under the other, all blocks.

:func:`count_codes` makes the functions; the order of loops, and what stays in registers, is this file's concern.
"""

from collections.abc import Callable
from enum import IntEnum, auto
from typing import Any

import llvmlite.ir as ir

from .llvm import I8, I16, I32, I64, cg, const, emit_load, emit_store, emit_word, splat

__all__ = ["CODES", "PAIRS", "RING_BYTES", "SUMS_BYTES", "Plan", "count_codes"]

import os
E=lambda k,d: eval(os.environ.get(k,d))
ORDER,SHIFT,PIN,WID=E("ORDER","(24,3,2)"),E("SHIFT","(1,3)"),E("PIN","0"),E("WID","1")
def pin(b, v, w="x"):
    return b.asm(ir.FunctionType(v.type, [v.type]), "", "=v,0", [v], True) if PIN==1 else v
PAIRS, CODES = 7, 4
"""Pairs of pixels of a tile; codes of six bits, at most, that are counted before byte counters are widened."""

_KERNEL, _ROW = 3, 64
_POSITION = CODES * _ROW  # table rows of a position of the window
SUMS_BYTES = PAIRS * 4 * 64
"""Bytes of the sums of a tile and a block: uint16 [pairs, pixels, 64]."""

_SLOT = 9 * _POSITION  # table rows under a row of windows: of 9 positions
RING_BYTES = _KERNEL * _SLOT
"""Bytes of the table rows of three rows of the image."""

_BYTES, _WORDS = ir.VectorType(I8, 64), ir.VectorType(I16, 32)


class Plan(IntEnum):
    """Words of what a call counts."""

    SOURCE = 0  # the bits of the codes, at the corner of the first window
    ROW = auto()  # bytes of a row of the image
    PIXEL = auto()  # bytes of a pixel
    PARTNER = auto()  # bytes from a pixel to its partner
    MASK = auto()  # of the bits that there are
    TILES = auto()
    BLOCKS = auto()
    WEIGHTS = auto()
    WEIGHT_BYTES = auto()  # from one block to the next
    SUMS = auto()
    BEFORE = auto()  # what they are added to: themselves, or zeros
    BEFORE_STEP = auto()  # bytes from those of one tile and block to the next
    TABLE = auto()
    RING = auto()
    DOUBLES = auto()  # pairs of codes that are counted at a time
    SINGLES = auto()  # codes that are left, one or none
    SIZE = auto()


def count_codes(stride: int) -> Callable[[Any, Any], None]:
    """Return what emits ``codes`` codes of tiles of windows ``stride`` pixels apart, as :class:`Plan` says."""

    def emit(b: Any, plan: Any) -> None:
        _Counter(b, plan, stride).emit()

    emit.__name__ = f"perm_rows_{stride}"
    return emit


class _Counter:
    """Emits the counting: for each tile, for each block, three rows of a window."""

    def __init__(self, b: Any, plan: Any, stride: int) -> None:
        self.b, self.stride = b, stride
        self.plan = {word: emit_word(b, plan, word) for word in Plan if word != Plan.SIZE}
        self.positions = (PAIRS - 1) * stride + _KERNEL
        self.times = splat(_WORDS, 4096)
        self.S, self.H = ([cg.alloca_once(b, _BYTES) for _ in range(PAIRS)] for _ in range(2))

    def emit(self) -> None:
        b, plan = self.b, self.plan
        # Variables of the function, which LLVM turns into registers.
        slots = [cg.alloca_once_value(b, b.add(plan[Plan.RING], const(_SLOT * row))) for row in range(_KERNEL)]
        source = cg.alloca_once_value(b, plan[Plan.SOURCE])
        sums = cg.alloca_once_value(b, plan[Plan.SUMS])
        before = cg.alloca_once_value(b, plan[Plan.BEFORE])
        for row in range(_KERNEL - self.stride):
            self.build(b.load(slots[row]), b.add(plan[Plan.SOURCE], b.mul(plan[Plan.ROW], const(row))))
        with cg.for_range(b, plan[Plan.TILES]):
            weights = cg.alloca_once_value(b, plan[Plan.WEIGHTS])
            b.store(plan[Plan.WEIGHTS], weights)
            with cg.for_range(b, plan[Plan.BLOCKS]) as blocks:
                first = b.icmp_signed("==", blocks.index, const(0))
                self.block(first, slots, b.load(source), b.load(weights))
                self.widen(b.load(sums), b.load(before))
                b.store(b.add(b.load(weights), plan[Plan.WEIGHT_BYTES]), weights)
                b.store(b.add(b.load(sums), const(SUMS_BYTES)), sums)
                b.store(b.add(b.load(before), plan[Plan.BEFORE_STEP]), before)
            b.store(b.add(b.load(source), b.mul(plan[Plan.ROW], const(self.stride))), source)
            turned = [b.load(slot) for slot in slots]
            for row, slot in enumerate(slots):
                b.store(turned[(row + self.stride) % _KERNEL], slot)

    def build(self, slot: Any, source: Any) -> None:
        """Emit the building of the table rows of a row of the image, without counting."""
        b, plan, place = self.b, self.plan, cg.alloca_once_value(self.b, source)

        def positions(number: Any, codes: int) -> None:
            b.store(source, place)
            start = b.add(slot, b.mul(number, const(2 * _ROW * self.positions)))
            with cg.for_range(b, const(self.positions)) as at:
                target = b.add(start, b.mul(at.index, const(2 * _ROW)))
                self.fresh(b.load(place), b.mul(number, const(12)), target, codes)
                b.store(b.add(b.load(place), plan[Plan.PIXEL]), place)

        with cg.for_range(b, plan[Plan.DOUBLES]) as doubles:
            positions(doubles.index, 2)
        with b.if_then(b.icmp_signed("!=", plan[Plan.SINGLES], const(0))):
            positions(plan[Plan.DOUBLES], 1)

    def fresh(self, source: Any, bit: Any, target: Any, codes: int) -> list[Any]:
        """Emit the building of table rows of a position, from three bytes of two pixels; they are kept and returned."""
        b, plan = self.b, self.plan
        pixels = [source, b.add(source, plan[Plan.PARTNER])]
        bits = [b.shl(b.lshr(b.and_(b.zext(emit_load(b, pixel, I32), I64), plan[Plan.MASK]), bit), const(6)) for pixel in pixels]
        rows = []
        for code in range(codes):
            places = [b.and_(b.lshr(v, const(6 * code)), const(63 * _ROW)) for v in bits]
            low = emit_load(b, b.add(plan[Plan.TABLE], places[0]), _BYTES, 64)
            high = emit_load(b, b.add(b.add(plan[Plan.TABLE], places[1]), const(64 * _ROW)), _BYTES, 64)
            rows.append(b.add(low, high))
            emit_store(b, b.add(target, const(_ROW * code)), rows[-1], 64)
        return rows

    def block(self, first: Any, slots: list[Any], source: Any, weights: Any) -> None:
        """Emit S and H of a tile for a block; the first block builds the rows that the tile is the first to need."""
        b = self.b
        self.lanes = cg.alloca_once_value(b, weights)
        b.store(weights, self.lanes)
        for counter in (*self.S, *self.H):
            b.store(splat(_BYTES, 0), counter)
        slot, row = cg.alloca_once(b, I64), cg.alloca_once(b, I64)
        b.store(source, row)
        with cg.for_range(b, const(_KERNEL)) as rows:
            ky = rows.index
            one = b.icmp_signed("==", ky, const(0))
            two = b.icmp_signed("==", ky, const(1))
            b.store(b.select(one, b.load(slots[0]), b.select(two, b.load(slots[1]), b.load(slots[2]))), slot)
            fresh = b.and_(first, b.icmp_signed(">=", ky, const(_KERNEL - self.stride)))
            with b.if_else(fresh) as (then, otherwise):
                with then:
                    self.row(b.load(slot), b.load(row))
                with otherwise:
                    self.row(b.load(slot), None)
            b.store(b.add(b.load(row), self.plan[Plan.ROW]), row)

    def row(self, slot: Any, source: Any) -> None:
        """Emit the counting of a row of windows. ``source``: where to build its table rows from; None: they are there."""
        b, plan = self.b, self.plan
        with cg.for_range(b, plan[Plan.DOUBLES]) as doubles:
            self.step(doubles.index, slot, source, 2)
        with b.if_then(b.icmp_signed("!=", plan[Plan.SINGLES], const(0))):
            self.step(plan[Plan.DOUBLES], slot, source, 1)

    def step(self, number: Any, slot: Any, source: Any, codes: int) -> None:
        """Emit the counting of one or two codes under all three taps, whose vectors of weights stay in registers."""
        b = self.b
        S, H = [b.load(one) for one in self.S], [b.load(one) for one in self.H]
        lanes = b.load(self.lanes)
        chosen = [
            [emit_load(b, b.add(lanes, const(_ROW * (tap * codes + code))), _BYTES, 64) for code in range(codes)]
            for tap in range(_KERNEL)
        ]
        b.store(b.add(lanes, const(_KERNEL * codes * _ROW)), self.lanes)
        slot = b.add(slot, b.mul(number, const(2 * _ROW * self.positions)))
        place = source
        bits = b.mul(number, const(12))
        sums = [(at, tap, (at - tap) // self.stride) for at in range(self.positions) for tap in range(_KERNEL) if (at - tap) % self.stride == 0 and 0 <= (at - tap) // self.stride < PAIRS]
        near, mid, far = ORDER
        events = []
        for j in range(len(sums)):
            time, later = 6 * j, 6 * j + near
            events += [(time, j, "look0"), (time, j, "look1"), (later, j, "sum"), (later + mid, j, "S"), (later + mid, j, "high"), (later + mid + far, j, "H")]
        events.sort()
        rows, found, xs, ups = {}, {}, {}, {}
        permute = cg.get_or_insert_function(b.module, ir.FunctionType(_BYTES, [_BYTES, _BYTES]), "llvm.x86.avx512.permvar.qi.512")
        for _, j, what in events:
            at, tap, p = sums[j]
            if what.startswith("look"):
                if at not in rows:
                    target = b.add(slot, const(at * 2 * _ROW))
                    if source is None:
                        rows[at] = [emit_load(b, b.add(target, const(_ROW * code)), _BYTES, 64) for code in range(codes)]
                    else:
                        rows[at] = self.fresh(place, bits, target, codes)
                        place = b.add(place, self.plan[Plan.PIXEL])
                code = int(what[4])
                if code < codes:
                    found[j, code] = pin(b,b.call(permute, [rows[at][code], chosen[tap][code]]))
            elif what == "sum":
                xs[j] = pin(b,b.add(found[j, 0], found[j, 1])) if codes == 2 else found[j, 0]
            elif what == "S":
                S[p] = pin(b,b.add(S[p], xs[j]))
            elif what == "high":
                ups[j] = pin(b,self.upper(xs[j], p))
            else:
                H[p] = pin(b,b.add(H[p], ups[j]))
        for variables, values in ((self.S, S), (self.H, H)):
            for variable, value in zip(variables, values, strict=True):
                b.store(value, variable)

    def look_up(self, rows: list[Any], lanes: list[Any]) -> Any:
        b = self.b
        permute = cg.get_or_insert_function(
            b.module, ir.FunctionType(_BYTES, [_BYTES, _BYTES]), "llvm.x86.avx512.permvar.qi.512"
        )
        found = [b.call(permute, pair) for pair in zip(rows, lanes, strict=True)]
        return found[0] if len(found) == 1 else b.add(*found)

    def upper(self, x: Any, pair: int) -> Any:
        b, words = self.b, self.b.bitcast(x, _WORDS)
        if pair % 2:
            return b.bitcast(b.lshr(words, splat(_WORDS, 4)), _BYTES)
        multiply = cg.get_or_insert_function(
            b.module, ir.FunctionType(_WORDS, [_WORDS, _WORDS]), "llvm.x86.avx512.pmulhu.w.512"
        )
        return b.bitcast(b.call(multiply, [words, self.times]), _BYTES)

    def widen(self, sums: Any, before: Any) -> None:
        """Emit sums = before + counts: words of which the upper byte is an odd lane, and the odd lanes alone."""
        b = self.b
        for p in range(PAIRS):
            both, high = b.load(self.S[p]), b.load(self.H[p])
            sixteen = b.and_(b.shl(b.bitcast(high, _WORDS), splat(_WORDS, 4)), splat(_WORDS, 0xF0F0))
            low = b.bitcast(b.sub(both, b.bitcast(sixteen, _BYTES)), _WORDS)
            left = b.and_(b.lshr(low, splat(_WORDS, 4)), splat(_WORDS, 0x00F0))
            upper = b.bitcast(b.sub(high, b.bitcast(left, _BYTES)), _WORDS)
            for i, value in enumerate((low, b.lshr(low, splat(_WORDS, 8)), upper, b.lshr(upper, splat(_WORDS, 8)))):
                offset = const(64 * (4 * p + i))
                emit_store(b, b.add(sums, offset), b.add(value, emit_load(b, b.add(before, offset), _WORDS, 64)), 64)
