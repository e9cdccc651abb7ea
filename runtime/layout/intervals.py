"""Integer intervals as kernels compare with them: numbers of mismatches instead of accumulators.

::

    bit = (lower ≤ mismatches < upper) == inside

On a circle of 2³² numbers that is an interval whether ``inside`` is true or false, so one difference and one comparison
tell it: ``mismatches − start < width``, with signs, as the difference and the width are both moved by 2³¹.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["circular"]

_ALL = 2**32


def circular(lower: NDArray[np.int64], upper: NDArray[np.int64], inside: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return starts and widths int32 ``[2, classes, O]``.

    ``lower`` ≤ ``upper`` are ``[classes, O]``, numbers of mismatches or one more; ``inside`` is ``[O]``.
    """
    size = upper - lower
    start = np.where(inside, lower, np.where(size > 0, upper, 0))
    # Where every number of mismatches is outside, the width is that of all numbers but −1, which is none of them.
    width = np.where(inside, size, np.minimum(_ALL - size, _ALL - 1))
    both = np.stack([start + _ALL // 2, width - _ALL // 2])
    return np.ascontiguousarray(both.astype(np.uint32).view(np.int32))
