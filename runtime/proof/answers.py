"""What a model answers to the inputs of a reference: run once, and judged by the accuracy check."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError
from ..session.session import InferenceSession
from .reference import ONLY, Reference

__all__ = ["Answers", "answer", "batches", "only_input", "timed_feeds"]

_BATCH = 64
"""Images at a time where the model leaves the batch free."""


@dataclass(frozen=True)
class Answers:
    """``outputs`` ``[S, …]`` under the names of the reference, ``throughput`` in samples a second, and sha256."""

    outputs: Mapping[str, NDArray[Any]]
    throughput: float
    model_sha256: str
    reference_sha256: str


def answer(
    session: InferenceSession,
    recorded: Reference,
    *,
    model_sha256: str,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Answers:
    """Run all inputs of a reference through the model; ``progress(done, total)`` counts images.

    Raises :class:`InputError` for a model with more than one input, or inputs that do not fit it; :class:`DataError`
    where it has not the outputs of the reference.
    """
    name, parts, wanted = only_input(session), batches(session, recorded.inputs), _outputs(session, recorded)
    session.run(wanted, {name: parts[0][1]})  # compiles and binds
    answered: list[list[NDArray[Any]]] = [[] for _ in wanted]
    done, started = 0, perf_counter()
    for live, part in parts:
        for values, found in zip(answered, session.run(wanted, {name: part}), strict=True):
            if not found.ndim or len(found) != len(part):
                raise DataError(
                    f"an output is {list(found.shape)} for a batch of {len(part)}: it needs an axis for the batch"
                )
            values.append(found[:live])
        done += live
        progress(done, len(recorded.inputs))
    throughput = done / (perf_counter() - started)
    outputs = {name: np.concatenate(values) for name, values in zip(recorded.outputs, answered, strict=True)}
    return Answers(outputs, throughput, model_sha256, recorded.sha256)


def _outputs(session: InferenceSession, recorded: Reference) -> list[str]:
    """Return the model's names of the outputs of the reference, in its order."""
    known = [info.name for info in session.get_outputs()]
    wanted = known[:1] if set(recorded.outputs) == {ONLY} else list(recorded.outputs)
    for name in wanted:
        if name not in known:
            raise DataError(f"the reference has an output {name}, the model has {', '.join(known)}: record it again")
    return wanted


def only_input(session: InferenceSession) -> str:
    """Return the name of the model's only input. Raises :class:`InputError` where there are others."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or not inputs[0].shape:
        raise InputError(f"check needs a model with one input that has a batch axis; this one has {len(inputs)} inputs")
    return inputs[0].name


def batches(session: InferenceSession, inputs: NDArray[Any]) -> Sequence[tuple[int, NDArray[Any]]]:
    """Return (live samples, batch) pairs; a model of fixed batch gets its last one filled up with copies."""
    first = session.get_inputs()[0].shape[0]
    size = first if isinstance(first, int) else _BATCH
    parts = [inputs[start : start + size] for start in range(0, len(inputs), size)]
    if not isinstance(first, int):
        return [(len(part), part) for part in parts]
    return [(len(part), np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])) for part in parts]


def timed_feeds(session: InferenceSession, inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return what a model is timed on: one sample where its batch is free, else the first batch."""
    free = not isinstance(session.get_inputs()[0].shape[0], int)
    return {only_input(session): np.ascontiguousarray(inputs[:1] if free else batches(session, inputs)[0][1])}
