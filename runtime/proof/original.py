"""The float network that a model was made from, beside it: in float and in int8, what each costs and what each gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, ModelError, first_line
from ..intake.source import read_bytes
from ..session.float_model import ENGINE_ERRORS
from ..session.session import InferenceSession
from .answers import batches
from .quantizing import quantize_int8, random_batches
from .reference import Reference, load_reference
from .timing import stock_session

__all__ = ["Original", "Run", "accuracy_of", "labelled", "open_original"]

CALIBRATED = 100
"""Samples of the reference that calibrate the int8 form."""
Run = Callable[[NDArray[Any]], Any]
"""Takes a batch and returns the first output."""


@dataclass(frozen=True)
class Original:
    """The files of the float network, by the name of what runs them; ``input`` is the name of their one input."""

    input: str
    files: Mapping[str, bytes]

    def runs(self, threads: int) -> dict[str, Run]:
        """Return, for each file, a function that takes a batch and returns the first output."""
        sessions = {name: stock_session(file, threads) for name, file in self.files.items()}
        return {name: self._run(session) for name, session in sessions.items()}

    def _run(self, session: Any) -> Run:
        return lambda batch: session.run(None, {self.input: batch})[0]


def open_original(
    source: str | PathLike[str] | bytes, feeds: Mapping[str, NDArray[Any]], reference: Reference | None
) -> Original:
    """Return the float network of a file, and its int8 form.

    feeds: what the model beside it is timed on; the network must take the same array.
    reference: its first samples calibrate the int8 form; without one random data do, and no accuracy means anything.

    Raises ModelError for a file that onnxruntime cannot run, ConfigError for one that takes other inputs.
    """
    shown = "the float network" if isinstance(source, bytes) else f"the float network {fspath(source)}"
    data = read_bytes(source)
    try:
        entries = stock_session(data, 1).get_inputs()
        if len(entries) != 1 or len(feeds) != 1:
            raise ConfigError(f"{shown} is compared on one input; it has {len(entries)} and the model {len(feeds)}")
        name = entries[0].name
        own = {name: next(iter(feeds.values()))}
        stock_session(data, 1).run(None, own)
    except ENGINE_ERRORS as error:
        raise ModelError(f"{shown} does not run on the model's input: {first_line(error)}") from None
    calibration = random_batches(own)
    if reference is not None:
        calibration = ({name: reference.inputs[row : row + 1]} for row in range(min(CALIBRATED, len(reference.inputs))))
    return Original(name, {"original fp32": data, "original int8": quantize_int8(data, calibration)})


def labelled(source: Reference | str | PathLike[str]) -> Reference:
    """Return a reference whose labels tell right answers. Raises DataError for one without labels."""
    reference = source if isinstance(source, Reference) else load_reference(source)
    if not reference.class_scores:
        raise DataError("the reference has no class numbers (labels), so no accuracy can be measured on it")
    return reference


def accuracy_of(run: Run, session: InferenceSession, reference: Reference) -> float:
    """Return the share of right answers on all samples of a reference; batches are those of the session."""
    found: Sequence[NDArray[Any]] = [
        np.asarray(run(batch))[:live].argmax(axis=1) for live, batch in batches(session, reference.inputs)
    ]
    return float(np.mean(np.concatenate(found) == reference.labels))
