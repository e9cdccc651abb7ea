"""What a model answers to the inputs of a reference: run once, and judged by the accuracy check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..session.session import InferenceSession
from .reference import Reference

__all__ = ["Answers", "answer", "batches", "only_input"]

_BATCH = 64
"""Images at a time where the model leaves the batch free."""


@dataclass(frozen=True)
class Answers:
    """``logits`` float32 ``[S, classes]`` at ``throughput`` images a second, of which files: sha256 of both."""

    logits: NDArray[np.float32]
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

    Raises :class:`InputError` for a model with more than one input, or inputs that do not fit it.
    """
    name, parts = only_input(session), batches(session, recorded.inputs)
    session.run(None, {name: parts[0][1]})  # compiles and binds
    logits, done, started = [], 0, perf_counter()
    for live, part in parts:
        logits.append(session.run(None, {name: part})[0][:live])
        done += live
        progress(done, len(recorded.inputs))
    throughput = done / (perf_counter() - started)
    return Answers(np.concatenate(logits), throughput, model_sha256, recorded.sha256)


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
