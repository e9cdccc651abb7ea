"""Every binary layer of a model on a reference: signs against the recorded ones, integers against the oracle."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..session.session import InferenceSession
from .answers import batches, only_input
from .flips import Flip
from .oracle import layer_oracle
from .reference import Reference

__all__ = ["LayerComparison", "compare_layers"]


@dataclass
class LayerComparison:
    """Flipped signs and integer mismatches by layer, out of how many, and bool ``[S]``: which images have a flip.

    ``first`` are the flips, by layer, of the images in which it is the first to have one.
    """

    flipped_images: NDArray[np.bool_]
    flips: dict[str, int] = field(default_factory=dict)
    mismatches: dict[str, int] = field(default_factory=dict)
    first: dict[str, list[Flip]] = field(default_factory=dict)
    signs: int = 0
    compared: int = 0


def compare_layers(session: InferenceSession, data: bytes, recorded: Reference, oracle_samples: int) -> LayerComparison:
    """Trace the model, of bytes ``data``, over a reference; the first ``oracle_samples`` images meet the oracle.

    Raises :class:`DataError` for a reference whose layers have other shapes.
    """
    name, oracle = only_input(session), layer_oracle(data)
    found = LayerComparison(np.zeros(len(recorded.inputs), np.bool_))
    done = 0
    for live, part in batches(session, recorded.inputs):
        for layer in session.trace({name: part}):
            each = len(layer.signs) // len(part)  # more than one where frames were put into the batch
            signs, sums = layer.signs[: live * each], layer.accumulators[: live * each]
            if layer.name in recorded.signs:
                expected = recorded.signs_of(layer.name, slice(done, done + live))
                if expected.shape != signs.shape:
                    raise DataError(
                        f"the reference has signs {list(expected.shape[1:])} for layer {layer.name},"
                        f" the model {list(signs.shape[1:])}: record the reference again"
                    )
                flipped = (expected != signs).reshape(live, -1)
                found.flips[layer.name] = found.flips.get(layer.name, 0) + int(np.count_nonzero(flipped))
                for image in np.flatnonzero(flipped.any(axis=1) & ~found.flipped_images[done : done + live]):
                    found.first.setdefault(layer.name, []).append((done + int(image), np.flatnonzero(flipped[image])))
                found.flipped_images[done : done + live] |= flipped.any(axis=1)
                found.signs += flipped.size
            if (count := min(live, oracle_samples - done) * each) > 0:
                truth = oracle(layer.name, signs[:count])
                wrong = int(np.count_nonzero(truth != sums[:count]))
                found.mismatches[layer.name] = found.mismatches.get(layer.name, 0) + wrong
                found.compared += truth.size
        done += live
    return found
