"""Samples of labelled images: fewer of them, in which every class keeps its share."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["stratified"]


def stratified(labels: NDArray[np.int64] | None, count: int, *, of: int | None = None) -> NDArray[np.int64]:
    """Return ``count`` sorted indices with every class's share within one of its exact share; the same every time.

    labels: int64 ``[N]``; None where samples have no classes, and then N is ``of``. Where ``count`` is N or more, all N
    indices are returned.

    The members of each class are spread evenly over [0, 1) and the ``count`` smallest positions are taken.
    """
    if labels is None:
        labels = np.zeros(of or 0, np.int64)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(position, kind="stable")[:count])
