"""What a kernel takes: for a layer None, or in words why not; for the weight of an exact stem yes or no.

And on which cores it is slow.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from ..layout.slices import reach

__all__ = ["SLOW_LOOK_UPS", "any_layer", "convolutions", "eight_bits", "even_groups", "small_groups", "square_windows", "whole_words"]

SLOW_LOOK_UPS = frozenset(
    {"cortex-a57", "cortex-a72", "cortex-a73", "cortex-a75", "cortex-a510", "cortex-x1", "neoverse-v1"}
)
"""ARM cores on which ctp is at least as fast as tbl by LLVM's models: a look-up takes an A57 or A72 1.5 cycles, a
V1 or X1 counts in four pipes and looks up in two. A73 and A75 have no model, and are left as they were."""


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
