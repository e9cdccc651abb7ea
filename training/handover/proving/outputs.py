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


def agree(expected: NDArray[Any], found: NDArray[Any], slack: float = 0.0) -> NDArray[np.bool_]:
    """Return bool ``[N]``: which samples (along axis 0) of two arrays of one shape agree; a number is one sample.

    slack: the share of the largest value that may be allowed instead, if it is more.
    """
    apart, allowed = _apart(np.atleast_1d(expected), np.atleast_1d(found), slack)
    wrong = (apart > allowed).reshape(len(apart), int(np.prod(apart.shape[1:])))
    if np.issubdtype(expected.dtype, np.floating):
        return np.asarray(~wrong.any(axis=1))
    return np.asarray(wrong.sum(axis=1) <= _SHARE_OF_INTEGERS * wrong.shape[1])


def difference(
    expected: NDArray[Any], found: NDArray[Any], rows: NDArray[np.bool_], slack: float = 0.0
) -> tuple[float, float]:
    """Return the largest difference of two arrays of one shape, and the one that is allowed.

    rows: bool ``[N]``, which samples are meant; of arrays without that axis all.
    """
    apart, allowed = _apart(np.atleast_1d(expected), np.atleast_1d(found), slack)
    return float((apart[rows] if len(apart) == len(rows) else apart).max(initial=0.0)), allowed


def _apart(expected: NDArray[Any], found: NDArray[Any], slack: float) -> tuple[NDArray[np.float64], float]:
    """Return how far apart two arrays are, infinitely where only one is a number, and how far they may be."""
    first, second = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        apart = np.abs(first - second)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    apart = np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
    if not np.issubdtype(expected.dtype, np.floating):
        return apart, 0.0
    largest = float(np.abs(first[np.isfinite(first)]).max(initial=0.0))
    return apart, max(_RELATIVE, slack) * largest + _ABSOLUTE
