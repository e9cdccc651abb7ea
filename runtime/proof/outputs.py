"""The outputs of a model against those of its reference, each by itself."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..fidelity import psnr
from .reference import ONLY, Reference
from .report import OutputAgreement
from .tolerances import Tolerances

__all__ = ["compare_outputs", "output_failures"]


def compare_outputs(
    answers: Mapping[str, NDArray[Any]], recorded: Reference, flipped: NDArray[np.bool_]
) -> dict[str, OutputAgreement]:
    """Return the agreement of each output; ``flipped`` bool ``[S]`` says which samples have a flipped sign.

    Raises :class:`DataError` for an output of another shape.
    """
    found = {}
    for name, expected in recorded.outputs.items():
        actual = answers[name]
        if actual.shape != expected.shape:
            raise DataError(f"the model gives {name} {list(actual.shape)}, the reference has {list(expected.shape)}")
        differences = np.abs(_real(actual) - _real(expected)).reshape(len(expected), -1).max(axis=1, initial=0.0)
        same = actual.argmax(axis=1) == expected.argmax(axis=1) if recorded.class_scores else None
        largest = _largest(np.abs(_real(expected)).reshape(-1))
        found[name] = OutputAgreement(
            max_abs_difference=_largest(differences),
            max_abs_difference_unflipped=_largest(differences[~flipped]),
            largest_value=largest,
            top1_agreement=None if same is None else float(np.mean(same)),
            psnr=None if same is not None or not largest else _lowest_psnr(actual, expected, largest),
        )
    return found


def output_failures(found: Mapping[str, OutputAgreement], allowed: Tolerances) -> Iterator[str]:
    """Yield a sentence for every output that is out of tolerance (a figure that is no number is)."""
    for name, output in found.items():
        words = "logit" if name == ONLY and output.top1_agreement is not None else f"value of {name}"
        limit = allowed.max_logit_difference
        if output.top1_agreement is None:
            limit = allowed.max_output_difference * (output.largest_value or 0.0)
        difference = output.max_abs_difference_unflipped
        if output.max_abs_difference is None or difference is None:
            yield f"a {words} is no finite number, here or in the reference"
        elif difference > limit:
            word = "logit difference" if words == "logit" else f"difference of output {name}"
            yield f"the largest {word} is {difference}, allowed is {limit}"
        if output.psnr is not None and output.psnr < allowed.min_output_psnr:
            yield f"the PSNR of output {name} is {output.psnr:.1f} dB, needed is {allowed.min_output_psnr:g}"


def _largest(differences: NDArray[np.floating[Any]]) -> float | None:
    """Return the largest, 0 of none, None if it is no finite number."""
    found = float(differences.max(initial=0.0))
    return found if np.isfinite(found) else None


def _lowest_psnr(actual: NDArray[Any], expected: NDArray[Any], peak: float) -> float | None:
    lowest = min(psnr(found, wanted, peak=peak) for found, wanted in zip(actual, expected, strict=True))
    return lowest if np.isfinite(lowest) else None


def _real(values: NDArray[Any]) -> NDArray[Any]:
    """Return values whose difference is a number: what is no float becomes float64."""
    return values if values.dtype.kind == "f" else values.astype(np.float64)
