"""The accuracy check: the runtime against the oracle, against the folded reference, and against training.

Three comparisons, three figures, never blended:

1. **Integers.** Every binary layer's accumulators on real inputs equal, bit for bit, those of ``onnx.reference``
   running the very function that the file carries.
2. **Logits and signs.** Against the folded float network: top-1 agreement, largest logit difference, and per layer the
   signs that came out otherwise. Float sums before a sign may round otherwise on another machine; where one does, all
   that follows differs by more than rounding. So the difference of logits is judged on the images without such a sign,
   and the flipped signs themselves by their share, which a wrong model or a wrong input exceeds a thousandfold.
3. **Accuracy.** Deployed against trained, in two steps that are each measured on the same images: from training to the
   folded network on all test images (the file's metadata), from the folded to the deployed one on the reference's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import unpack_signs
from ..errors import DataError, InputError
from ..machine.environment import environment, peak_memory_bytes
from ..session.session import InferenceSession
from .oracle import layer_oracle
from .timing import interleaved, milliseconds, stock_session

__all__ = ["Reference", "check", "load_reference"]


@dataclass(frozen=True)
class Reference:
    """Recorded answers of the folded network: ``inputs`` [S, …], ``labels`` [S], ``logits`` [S, classes], signs."""

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    signs: dict[str, NDArray[np.int8]]


def load_reference(path: str | PathLike[str]) -> Reference:
    """Read a reference file (npz, no pickles). Raises DataError where it is missing, corrupt or incomplete."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError:
        raise DataError(f"there is no reference file {fspath(path)}; record it with the stage fold") from None
    except Exception as error:
        raise DataError(f"{fspath(path)} is no reference file, or it is corrupt ({error}); copy it again") from None
    for name in ("inputs", "labels", "logits"):
        if name not in arrays:
            raise DataError(f"reference {fspath(path)} holds no array {name!r}; record it again with the stage fold")
    samples = len(arrays["inputs"])
    if not samples or any(len(arrays[name]) != samples for name in ("labels", "logits")):
        raise DataError(f"reference {fspath(path)}: inputs, labels and logits differ in length; record it again")
    signs = {}
    for name, packed in arrays.items():
        if name.startswith("signs/"):
            layer = name.removeprefix("signs/")
            if f"shape/{layer}" not in arrays:
                raise DataError(f"reference {fspath(path)} holds signs but no shape of {layer}; record it again")
            signs[layer] = unpack_signs(packed, int(arrays[f"shape/{layer}"][0]), axis=1)
    return Reference(arrays["inputs"], arrays["labels"], arrays["logits"], signs)


def check(
    model: str | PathLike[str],
    reference: str | PathLike[str],
    *,
    max_logit_difference: float = 1e-3,
    max_flipped_share: float = 1e-4,
    min_top1_agreement: float = 0.995,
    max_accuracy_drop: float = 0.005,
    oracle_samples: int = 32,
    num_threads: int = 1,
    latency_runs: int = 200,
) -> dict[str, Any]:
    """Check a model against its reference file and return the report.

    The report holds ``passed``, ``failures`` (sentences), ``samples``, ``accuracy``, ``agreement``, ``size_bytes``,
    ``latency_ms``, ``throughput`` (images a second), ``kernels`` by layer, ``peak_memory_bytes``, ``environment``.
    """
    recorded = load_reference(reference)
    session = InferenceSession(model, num_threads=num_threads)
    data = Path(model).read_bytes()
    name, batch = _input(session)
    logits, seconds = _run_all(session, name, batch, recorded.inputs)
    if logits.shape != recorded.logits.shape:
        raise DataError(f"the model gives logits {list(logits.shape)}, the reference has {list(recorded.logits.shape)}")
    layers = _layers(session, data, name, batch, recorded, oracle_samples)
    metrics = session.get_metrics()
    accuracy = {key: metrics.get(key) for key in ("latent_stream", "training", "folded")}
    accuracy["folded_on_samples"] = float(np.mean(recorded.logits.argmax(axis=1) == recorded.labels))
    accuracy["deployed"] = float(np.mean(logits.argmax(axis=1) == recorded.labels))
    differences = np.abs(logits - recorded.logits).max(axis=1)
    agreement = {
        "oracle_integer_mismatches": sum(layers.mismatches.values()),
        "oracle_integers_compared": layers.compared,
        "top1_agreement": float(np.mean(logits.argmax(axis=1) == recorded.logits.argmax(axis=1))),
        "max_abs_logit_difference": _largest(differences),
        "max_abs_logit_difference_unflipped": _largest(differences[~layers.flipped_images]),
        "flipped_signs": layers.flips,
        "flipped_share": sum(layers.flips.values()) / max(1, layers.signs),
        "flipped_images": int(np.count_nonzero(layers.flipped_images)),
    }
    report: dict[str, Any] = {
        "passed": False,
        "failures": [],
        "samples": len(logits),
        "accuracy": accuracy,
        "agreement": agreement,
        "size_bytes": {"packed": len(data), "float": len(data) + session.saved_bytes()},
        "latency_ms": _latency(session, data, name, recorded.inputs[:batch], num_threads, latency_runs),
        "throughput": len(logits) / seconds,
        "kernels": {step.name: step.kernel for step in session.get_steps() if step.kind == "binary"},
        "peak_memory_bytes": peak_memory_bytes(),
        "environment": environment(),
    }
    tolerances = {
        "logit": max_logit_difference,
        "share": max_flipped_share,
        "top1": min_top1_agreement,
        "drop": max_accuracy_drop,
    }
    report["failures"] = _failures(report, layers.mismatches, tolerances)
    report["passed"] = not report["failures"]
    return report


def _input(session: InferenceSession) -> tuple[str, int]:
    """Return the name of the only input and the batch to run: the model's, or 64 where it is free."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or not inputs[0].shape:
        raise InputError(f"check needs a model with one input that has a batch axis; this one has {len(inputs)} inputs")
    first = inputs[0].shape[0]
    return inputs[0].name, first if isinstance(first, int) else 64


def _batches(inputs: NDArray[Any], batch: int, fixed: bool) -> Sequence[tuple[int, NDArray[Any]]]:
    """Return (live samples, batch) pairs; a model of fixed batch gets its last one filled up with copies."""
    parts = [inputs[start : start + batch] for start in range(0, len(inputs), batch)]
    return [
        (len(part), np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)]) if fixed else part)
        for part in parts
    ]


def _run_all(
    session: InferenceSession, name: str, batch: int, inputs: NDArray[Any]
) -> tuple[NDArray[np.float32], float]:
    fixed = isinstance(session.get_inputs()[0].shape[0], int)
    parts = _batches(inputs, batch, fixed)
    session.run(None, {name: parts[0][1]})  # compiles and binds
    start = perf_counter()
    logits = [session.run(None, {name: part})[0][:live] for live, part in parts]
    return np.concatenate(logits), perf_counter() - start


def _largest(differences: NDArray[np.floating[Any]]) -> float | None:
    """Return the largest, 0 of none, None if it is no finite number."""
    largest = float(differences.max(initial=0.0))
    return largest if np.isfinite(largest) else None


@dataclass
class _Layers:
    """What the binary layers did: flipped signs and integer mismatches by layer, and out of how many."""

    flips: dict[str, int]
    mismatches: dict[str, int]
    flipped_images: NDArray[np.bool_]
    signs: int = 0
    compared: int = 0


def _layers(
    session: InferenceSession, data: bytes, name: str, batch: int, recorded: Reference, samples: int
) -> _Layers:
    """Compare every binary layer's signs with the recorded ones, and integers with the oracle."""
    fixed = isinstance(session.get_inputs()[0].shape[0], int)
    oracle = layer_oracle(data)
    found = _Layers({}, {}, np.zeros(len(recorded.inputs), np.bool_))
    done = 0
    for live, part in _batches(recorded.inputs, batch, fixed):
        for layer in session.trace({name: part}):
            signs, sums = layer.signs[:live], layer.accumulators[:live]
            if layer.name in recorded.signs:
                expected = recorded.signs[layer.name][done : done + live]
                if expected.shape != signs.shape:
                    raise DataError(f"the reference has signs {list(expected.shape[1:])} for layer {layer.name}, "
                                    f"the model {list(signs.shape[1:])}; record the reference again")  # fmt: skip
                other = (expected != signs).reshape(live, -1)
                found.flips[layer.name] = found.flips.get(layer.name, 0) + int(np.count_nonzero(other))
                found.flipped_images[done : done + live] |= other.any(axis=1)
                found.signs += other.size
            if (count := min(live, samples - done)) > 0:
                truth = oracle(layer.name, signs[:count])
                wrong = int(np.count_nonzero(truth != sums[:count]))
                found.mismatches[layer.name] = found.mismatches.get(layer.name, 0) + wrong
                found.compared += truth.size
        done += live
    return found


def _latency(
    session: InferenceSession, data: bytes, name: str, batch: NDArray[Any], num_threads: int, runs: int
) -> dict[str, dict[str, float]]:
    """Time one batch (one image where the batch is free) here and on stock onnxruntime with the same file, by turns."""
    if isinstance(session.get_inputs()[0].shape[0], str | None):
        batch = batch[:1]
    feeds = {name: np.ascontiguousarray(batch)}
    stock = stock_session(data, num_threads)
    times = interleaved(
        {"latentbit": lambda: session.run(None, feeds), "onnxruntime_fp32": lambda: stock.run(None, feeds)}, runs
    )
    return {key: milliseconds(values) for key, values in times.items()}


def _failures(report: dict[str, Any], mismatches: dict[str, int], limits: dict[str, float]) -> list[str]:
    """Return a sentence for every figure that is out of tolerance (a figure that is no number is)."""
    agreement, accuracy = report["agreement"], report["accuracy"]
    failures = [
        f"layer {layer}: {count} integers differ from the oracle" for layer, count in mismatches.items() if count
    ]
    if not agreement["oracle_integers_compared"]:
        failures.append(
            "no integer was compared with the oracle: the model has no packed layer, or oracle_samples is 0"
        )
    difference = agreement["max_abs_logit_difference_unflipped"]
    if agreement["max_abs_logit_difference"] is None:
        failures.append("a logit is no finite number, here or in the reference")
    elif difference > limits["logit"]:
        failures.append(f"the largest logit difference is {difference}, allowed is {limits['logit']}")
    if agreement["flipped_share"] > limits["share"]:
        failures.append(f"{agreement['flipped_share']:.2g} of all signs are flipped, allowed is {limits['share']}")
    if agreement["top1_agreement"] < limits["top1"]:
        failures.append(f"top-1 agreement is {agreement['top1_agreement']:.4f}, needed is {limits['top1']}")
    for better, worse in (("training", "folded"), ("folded_on_samples", "deployed")):
        before, after = accuracy[better], accuracy[worse]
        if before is not None and after is not None and before - after > limits["drop"]:
            failures.append(
                f"accuracy falls from {before:.4f} ({better}) to {after:.4f} ({worse}), allowed is {limits['drop']}"
            )
    return failures
