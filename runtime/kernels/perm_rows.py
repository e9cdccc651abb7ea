"""The counting of kernel perm (:mod:`.perm`): up to eight codes of tiles one under the other, for all blocks.

:func:`count_tiles` is the one entry. A step looks up four codes, or what is left, under three taps of a window::

    for each tile:
        for each block:                       S, H = 0
            for each row of the window:       the last row's table rows are built while the first block counts them
                for each step:                21 sums of four look-ups
            sums += S, H
"""

from enum import IntEnum, auto
from typing import Any

import llvmlite.ir as ir

from .llvm import I8, I16, I32, I64, cg, const, emit_intrinsic, emit_load, emit_store, emit_word, splat

__all__ = ["CODES", "PAIRS", "RING_BYTES", "SUMS_BYTES", "Plan", "count_tiles"]

PAIRS, CODES = 7, 8
"""Pairs of pixels of a tile; codes of six bits, at most, that are counted before byte counters are widened."""

STEP_CODES = 4
"""Codes whose look-ups are added before the nibbles are taken apart."""

_KERNEL, _ROW = 3, 64
_POSITIONS = PAIRS + _KERNEL - 1  # of pixels under the windows of a tile, in a row
_STEP = STEP_CODES * _ROW * _POSITIONS  # bytes of the table rows of a step: [position, code]
_SLOT = CODES // STEP_CODES * _STEP
RING_BYTES = _KERNEL * _SLOT
"""Bytes of the table rows of three rows of the image."""

SUMS_BYTES = PAIRS * 4 * 64
"""Bytes of the sums of a tile and a block: uint16 [pairs, pixels, 64]."""

_BYTES, _WORDS = ir.VectorType(I8, 64), ir.VectorType(I16, 32)

_SUM, _BOTH, _HIGH = 24, 27, 29
"""When the operations of a sum follow, in sixths of a sum after its look-ups: x, then S and x >> 4, then H. LLVM
keeps to this order as far as it likes."""


class Plan(IntEnum):
    """Words, int64, of what is counted."""

    SOURCE = 0  # the bits of the codes, at the corner of the first window
    ROW = auto()  # bytes of a row of the image
    PIXEL = auto()  # bytes of a pixel
    PARTNER = auto()  # bytes from a pixel to its partner
    MASK = auto()  # of the bits that there are
    STEPS = auto()  # whole steps
    REST = auto()  # codes of a last step, less than a whole one's
    TILES = auto()
    BLOCKS = auto()
    WEIGHTS = auto()
    WEIGHT_BYTES = auto()  # from one block to the next
    NEXT = auto()  # bytes from the weights of the last block to those of the first one's next chunk
    SUMS = auto()
    BEFORE = auto()  # what they are added to: themselves, or zeros
    BEFORE_STEP = auto()  # bytes from those of one tile and block to the next
    TABLE = auto()
    RING = auto()
    SIZE = auto()


def count_tiles(b: Any, plan: Any) -> None:
    """Emit the counting that the words at ``plan`` describe."""
    _Counter(b, plan).emit()


class _Counter:
    """Emits the counting. Its ``variables`` are those of the function, which LLVM turns into registers."""

    def __init__(self, b: Any, plan: Any) -> None:
        self.b = b
        self.plan: dict[int, Any] = {word: emit_word(b, plan, word) for word in list(Plan)[: Plan.SIZE]}
        self.S, self.H = ([cg.alloca_once(b, _BYTES) for _ in range(PAIRS)] for _ in range(2))
        self.lanes = cg.alloca_once(b, I64)  # the weights that are read next
        self.ahead = cg.alloca_once(b, I64)  # bytes from them to those of the next block, or of the next chunk
        self.sums, self.before, self.source = (cg.alloca_once(b, I64) for _ in range(3))
        self.slots = [cg.alloca_once(b, I64) for _ in range(_KERNEL)]  # table rows under each row of the window

    def move(self, variable: Any, by: Any) -> None:
        """Emit variable += by."""
        self.b.store(self.b.add(self.b.load(variable), by), variable)

    def emit(self) -> None:
        b, plan = self.b, self.plan
        for variable, word in ((self.sums, Plan.SUMS), (self.before, Plan.BEFORE), (self.source, Plan.SOURCE)):
            b.store(plan[word], variable)
        for row, slot in enumerate(self.slots):
            b.store(b.add(plan[Plan.RING], const(_SLOT * row)), slot)
        for row in range(_KERNEL - 1):
            self.build(b.load(self.slots[row]), b.add(plan[Plan.SOURCE], b.mul(plan[Plan.ROW], const(row))))
        with cg.for_range(b, plan[Plan.TILES]):
            b.store(plan[Plan.WEIGHTS], self.lanes)
            lanes = cg.alloca_once(b, I64)
            b.store(plan[Plan.WEIGHTS], lanes)
            with cg.for_range(b, plan[Plan.BLOCKS]) as blocks:
                b.store(b.load(lanes), self.lanes)
                last = b.icmp_signed("==", blocks.index, b.sub(plan[Plan.BLOCKS], const(1)))
                b.store(b.select(last, plan[Plan.NEXT], plan[Plan.WEIGHT_BYTES]), self.ahead)
                self.block(b.icmp_signed("==", blocks.index, const(0)))
                self.widen()
                self.move(lanes, plan[Plan.WEIGHT_BYTES])
                self.move(self.sums, const(SUMS_BYTES))
                self.move(self.before, plan[Plan.BEFORE_STEP])
            self.move(self.source, plan[Plan.ROW])
            first, *others = [b.load(slot) for slot in self.slots]
            for slot, value in zip(self.slots, [*others, first], strict=True):
                b.store(value, slot)

    def steps(self, emit: Any) -> None:
        """Emit ``emit(number of the step, its codes)`` for all steps."""
        b, plan = self.b, self.plan
        with cg.for_range(b, plan[Plan.STEPS]) as whole:
            emit(whole.index, STEP_CODES)
        done = b.append_basic_block("steps_done")
        switch = b.switch(plan[Plan.REST], done)
        for codes in range(1, STEP_CODES):
            variant = b.append_basic_block(f"rest_{codes}")
            switch.add_case(const(codes), variant)
            b.position_at_end(variant)
            emit(plan[Plan.STEPS], codes)
            b.branch(done)
        b.position_at_end(done)

    def build(self, slot: Any, source: Any) -> None:
        """Emit the building of the table rows of a row of the image, without counting."""
        b, place = self.b, cg.alloca_once(self.b, I64)

        def step(number: Any, codes: int) -> None:
            b.store(source, place)
            first = b.add(slot, b.mul(number, const(_STEP)))
            with cg.for_range(b, const(_POSITIONS)) as at:
                self.fresh(b.load(place), number, b.add(first, b.mul(at.index, const(STEP_CODES * _ROW))), codes)
                self.move(place, self.plan[Plan.PIXEL])

        self.steps(step)

    def fresh(self, source: Any, number: Any, target: Any, codes: int) -> list[Any]:
        """Emit the building of the table rows of a position, from the bits of two pixels; they are kept too."""
        b, plan = self.b, self.plan
        pixels = [emit_load(b, place, I64) for place in (source, b.add(source, plan[Plan.PARTNER]))]
        bits = [b.lshr(b.and_(pixel, plan[Plan.MASK]), b.mul(number, const(6 * STEP_CODES))) for pixel in pixels]
        rows = []
        for code in range(codes):
            offsets = [b.and_(b.lshr(b.shl(value, const(6)), const(6 * code)), const(63 * _ROW)) for value in bits]
            places = [b.add(b.add(plan[Plan.TABLE], at), const(64 * _ROW * i)) for i, at in enumerate(offsets)]
            rows.append(b.add(*(emit_load(b, place, _BYTES, 64) for place in places)))
            emit_store(b, b.add(target, const(_ROW * code)), rows[-1], 64)
        return rows

    def block(self, first: Any) -> None:
        """Emit S and H of a tile for a block; where it is the ``first``, the last row's table rows are built."""
        b = self.b
        for counter in (*self.S, *self.H):
            b.store(splat(_BYTES, 0), counter)
        with cg.for_range(b, const(_KERNEL)) as rows:
            slot = b.load(self.slots[-1])
            for row in range(_KERNEL - 1):
                slot = b.select(b.icmp_signed("==", rows.index, const(row)), b.load(self.slots[row]), slot)
            last = b.icmp_signed("==", rows.index, const(_KERNEL - 1))
            source = b.add(b.load(self.source), b.mul(self.plan[Plan.ROW], const(_KERNEL - 1)))
            with b.if_else(b.and_(first, last)) as (then, otherwise):
                with then:
                    self.steps(lambda number, codes: self.step(number, codes, slot, source))
                with otherwise:
                    self.steps(lambda number, codes: self.step(number, codes, slot, None))

    def step(self, number: Any, codes: int, slot: Any, source: Any) -> None:
        """Emit a step. ``source``: where to build its table rows from; None: they are there."""
        b, S, H = self.b, [self.b.load(one) for one in self.S], [self.b.load(one) for one in self.H]
        lanes, first = b.load(self.lanes), b.add(slot, b.mul(number, const(_STEP)))
        weights = [emit_load(b, b.add(lanes, const(_ROW * i)), _BYTES, 64) for i in range(_KERNEL * codes)]
        ahead = b.add(lanes, b.load(self.ahead))
        for i in range(_KERNEL * codes):
            read, keep, data = (ir.Constant(I32, value) for value in (0, 3, 1))
            place = b.inttoptr(b.add(ahead, const(_ROW * i)), I8.as_pointer())
            emit_intrinsic(b, "llvm.prefetch.p0", ir.VoidType(), place, read, keep, data)
        self.move(self.lanes, const(_KERNEL * codes * _ROW))
        rows: dict[int, list[Any]] = {}
        found: dict[tuple[int, int], Any] = {}
        x: dict[int, Any] = {}
        for operation, index, at, tap in _order(codes):
            pair = at - tap
            if at not in rows:
                target = b.add(first, const(STEP_CODES * _ROW * at))
                if source is None:
                    rows[at] = [emit_load(b, b.add(target, const(_ROW * i)), _BYTES, 64) for i in range(codes)]
                else:
                    rows[at] = self.fresh(source, number, target, codes)
                    source = b.add(source, self.plan[Plan.PIXEL])
            if operation < codes:
                found[index, operation] = self.look_up(weights[codes * tap + operation], rows[at][operation])
            elif operation == _SUM:
                some = [found[index, code] for code in range(codes)]
                while len(some) > 1:
                    some = [*some[2:], b.add(some[0], some[1])]
                x[index] = some[0]
            elif operation == _BOTH:
                S[pair], found[index, 0] = b.add(S[pair], x[index]), self.upper(x[index], pair)
            elif operation == _HIGH:
                H[pair] = b.add(H[pair], found[index, 0])
        for variable, value in zip((*self.S, *self.H), (*S, *H), strict=True):
            b.store(value, variable)

    def look_up(self, lanes: Any, row: Any) -> Any:
        return emit_intrinsic(self.b, "llvm.x86.avx512.permvar.qi.512", _BYTES, row, lanes)

    def upper(self, x: Any, pair: int) -> Any:
        """Emit x >> 4 of words: of half of the pairs by a shift, of the others by a multiplication."""
        b, words = self.b, self.b.bitcast(x, _WORDS)
        if pair % 2:
            return b.bitcast(b.lshr(words, splat(_WORDS, 4)), _BYTES)
        upper = emit_intrinsic(b, "llvm.x86.avx512.pmulhu.w.512", _WORDS, words, splat(_WORDS, 4096))
        return b.bitcast(upper, _BYTES)

    def widen(self) -> None:
        """Emit sums = before + counts: words of which the upper byte is an odd lane, and the odd lanes alone."""
        b, sums, before = self.b, self.b.load(self.sums), self.b.load(self.before)
        for p in range(PAIRS):
            both, high = b.load(self.S[p]), b.load(self.H[p])
            sixteen = b.and_(b.shl(b.bitcast(high, _WORDS), splat(_WORDS, 4)), splat(_WORDS, 0xF0F0))
            low = b.bitcast(b.sub(both, b.bitcast(sixteen, _BYTES)), _WORDS)
            left = b.and_(b.lshr(low, splat(_WORDS, 4)), splat(_WORDS, 0x00F0))
            upper = b.bitcast(b.sub(high, b.bitcast(left, _BYTES)), _WORDS)
            for i, value in enumerate((low, b.lshr(low, splat(_WORDS, 8)), upper, b.lshr(upper, splat(_WORDS, 8)))):
                offset = const(64 * (4 * p + i))
                emit_store(b, b.add(sums, offset), b.add(value, emit_load(b, b.add(before, offset), _WORDS, 64)), 64)


def _order(codes: int) -> list[tuple[int, int, int, int]]:
    """Return the operations of a step in order: (which, number of the sum, position, tap)."""
    sums = [(at, tap) for at in range(_POSITIONS) for tap in range(_KERNEL) if 0 <= at - tap < PAIRS]
    timed = [
        (6 * index + (which if which >= codes else 0), index, which, at, tap)
        for index, (at, tap) in enumerate(sums)
        for which in (*range(codes), _SUM, _BOTH, _HIGH)
    ]
    return [(which, index, at, tap) for _, index, which, at, tap in sorted(timed)]
