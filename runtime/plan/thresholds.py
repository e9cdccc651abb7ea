"""Integer thresholds: a layer whose output is used as bits alone needs no float arithmetic.

From accumulator to bit a chain without residual is::

    bit(acc) = turn · fl(fl(fl(acc·scale)+bias) …shift_in, slope ≥ 0, shift_out…) ≥ threshold

Rounding, adding a constant and scaling by a constant of one sign keep order, so each channel's bit is a step in acc and
bisection over the float32 steps themselves finds it: equal to the float graph for every accumulator, ties included.
Where the scale is negative, or the threshold's ``turn``, the step falls; the channel's weights are negated instead, so
that it rises.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .monotone import Threshold
from .units import Unit

__all__ = ["Thresholds", "accumulated", "find_thresholds"]


@dataclass(frozen=True, eq=False)
class Thresholds:
    """A layer's ``bit = accumulator ≥ values``, on ``falling`` channels ``−accumulator ≥ values``.

    ``values`` int64 ``[O]`` lie in [−K, K + 1] for a window of K inputs, ``falling`` is bool ``[O]``.
    """

    values: NDArray[np.int64]
    falling: NDArray[np.bool_]


def find_thresholds(unit: Unit, threshold: Threshold) -> Thresholds | None:
    """Return the integer thresholds of a unit of which only the bits of ``threshold`` ``[O]`` are wanted.

    None where the bit is no step of the accumulator: a residual is added, a slope is negative, or a constant is no
    number.
    """
    if unit.residual is not None or (unit.slope is not None and np.any(unit.slope < 0)):
        return None
    constants = [unit.layer.scale, unit.layer.bias, unit.shift_in, unit.slope, unit.shift_out]
    if not all(np.all(np.isfinite(value)) for value in constants if value is not None):
        return None
    falling = np.asarray((unit.layer.scale < 0) ^ threshold.falling)
    sign, window = np.where(falling, -1, 1), unit.layer.window
    low, high = np.full(sign.shape, -window), np.full(sign.shape, window + 1)  # the step lies in [low, high]
    while np.any(low < high):
        middle = (low + high) // 2  # below high, so within [−K, K]
        found = accumulated(unit, sign * middle) * threshold.turn >= threshold.value
        low, high = np.where(found, low, np.minimum(middle + 1, high)), np.where(found, middle, high)
    return Thresholds(low, falling)


def accumulated(unit: Unit, sums: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the output of a unit without residual at accumulators ``[…, O]`` or ``[…, 1]``: its float32 steps."""
    y: NDArray[np.float32] = sums.astype(np.float32) * unit.layer.scale + unit.layer.bias
    if unit.shift_in is not None:
        y = y - unit.shift_in
    if unit.slope is not None:
        y = np.where(y < 0, y * unit.slope, y)
    if unit.shift_out is not None:
        y = y + unit.shift_out
    return y
