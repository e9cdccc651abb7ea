"""MaxPool and AveragePool of float32 images, channels last; pixels may lie further apart than their channels are many.

A window goes through for as many channels at once as there are, up to 64; of the last ones some may be taken twice.
Windows of two and three columns are unrolled. An average adds the pixels of a window row by row, one after another, and
divides once. The largest of a window with NaN is another in each engine: the kernel then sets NAN.
Work is counted in rows of the result.
"""

from typing import Any

import llvmlite.ir as ir

from ..layout.float_words import PoolWord
from .llvm import F32, broadcast, cg, const, emit_load, emit_store, kernel, load_i64, routine, splat

__all__ = ["pool"]

_EIGHT, _SIXTEEN = ir.VectorType(F32, 8), ir.VectorType(F32, 16)
_UNROLLED = (3, 2)


class _Largest:
    """Keeps the largest values of a window, and whether a NaN was among them."""

    def __init__(self, b: Any, kind: Any, vectors: int) -> None:
        self.b, self.kind = b, kind
        self.bits = ir.IntType(1) if kind is F32 else ir.VectorType(ir.IntType(1), kind.count)
        self.best = [cg.alloca_once(b, kind) for _ in range(vectors)]
        self.unordered = cg.alloca_once(b, self.bits)
        for each in self.best:
            b.store(splat(kind, float("-inf")), each)
        b.store(splat(self.bits, 0), self.unordered)

    def take(self, values: list[Any]) -> None:
        """Take a vector of values for each place, again and again."""
        b = self.b
        for index, value in enumerate(values):
            place = self.best[index % len(self.best)]
            best = b.load(place)
            b.store(b.select(b.fcmp_ordered(">", value, best), value, best), place)
        for one, two in zip(values[::2], [*values[1::2], values[-1]], strict=False):
            b.store(b.or_(b.load(self.unordered), b.fcmp_unordered("uno", one, two)), self.unordered)

    def finish(self, target: Any, size: int, divisor: Any, nan: Any) -> None:
        """Write the largest."""
        b = self.b
        found = b.load(self.unordered)
        if self.kind is not F32:
            mask = ir.IntType(self.kind.count)
            found = b.icmp_signed("!=", b.bitcast(found, mask), ir.Constant(mask, 0))
        with b.if_then(found, likely=False):
            emit_store(b, nan, const(1))
        for index, each in enumerate(self.best):
            emit_store(b, b.add(target, const(size * index)), b.load(each))


class _Sum:
    """Adds up the values of a window."""

    def __init__(self, b: Any, kind: Any, vectors: int) -> None:
        self.b, self.kind = b, kind
        self.totals = [cg.alloca_once(b, kind) for _ in range(vectors)]
        for each in self.totals:
            b.store(splat(kind, 0.0), each)

    def take(self, values: list[Any]) -> None:
        """Take a vector of values for each place, again and again."""
        for index, value in enumerate(values):
            place = self.totals[index % len(self.totals)]
            self.b.store(self.b.fadd(self.b.load(place), value), place)

    def finish(self, target: Any, size: int, divisor: Any, nan: Any) -> None:
        """Write the means."""
        b = self.b
        count = b.sitofp(divisor, F32)
        count = count if self.kind is F32 else broadcast(b, count, self.kind.count)
        for index, each in enumerate(self.totals):
            emit_store(b, b.add(target, const(size * index)), b.fdiv(b.load(each), count))


def _make_window(state: type[_Largest] | type[_Sum], kind: Any, vectors: int) -> Any:
    """Return the routine of a window: ``vectors`` of this kind of channels that lie side by side."""
    size = 4 * (1 if kind is F32 else kind.count)

    @routine
    def window(
        b: Any, corner: Any, rows: Any, columns: Any, row: Any, column: Any, target: Any, divisor: Any, nan: Any
    ) -> None:
        kept = state(b, kind, vectors)

        def load(place: Any) -> list[Any]:
            return [emit_load(b, b.add(place, const(size * v)), kind) for v in range(vectors)]

        done = b.append_basic_block("window_done")
        switch = b.switch(columns, any_width := b.append_basic_block("any_width"))
        for width in _UNROLLED:
            switch.add_case(const(width), block := b.append_basic_block(f"width_{width}"))
            b.position_at_end(block)
            with cg.for_range(b, rows) as outer:
                place = b.add(corner, b.mul(outer.index, row))
                kept.take([value for x in range(width) for value in load(b.add(place, b.mul(const(x), column)))])
            b.branch(done)
        b.position_at_end(any_width)
        with cg.for_range(b, rows) as outer, cg.for_range(b, columns) as inner:
            kept.take(load(b.add(corner, b.add(b.mul(outer.index, row), b.mul(inner.index, column)))))
        b.branch(done)
        b.position_at_end(done)
        kept.finish(target, size, divisor, nan)

    return window


_SIZES = ((_SIXTEEN, 4), (_SIXTEEN, 1), (_EIGHT, 1), (F32, 1))
_largest_64, _largest_16, _largest_8, _largest_1 = (_make_window(_Largest, *size) for size in _SIZES)
_mean_64, _mean_16, _mean_8, _mean_1 = (_make_window(_Sum, *size) for size in _SIZES)


@kernel
def pool(words: int, image: int, begin: int, end: int) -> None:
    """Write rows ``begin … end − 1`` of one image: the largest values, or the means where MEAN says so."""
    nan, mean, channels = words + 8 * PoolWord.NAN, load_i64(words, PoolWord.MEAN), load_i64(words, PoolWord.CHANNELS)
    source = load_i64(words, PoolWord.SOURCE) + image * load_i64(words, PoolWord.SOURCE_STRIDE)
    out = load_i64(words, PoolWord.OUT) + image * load_i64(words, PoolWord.OUT_STRIDE)
    row, pixel = load_i64(words, PoolWord.ROW), load_i64(words, PoolWord.PIXEL)
    height, width = load_i64(words, PoolWord.HEIGHT), load_i64(words, PoolWord.WIDTH)
    for y in range(begin, end):
        start_y = y * load_i64(words, PoolWord.STRIDE_Y) - load_i64(words, PoolWord.TOP)
        top = max(0, start_y)
        rows = min(height, start_y + load_i64(words, PoolWord.POOL_HEIGHT)) - top
        for x in range(load_i64(words, PoolWord.OUT_WIDTH)):
            start_x = x * load_i64(words, PoolWord.STRIDE_X) - load_i64(words, PoolWord.LEFT)
            left = max(0, start_x)
            columns = min(width, start_x + load_i64(words, PoolWord.POOL_WIDTH)) - left
            corner = source + top * row + left * pixel
            target = out + y * load_i64(words, PoolWord.OUT_ROW) + x * load_i64(words, PoolWord.OUT_PIXEL)
            pixels = load_i64(words, PoolWord.DIVISOR)
            if pixels == 0:
                pixels = rows * columns
            at = 0
            while at < 4 * channels:
                left_over = channels - at // 4
                if left_over < 8 <= channels:
                    at, left_over = 4 * channels - 32, 8
                if left_over >= 64:
                    if mean:
                        _mean_64(corner + at, rows, columns, row, pixel, target + at, pixels, nan)
                    else:
                        _largest_64(corner + at, rows, columns, row, pixel, target + at, pixels, nan)
                    at += 4 * 64
                elif left_over >= 16:
                    if mean:
                        _mean_16(corner + at, rows, columns, row, pixel, target + at, pixels, nan)
                    else:
                        _largest_16(corner + at, rows, columns, row, pixel, target + at, pixels, nan)
                    at += 4 * 16
                elif left_over >= 8:
                    if mean:
                        _mean_8(corner + at, rows, columns, row, pixel, target + at, pixels, nan)
                    else:
                        _largest_8(corner + at, rows, columns, row, pixel, target + at, pixels, nan)
                    at += 4 * 8
                else:
                    if mean:
                        _mean_1(corner + at, rows, columns, row, pixel, target + at, pixels, nan)
                    else:
                        _largest_1(corner + at, rows, columns, row, pixel, target + at, pixels, nan)
                    at += 4
