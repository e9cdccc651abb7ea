"""The same file on stock onnxruntime: whoever runs it there must get these answers too.

The recorded reference says whether a file answers as the trained network did. This says that the file means one thing,
whichever engine reads it. What is allowed is what the accuracy check allows against the reference: rounding before a
sign may turn it, and the outputs are compared on the samples in which no sign is turned.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engines import Answer, Candidate
from .tolerances import Tolerances

__all__ = ["stock_failures"]


def stock_failures(data: bytes, feeds: Iterable[Mapping[str, NDArray[Any]]], allowed: Tolerances) -> Iterator[str]:
    """Yield a sentence for each way in which this runtime and onnxruntime answer the same file, ``data``, otherwise.

    feeds: batches of inputs, each run on both.
    Raises :class:`ModelError` for a file that either cannot run.
    """
    candidate = Candidate(data)
    signs = turned = 0
    largest = 0.0
    for batch in feeds:
        ours, theirs = (candidate.engines[name](batch) for name in ("latentbit", "onnxruntime"))
        samples = len(next(iter(batch.values())))
        clean = np.ones(samples, np.bool_)
        for layer, read in ours.signs.items():
            other = read.reshape(samples, -1) != theirs.signs[layer].reshape(samples, -1)
            signs, turned = signs + other.size, turned + int(np.count_nonzero(other))
            clean &= ~other.any(axis=1)
        largest = max(largest, _difference(ours, theirs, clean))
    if not largest <= allowed.max_logit_difference:
        yield f"stock onnxruntime answers this file otherwise, by {largest}, allowed is {allowed.max_logit_difference}"
    if turned > allowed.max_flipped_share * signs:
        yield (
            f"stock onnxruntime reads {turned / signs:.2g} of all signs in this file otherwise, "
            f"allowed is {allowed.max_flipped_share}"
        )


def _difference(ours: Answer, theirs: Answer, clean: NDArray[np.bool_]) -> float:
    """Return the largest difference of outputs over the samples without a turned sign, infinity for other shapes."""
    largest = 0.0
    for mine, other in zip(ours.outputs, theirs.outputs, strict=True):
        if mine.shape != other.shape:
            return float("inf")
        if mine.shape[:1] == clean.shape:
            mine, other = mine[clean], other[clean]
        elif not clean.all():  # an output of all samples together
            continue
        difference = np.abs(mine.astype(np.float64) - other.astype(np.float64))
        difference[mine == other] = 0.0  # of two infinities
        largest = max(largest, float(difference.max(initial=0.0))) if not np.isnan(difference).any() else float("inf")
    return largest
