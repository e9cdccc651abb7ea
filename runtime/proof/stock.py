"""The same file on stock onnxruntime: whoever runs it there must get these answers too.

The recorded reference says whether a file answers as the trained network did. This says that the file means one thing,
whichever engine reads it. What is allowed is what the accuracy check allows against the reference: rounding before a
sign may turn it, and the outputs are compared on the samples in which no sign is turned.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engines import Candidate
from .tolerances import Tolerances

__all__ = ["stock_failures"]


def stock_failures(
    data: bytes, feeds: Iterable[Mapping[str, NDArray[Any]]], allowed: Tolerances, *, class_scores: bool = True
) -> Iterator[str]:
    """Yield a sentence for each way in which this runtime and onnxruntime answer the same file, ``data``, otherwise.

    feeds: batches of inputs, each run on both.
    class_scores: whether the first output is scores of classes, for which ``max_logit_difference`` holds; for any other
    output it is ``max_output_difference``, a share of its largest value.
    Raises :class:`ModelError` for a file that either cannot run.
    """
    candidate = Candidate(data)
    signs = turned = 0
    differences, largest = ([0.0] * len(candidate.outputs) for _ in range(2))
    for batch in feeds:
        ours, theirs = (candidate.engines[name](batch) for name in ("latentbit", "onnxruntime"))
        samples = len(next(iter(batch.values())))
        clean = np.ones(samples, np.bool_)
        for layer, read in ours.signs.items():
            other = read.reshape(samples, -1) != theirs.signs[layer].reshape(samples, -1)
            signs, turned = signs + other.size, turned + int(np.count_nonzero(other))
            clean &= ~other.any(axis=1)
        for index, (mine, other) in enumerate(zip(ours.outputs, theirs.outputs, strict=True)):
            differences[index] = max(differences[index], _difference(mine, other, clean))
            if other.dtype.kind in "fiub":
                values = np.abs(other.astype(np.float64))
                largest[index] = max(largest[index], float(values[np.isfinite(values)].max(initial=0.0)))
    for index, name in enumerate(candidate.outputs):
        scores = class_scores and not index
        limit = allowed.max_logit_difference if scores else allowed.max_output_difference * largest[index]
        if not differences[index] <= limit:
            yield (
                f"stock onnxruntime answers this file otherwise, by {differences[index]} in {name}, allowed is {limit}"
            )
    if turned > allowed.max_flipped_share * signs:
        yield (
            f"stock onnxruntime reads {turned / signs:.2g} of all signs in this file otherwise, "
            f"allowed is {allowed.max_flipped_share}"
        )


def _difference(mine: NDArray[Any], other: NDArray[Any], clean: NDArray[np.bool_]) -> float:
    """Return the largest difference of an output over the samples without a turned sign.

    Infinity for another shape, a text that is not equal, or no number.
    """
    if mine.shape != other.shape:
        return float("inf")
    if mine.shape[:1] == clean.shape:
        mine, other = mine[clean], other[clean]
    elif not clean.all():  # an output of all samples together
        return 0.0
    if mine.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(mine, other) else float("inf")
    difference = np.abs(mine.astype(np.float64) - other.astype(np.float64))
    difference[mine == other] = 0.0  # of two infinities
    return float("inf") if np.isnan(difference).any() else float(difference.max(initial=0.0))
