"""The outputs that ``top_k`` adds follow from the first one: what they say is checked against it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ranking_fault"]

_ADDED = ["labels", "scores"]


def ranking_fault(names: Sequence[str], outputs: Sequence[NDArray[Any]], known: int) -> str | None:
    """Return what is wrong with the outputs behind the ``known`` ones that the network has, or None.

    Names of classes are the export's own list; only numbers are looked up again.
    """
    if len(names) == known:
        return None
    if list(names[known:]) != _ADDED:
        return f"the network returns {known} tensors, the file has {', '.join(names)}"
    logits, labels, scores = outputs[0].astype(np.float64), outputs[known], outputs[known + 1]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    best = -np.sort(-shares, axis=1)[:, : scores.shape[1]]
    if not np.allclose(best, scores, atol=1e-5):
        return "scores are not the largest of the softmax of the first output"
    if labels.dtype == np.int64 and not np.allclose(np.take_along_axis(shares, labels, axis=1), scores, atol=1e-5):
        return "labels are not the classes of the scores"
    return None
