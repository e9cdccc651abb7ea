"""When two answers are the same: up to the rounding of float sums."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["agree", "difference"]

_RELATIVE, _ABSOLUTE = 1e-4, 1e-6
"""An answer may differ by ``_RELATIVE`` of the largest value in it, and ``_ABSOLUTE`` besides.

Between two cuts by signs a network is a few float layers, whose sums round otherwise in another order: 1e-6 of the
largest value, 1e-5 in deep float networks. Answers that cancel to nothing keep the rounding of what they are made of.
"""

_SHARE_OF_INTEGERS = 1e-3
"""So many integers of a sample may differ: the largest of two equal values is either of them."""


def agree(expected: NDArray[Any], found: NDArray[Any], precision: float = 0.0) -> NDArray[np.bool_]:
    """Return bool ``[N]``: which samples (along axis 0) of two arrays of one shape agree.

    precision: what one rounding of the network's own type may change, where that is coarser than float32.
    """
    if not expected.ndim:
        expected, found = expected[None], found[None]
    rows = (len(expected), -1)
    if not np.issubdtype(expected.dtype, np.floating):
        return np.asarray((expected != found).reshape(rows).mean(axis=1) <= _SHARE_OF_INTEGERS)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        near = np.abs(expected.astype(np.float64) - found) <= _allowed(expected, precision)
    same = near | (expected == found) | (np.isnan(expected) & np.isnan(found))
    return np.asarray(same.reshape(rows).all(axis=1))


def difference(expected: NDArray[Any], found: NDArray[Any]) -> tuple[float, float]:
    """Return the largest difference of two arrays of one shape, and the one that is allowed."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0)), _allowed(expected, 0.0)


def _allowed(expected: NDArray[Any], precision: float) -> float:
    finite = np.abs(expected[np.isfinite(expected)])
    return max(_RELATIVE, 8 * precision) * float(finite.max(initial=0.0)) + _ABSOLUTE
