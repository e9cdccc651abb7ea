"""Integer intervals: a bit that falls and then rises with the accumulator, found by trying every accumulator there is.

From accumulator to bit a layer and the chain behind it are::

    bit(acc) = turn · curve(fl(fl(acc·scale)+bias) …shift_in, slope, shift_out…) ≥ threshold         curve: SiLU, say

A window of K inputs sums to one of 2·K + 1 integers, so all of them are evaluated: the layer's float32 steps here, the
curve by the very kernel that would run it. The bits are right for every accumulator, whatever the curve is. What is
asked of them is only that they change at most twice on each channel: then ``first ≤ acc < behind`` tells them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .monotone import Threshold
from .thresholds import accumulated
from .units import Unit

__all__ = ["Intervals", "find_intervals"]

_Floats = NDArray[np.float32]
_AT_ONCE, _MOST = 2**18, 2**25
"""Values that are evaluated at once, and those of a layer at most, which take about a tenth of a second."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """A layer's ``bit = (first ≤ accumulator < behind) == inside``, each ``[O]``: int64, int64 and bool.

    ``first`` and ``behind`` lie in [−K, K + 1] for a window of K inputs; they are equal where a bit never changes.
    """

    first: NDArray[np.int64]
    behind: NDArray[np.int64]
    inside: NDArray[np.bool_]


def find_intervals(unit: Unit, curve: Callable[[_Floats], _Floats], threshold: Threshold) -> Intervals | None:
    """Return the intervals of a unit of which only the bits of ``threshold`` ``[O]`` behind ``curve`` are wanted.

    ``curve`` takes and gives float32 ``[rows, O]``. None where a residual is added, where a bit changes more than
    twice, or where there is too much to try.
    """
    window, outputs = unit.layer.window, unit.channels_out
    zeros = unit.layer.pad_value == 0 and any(unit.layer.pads)  # with them a sum may have fewer terms than inputs
    sums = np.arange(-window, window + 1, 1 if zeros else 2)
    if unit.residual is not None or len(sums) * outputs > _MOST:
        return None
    changes, channels = _changes(
        sums, outputs, lambda some: curve(accumulated(unit, some)) * threshold.turn >= threshold.value
    )
    often = np.bincount(channels, minlength=outputs)
    if often.max() > 2:
        return None
    first, behind = np.full(outputs, window + 1), np.full(outputs, window + 1)
    first[channels[::-1]] = changes[::-1]  # of two numbers for one place the last one stays
    twice = often[channels] == 2
    behind[channels[twice]] = changes[twice]
    with np.errstate(all="ignore"):
        inside = ~(curve(accumulated(unit, sums[:1, None])) * threshold.turn >= threshold.value)[0]
    return Intervals(first, behind, inside)


def _changes(
    sums: NDArray[np.int64], outputs: int, bits: Callable[[NDArray[np.int64]], NDArray[np.bool_]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the accumulators whose bit is another one than that of the sum before, and their channels, in order."""
    rows = max(1, _AT_ONCE // outputs)
    found = []
    for start in range(1, len(sums), rows):
        some = sums[start - 1 : start + rows, None]  # with the last one that was looked at
        with np.errstate(all="ignore"):
            given = bits(some)
        row, channel = np.nonzero(given[1:] != given[:-1])
        found.append((some[1 + row, 0], channel))
    changes, channels = zip(*found, strict=True)
    return np.concatenate(changes), np.concatenate(channels)
