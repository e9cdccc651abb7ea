"""What a kernel takes: for a layer None, or in words why not; for the weight of an exact stem yes or no."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from ..layout.slices import reach
from ..layout.tables import half_fill

__all__ = [
    "any_layer",
    "convolutions",
    "eight_bits",
    "even_groups",
    "few_in_rows",
    "few_pairs",
    "small_groups",
    "square_windows",
    "whole_words",
]


def any_layer(layer: BinaryLayer) -> None:
    """Take every layer."""


def convolutions(layer: BinaryLayer) -> str | None:
    """Take what has neighbouring pixels."""
    return "a dense layer has no neighbouring pixels" if layer.dense else None


def whole_words(layer: BinaryLayer) -> str | None:
    """Take layers without groups, and groups of 32 · m input and 16 · n output channels."""
    outputs, inputs = layer.shape[:2]
    if layer.group == 1 or (inputs % 32 == 0 and outputs // layer.group % 16 == 0):
        return None
    return "its groups of channels fill no whole words"


def square_windows(layer: BinaryLayer) -> str | None:
    """Take 3×3 windows without strides, dilations and groups."""
    if layer.shape[2:] == (3, 3) and (*layer.strides, *layer.dilations, layer.group) == (1, 1, 1, 1, 1):
        return None
    return "it is no 3×3 without stride, dilation and groups"


_PAYING = {256: 0.78, 128: 0.84, 48: 0.9}
"""Input channels, at least -> the part of the places of perm's tiles and blocks that must be filled. Measured on Zen 4:
with all filled it is 1.34 to 1.39 times as fast as csa from 256 channels on, 1.24 times from 128, 1.1 times from 64."""


def few_pairs(layer: BinaryLayer) -> str | None:
    """Refuse what leaves much of the tiles of kernel perm empty: seven pairs of pixels, 64 output channels."""
    return _unfilled(layer, lambda height, width: half_fill(height, width, 7))


def few_in_rows(layer: BinaryLayer) -> str | None:
    """Refuse the same over two planes, where a tile is seven pixels of a row."""
    return _unfilled(layer, lambda height, width: width / (-(-width // 7) * 7))


def _unfilled(layer: BinaryLayer, fill: Callable[[int, int], float]) -> str | None:
    if layer.size is None:
        return "the file does not say how large its input is"
    height, width = layer.output_size(*layer.size)
    needed = next((part for channels, part in _PAYING.items() if layer.channels >= channels), None)
    if needed is None:
        return "it has less than 48 input channels"
    outputs = layer.shape[0]
    filled = fill(height, width) * outputs / (-(-outputs // 64) * 64) if min(height, width) > 0 else 0.0
    return None if filled >= needed else f"its pixels and channels would fill {filled:.0%} of the tiles"


def even_groups(layer: BinaryLayer) -> str | None:
    """Take groups of up to 28 inputs and as many outputs; counts and limits must fit in a byte."""
    outputs, inputs = layer.shape[:2]
    if layer.group > 1 and inputs <= 28 and outputs == layer.channels and layer.window < 255:
        return None
    return "it has no small groups with as many outputs as inputs"


def small_groups(layer: BinaryLayer) -> str | None:
    """Refuse a layer whose copies take longer to gather than lut2 takes to count it: measured, for up to 64 outputs."""
    products, limit = layer.shape[0] // layer.group * layer.shape[1], 16 * (math.prod(layer.shape[2:]) + 1)
    if layer.group > 1 and layer.window < 255 and products <= limit and reach(layer) <= 64:
        return None
    return "it has no small groups"


def eight_bits(weight: NDArray[np.int16]) -> bool:
    """Take what int8 holds: a file's −128, negated for a negative scale, is none."""
    return bool(weight.min(initial=0) >= -128 and weight.max(initial=0) <= 127)
