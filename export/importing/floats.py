"""All float32 numbers in their order, and where a function that keeps or turns that order changes its value."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_changes"]

Function = Callable[[NDArray[np.float32]], NDArray[Any]]

_ENDS = np.array([-np.inf, np.inf], np.float32)


def _number(place: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the float32 at a place in their order; −0 is one place below +0."""
    bits = place.astype(np.int32)
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int32).view(np.float32)


_LOW, _HIGH = (int(np.where(b < 0, b ^ np.int32(0x7FFFFFFF), b)) for b in _ENDS.view(np.int32))


def find_changes(
    function: Function, shape: tuple[int, ...], most: int
) -> tuple[list[NDArray[np.float32]], list[NDArray[Any]]] | None:
    """Return the points at which a monotone function of a float32 changes, and its values from each of them on.

    ``function`` takes and gives arrays of ``shape``, entry by entry. The first value is that of −infinity, so there is
    one value more than points. Where an entry has fewer changes than others its last points are +infinity, with the
    value that it has there. None where there are more than ``most`` changes. Found by bisection over the numbers.
    """
    start = np.full(shape, _LOW, np.int64)
    current, last = function(_number(start)), function(_number(np.full(shape, _HIGH, np.int64)))
    points: list[NDArray[np.float32]] = []
    values = [current]
    while np.any(current != last):
        if len(points) == most:
            return None
        same, other = start, np.full(shape, _HIGH, np.int64)
        while np.any(other - same > 1):
            middle = (same + other) // 2
            changed = function(_number(middle)) != current
            same, other = np.where(changed, same, middle), np.where(changed, middle, other)
        start = other
        points.append(_number(other) + np.float32(0))  # −0 becomes 0: a comparison takes both alike
        current = function(_number(other))
        values.append(current)
    return points, values
