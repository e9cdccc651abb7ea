"""Integer thresholds: a layer whose output is used as bits alone needs no float arithmetic.

From accumulator to bit a chain without residual is::

    bit(acc) = fl(fl(fl(acc·scale)+bias) …shift_in, slope ≥ 0, shift_out…) ≥ threshold

Rounding, adding a constant and scaling by a constant of one sign keep order, so each channel's bit is a step in acc and
bisection over the float32 steps themselves finds it: equal to the float graph for every accumulator, ties included.
Where the scale is negative the step falls; the channel's weights are negated instead, so that it rises.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..bits import pack_conv_weight
from ..intake.model import BinaryLayer
from .units import Unit

__all__ = ["falling_channels", "integer_thresholds", "negated"]


def _bits(unit: Unit, sums: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Evaluate the float32 graph at one accumulator per channel."""
    assert unit.bits_for is not None
    y = sums.astype(np.float32) * unit.layer.scale + unit.layer.bias
    if unit.shift_in is not None:
        y = y - unit.shift_in
    if unit.slope is not None:
        y = np.where(y < 0, y * unit.slope, y)
    if unit.shift_out is not None:
        y = y + unit.shift_out
    result: NDArray[np.bool_] = y >= unit.bits_for.threshold
    return result


def falling_channels(unit: Unit) -> NDArray[np.bool_] | None:
    """Return the channels whose bit falls with the accumulator, or None where integer thresholds do not apply.

    They do not where the floats are needed as well, a residual is added, a slope is negative (its step is no step), or
    a constant is no number.
    """
    if unit.bits_for is None or unit.stored or unit.residual is not None:
        return None
    constants = [unit.layer.scale, unit.layer.bias, unit.shift_in, unit.slope, unit.shift_out, unit.bits_for.threshold]
    if not all(np.all(np.isfinite(value)) for value in constants if value is not None):
        return None
    if unit.slope is not None and np.any(unit.slope < 0):
        return None
    return np.asarray(unit.layer.scale < 0)


def integer_thresholds(unit: Unit, falling: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return T int64 ``[O]``: bit = accumulator ≥ T, the accumulator negated on falling channels; T in [−K, K + 1]."""
    sign = np.where(falling, -1, 1)
    window = unit.layer.window
    low, high = np.full(sign.shape, -window), np.full(sign.shape, window + 1)  # T lies in [low, high]
    while np.any(low < high):
        middle = (low + high) // 2  # below high, so within [−K, K]
        found = _bits(unit, sign * middle)
        low, high = np.where(found, low, np.minimum(middle + 1, high)), np.where(found, middle, high)
    return low


def negated(layer: BinaryLayer, channels: NDArray[np.bool_]) -> BinaryLayer:
    """Return the layer with the weights of some output channels negated (its accumulators change sign there)."""
    signs = np.where(channels, np.int8(-1), np.int8(1))[:, None, None, None]
    return replace(layer, packed=pack_conv_weight(layer.weight * signs))
