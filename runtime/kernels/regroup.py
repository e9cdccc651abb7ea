"""Pixels in another order, channels last: all channels of a pixel are copied together."""

from typing import Any

from ..layout.move_words import RegroupWord
from .llvm import const, emit_load, emit_store, kernel, load_i64, routine
from .norm import emit_over

__all__ = ["regroup"]


@routine
def _copy(b: Any, source: Any, target: Any, channels: Any) -> None:
    """Copy one pixel."""

    def some(index: Any, kind: Any) -> None:
        offset = b.mul(index, const(4))
        emit_store(b, b.add(target, offset), emit_load(b, b.add(source, offset), kind))

    emit_over(b, channels, some)


@kernel
def regroup(words: int, image: int, begin: int, end: int) -> None:
    """Write blocks ``begin … end − 1`` of pixels of one image."""
    source = load_i64(words, RegroupWord.SOURCE) + image * load_i64(words, RegroupWord.SOURCE_STRIDE)
    out = load_i64(words, RegroupWord.OUT) + image * load_i64(words, RegroupWord.OUT_STRIDE)
    channels, pixels = load_i64(words, RegroupWord.CHANNELS), load_i64(words, RegroupWord.PIXELS)
    per, order = load_i64(words, RegroupWord.PER), load_i64(words, RegroupWord.ORDER)
    for pixel in range(begin * per, min(pixels, end * per)):
        _copy(source + 4 * channels * load_i64(order, pixel), out + 4 * channels * pixel, channels)
