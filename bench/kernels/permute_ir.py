"""Counting by byte permutes in LLVM IR, for AVX-512 with VBMI: six weight bits index a table row of 64 bytes.

A byte lane is an output channel. A code is six input channels of a pixel. The table row of a code of two pixels a, a′,
which lie half an image apart, holds what the pixels mismatch for each of the 64 codes that the weights can have::

    row[w] = popcount(a xor w) + 16 · popcount(a′ xor w)
    x = vpermb(weights, row) + vpermb(weights, next row)         two codes: nibbles of at most 12
    S += x;  H += x >> 4                                         bytes; at most 21 sums, here 2 · 9
    mismatches of a′ = H, of a = S − 16 · H                      added to 16 bits, every 18 sums

Six operations for 1536 products, where csa takes five for 1024. ``x >> 4`` is taken of words: it leaves the low
nibble of an odd byte on top of the even one, which vanishes from 16 · H, and is then taken off H. Half of the pairs
shift, half multiply by 4096 and keep the upper word: on Zen 4 these go to different pipes, and shifts alone cost 6%.

What is counted at a time is a chunk, three bytes of a pixel, of seven pairs of pixels in a row. Rows of the table are
built once for all taps and blocks of channels, and kept for the tiles below: three rows of the image, 7 to 11 KB::

    for each chunk:                                     sums of up to 16 tiles and blocks wait
        for each tile of a strip, downwards:            builds the rows of the table that it is the first to need
            for each block of channels:                 counts nine taps, four codes of seven pairs

It is no kernel of the runtime: docs/measurements.md says what it loses and where.
"""

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir

from latentbit.runtime.kernels.llvm import (
    I8,
    I16,
    I32,
    I64,
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

from .permute_words import Plan, Word

PAIRS, _TAPS, _CODES, _ROW = 7, 9, 4, 64
_POSITION = _CODES * _ROW
_SLOT = 16 * _POSITION  # table rows of a row of the image: 9 positions, with stride 2 15
_SUMS = PAIRS * 4 * 64
_TILES = 16
_TABLE_16, _TIMES = 64 * 64, 2 * 64 * 64
_BYTES, _WORDS = ir.VectorType(I8, 64), ir.VectorType(I16, 32)


def _apart(emit: Callable[..., None]) -> Callable[..., None]:
    """Return what emits a call of the code of ``emit``, a function of its own."""

    @functools.wraps(emit)
    def call(b: Any, *values: Any) -> None:
        name = f"permute_{emit.__name__.strip('_')}"
        function = b.module.globals.get(name)
        if function is None:
            function = ir.Function(b.module, ir.FunctionType(ir.VoidType(), [I64] * len(values)), name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            inner = ir.IRBuilder(function.append_basic_block("entry"))
            emit(inner, *function.args)
            inner.ret_void()
        b.call(function, values)

    return call


def _room(b: Any, size: int) -> Any:
    """Return the address of bytes on the stack; ``alloca_once`` would store a zero in each, and LLVM take minutes."""
    with b.goto_entry_block():
        room = b.alloca(ir.ArrayType(I8, size))
    room.align = 64
    return b.ptrtoint(room, I64)


def _least(b: Any, one: Any, other: Any) -> Any:
    return b.select(b.icmp_signed("<", one, other), one, other)


def _call(b: Any, name: str, *arguments: Any) -> Any:
    kind = arguments[0].type
    return b.call(cg.get_or_insert_function(b.module, ir.FunctionType(kind, [kind] * len(arguments)), name), arguments)


def _of_row(b: Any, plan: Any, word: Plan, ky: Any) -> Any:
    return emit_load(b, b.add(plan, b.shl(b.add(ky, const(word)), const(3))), I64)


def _fresh(b: Any, plan: Any, ky: Any, at: int, target: Any, codes: Any) -> list[Any]:
    """Emit the building of table rows of a position, from three bytes of two pixels; they are kept for other blocks."""
    pixel, partner, mask, table = (emit_word(b, plan, word) for word in list(Plan)[2:6])
    source = b.add(_of_row(b, plan, Plan.SOURCES, ky), b.mul(pixel, const(at)))
    bits = [b.and_(b.zext(emit_load(b, place, I32), I64), mask) for place in (source, b.add(source, partner))]
    rows = []
    for code in codes:
        one, other = (b.and_(b.lshr(b.shl(v, const(24)), const(18 + 6 * code)), const(63 * _ROW)) for v in bits)
        low = emit_load(b, b.add(table, one), _BYTES, 64)
        high = emit_load(b, b.add(b.add(table, other), const(_TABLE_16)), _BYTES, 64)
        rows.append(b.add(low, high))
        emit_store(b, b.add(target, const(_ROW * code)), rows[-1], 64)
    return rows


def _make_count(codes: int, step: int) -> Callable[..., None]:
    """Return what counts ``codes`` codes under all taps, pixels ``step`` apart, and adds to the sums, or begins them.

    From row ``fresh`` of the kernel on the table rows are built, in registers that all pairs over them use; the others
    are there. Looked up in memory a pair at a time, and built before, layers took up to 16% longer: loads of 64 bytes
    are as scarce as additions.
    """

    def count(b: Any, table: Any, plan: Any, weights: Any, sums: Any, begun: Any, fresh: Any) -> None:
        times = emit_load(b, b.add(table, const(_TIMES)), _WORDS, 64)
        entry, loop, end = b.block, b.append_basic_block("row"), b.append_basic_block("counted")
        built, kept, joined = (b.append_basic_block(name) for name in ("built", "kept", "joined"))
        b.branch(loop)
        b.position_at_end(loop)
        ky, lanes = b.phi(I64), b.phi(I64)
        both, high = ([b.phi(_BYTES) for _ in range(PAIRS)] for _ in range(2))
        for phi, value in ((ky, const(0)), (lanes, weights), *((phi, splat(_BYTES, 0)) for phi in (*both, *high))):
            phi.add_incoming(value, entry)
        slot = _of_row(b, plan, Plan.SLOTS, ky)
        b.cbranch(b.icmp_signed("<", ky, fresh), kept, built)

        def row(new: bool) -> list[Any]:
            S, H = list(both), list(high)
            for code in range(0, codes, 2):
                used = range(code, min(code + 2, codes))
                chosen = [
                    [emit_load(b, b.add(lanes, const(64 * (kx * codes + c))), _BYTES, 64) for c in used]
                    for kx in range(3)
                ]
                for at in range((PAIRS - 1) * step + 3):
                    target = b.add(slot, const(at * _POSITION))
                    if new:
                        rows = _fresh(b, plan, ky, at, target, used)
                    else:
                        rows = [emit_load(b, b.add(target, const(_ROW * c)), _BYTES, 64) for c in used]
                    for kx in range(3):
                        p, rest = divmod(at - kx, step)
                        if rest or not 0 <= p < PAIRS:
                            continue
                        pairs = zip(rows, chosen[kx], strict=True)
                        found = [_call(b, "llvm.x86.avx512.permvar.qi.512", *pair) for pair in pairs]
                        x = found[0] if len(found) == 1 else b.add(*found)
                        words = b.bitcast(x, _WORDS)
                        if p % 2:
                            upper = b.lshr(words, splat(_WORDS, 4))
                        else:
                            upper = _call(b, "llvm.x86.avx512.pmulhu.w.512", words, times)
                        S[p], H[p] = b.add(S[p], x), b.add(H[p], b.bitcast(upper, _BYTES))
            b.branch(joined)
            return [*S, *H]

        b.position_at_end(kept)
        old = row(False)
        b.position_at_end(built)
        new = row(True)
        b.position_at_end(joined)
        results = [b.phi(_BYTES) for _ in range(2 * PAIRS)]
        for phi, one, other in zip(results, old, new, strict=True):
            phi.add_incoming(one, kept)
            phi.add_incoming(other, built)
        following, further = b.add(ky, const(1)), b.add(lanes, const(3 * 64 * codes))
        for phi, value in zip((ky, lanes, *both, *high), (following, further, *results), strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", following, const(3)), loop, end)
        b.position_at_end(end)
        S, H = results[:PAIRS], results[PAIRS:]
        with b.if_else(b.icmp_signed("!=", begun, const(0))) as (then, otherwise):
            with then:
                _widen(b, S, H, sums, True)
            with otherwise:
                _widen(b, S, H, sums, False)

    count.__name__ = f"count{codes}_{step}"
    return _apart(count)


def _widen(b: Any, S: list[Any], H: list[Any], sums: Any, begun: bool) -> None:
    """Emit sums += counts: words of which the upper byte is an odd lane, and the odd lanes alone."""
    for p, (both, high) in enumerate(zip(S, H, strict=True)):
        words = b.bitcast(high, _WORDS)
        sixteen = b.and_(b.shl(words, splat(_WORDS, 4)), splat(_WORDS, 0xF0F0))
        low = b.bitcast(b.sub(both, b.bitcast(sixteen, _BYTES)), _WORDS)
        left = b.and_(b.lshr(low, splat(_WORDS, 4)), splat(_WORDS, 0x00F0))
        upper = b.bitcast(b.sub(high, b.bitcast(left, _BYTES)), _WORDS)
        for i, value in enumerate((low, b.lshr(low, splat(_WORDS, 8)), upper, b.lshr(upper, splat(_WORDS, 8)))):
            place = b.add(sums, const(64 * (4 * p + i)))
            emit_store(b, place, b.add(value, emit_load(b, place, _WORDS, 64)) if begun else value, 64)


@_apart
def _unfold(b: Any, sums: Any, tile: Any) -> None:
    """Write the counts of a tile, uint16 [7 · 2, 64]: even lanes are channels 0 … 31, odd ones 32 … 63."""
    for p in range(2 * PAIRS):
        both, odd = (emit_load(b, b.add(sums, const(64 * (2 * p + i))), _WORDS, 64) for i in range(2))
        emit_store(b, b.add(tile, const(128 * p)), b.sub(both, b.shl(odd, splat(_WORDS, 8))), 64)
        emit_store(b, b.add(tile, const(128 * p + 64)), odd, 64)


_COUNT = {(codes, step): _make_count(codes, step) for codes in (4, 3, 2) for step in (1, 2)}


@_apart
def _fill(b: Any, words: Any, index: Any, first: Any, some: Any, rows: Any, sums: Any) -> None:
    """Count ``rows`` tiles of a strip from number ``index`` on, for ``some`` blocks of channels."""
    word = {which: emit_word(b, words, which, constant=True) for which in Word if which < Word.SIZE}
    ring, plan = _room(b, 3 * _SLOT), _room(b, 8 * Plan.SIZE)
    step, row_bytes, channels = word[Word.STEP], word[Word.ROW], word[Word.CHANNELS]
    corner = b.add(word[Word.IMAGE], emit_load(b, b.add(word[Word.CORNERS], b.mul(index, const(8))), I64))

    def put(which: int, value: Any) -> None:
        emit_store(b, b.add(plan, const(8 * which)), value, 8)

    for which in (Word.PIXEL, Word.PARTNER, Word.TABLE):
        put(Plan[which.name], word[which])
    all_codes = b.udiv(b.add(channels, const(5)), const(6))
    with cg.for_range(b, b.udiv(b.add(all_codes, const(_CODES - 1)), const(_CODES))) as chunks:
        chunk = chunks.index
        codes = b.sub(all_codes, b.mul(chunk, const(_CODES)))
        bits = _least(b, b.sub(channels, b.mul(chunk, const(24))), const(24))
        put(Plan.MASK, b.sub(b.shl(const(1), bits), const(1)))
        with cg.for_range(b, rows) as turns:
            top = b.mul(turns.index, step)
            for ky in range(3):
                image_row = b.add(top, const(ky))
                slot = b.add(ring, b.mul(b.urem(image_row, const(3)), const(_SLOT)))
                put(Plan.SLOTS + ky, slot)
                source = b.add(corner, b.add(b.mul(image_row, row_bytes), b.mul(chunk, const(3))))
                put(Plan.SOURCES + ky, source)
            with cg.for_range(b, some) as some_blocks:
                q = some_blocks.index
                weights = b.add(word[Word.WEIGHTS], b.mul(b.add(first, q), word[Word.WEIGHT_BYTES]))
                weights = b.add(weights, b.mul(chunk, const(_TAPS * _POSITION)))
                place = b.add(sums, b.mul(b.add(b.mul(turns.index, some), q), const(_SUMS)))
                # Of the tile above, with stride 1 two rows and with stride 2 one are there; for other blocks all are.
                fresh = b.select(b.icmp_unsigned(">", turns.index, const(0)), b.sub(const(3), step), const(0))
                fresh = b.select(b.icmp_unsigned(">", q, const(0)), const(3), fresh)
                many = _least(b, b.select(b.icmp_signed("<", codes, const(2)), const(2), codes), const(_CODES))
                done = b.append_basic_block("counted")
                switch = b.switch(b.add(b.shl(many, const(2)), step), done)
                for (number, stride), call in _COUNT.items():
                    target = b.append_basic_block(f"codes{number}_{stride}")
                    switch.add_case(const(4 * number + stride), target)
                    b.position_at_end(target)
                    call(b, word[Word.TABLE], plan, weights, place, chunk, fresh)
                    b.branch(done)
                b.position_at_end(done)


@_apart
def _batch(b: Any, words: Any, begin: Any, end: Any, following: Any) -> None:
    """Do what lies together of work ``begin … end − 1``: tiles of a strip, all blocks, or blocks of one tile."""
    strip, blocks, out = (emit_word(b, words, word, constant=True) for word in (Word.STRIP, Word.BLOCKS, Word.OUT))
    index, first, left = b.udiv(begin, blocks), b.urem(begin, blocks), b.sub(end, begin)
    some = _least(b, _least(b, b.sub(blocks, first), left), const(_TILES))
    below = _least(b, b.sub(strip, b.urem(index, strip)), b.udiv(left, blocks))
    below = _least(b, below, b.udiv(const(_TILES), blocks))
    rows = b.select(b.icmp_signed("==", some, blocks), below, const(1))
    sums = _room(b, _TILES * _SUMS)
    _fill(b, words, index, first, some, rows, sums)
    count = b.mul(rows, some)
    with cg.for_range(b, count) as tile:
        number = b.add(begin, tile.index)
        _unfold(b, b.add(sums, b.mul(tile.index, const(_SUMS))), b.add(out, b.mul(number, const(2 * PAIRS * 128))))
    emit_store(b, following, b.add(begin, count), 8)


_do_batch = routine(_batch)


@kernel
def count_permutes(words: int, image: int, begin: int, end: int) -> None:
    """Do work ``begin … end − 1`` of a convolution: tiles × blocks of channels, blocks running fastest."""
    following = scratch(8)
    while begin < end:
        _do_batch(words, begin, end, following)
        begin = load_i64(following, 0)
