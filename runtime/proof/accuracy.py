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

import hashlib
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..machine.environment import environment, peak_memory_bytes
from ..session.session import InferenceSession
from .answers import Answers, answer, batches, only_input
from .layers import LayerComparison, compare_layers
from .reference import Reference, load_reference
from .report import Accuracy, Agreement, CheckReport, Latency, Size
from .stock import stock_failures
from .timing import interleaved, stock_session, times
from .tolerances import Tolerances

__all__ = ["check"]


def check(
    model: str | PathLike[str],
    reference: str | PathLike[str],
    tolerances: Tolerances | None = None,
    *,
    num_threads: int = 1,
    answers: Answers | None = None,
) -> CheckReport:
    """Check a model against its reference and return what was found; out of tolerance is a result, not an error.

    model: path of a ``.onnx`` file with one input.
    reference: path of its reference file, see :func:`.reference.load_reference`.
    tolerances: what is allowed, and how much is measured; None: the defaults.
    answers: what the model has answered to the reference's inputs; None: it is run here.

    Raises :class:`DataError` for a reference that cannot be read or is of another model, and for answers of other
    files; :class:`ModelError` for a model that cannot be run; :class:`InputError` for one with several inputs.
    """
    allowed = tolerances or Tolerances()
    recorded = load_reference(reference)
    session = InferenceSession(model, num_threads=num_threads)
    data = Path(model).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if answers is None:
        answers = answer(session, recorded, model_sha256=digest)
    elif (answers.model_sha256, answers.reference_sha256) != (digest, recorded.sha256):
        raise DataError(f"the answers are not those of {fspath(model)} to {fspath(reference)}: run the model again")
    logits = answers.logits
    if logits.shape != recorded.logits.shape:
        raise DataError(f"the model gives logits {list(logits.shape)}, the reference has {list(recorded.logits.shape)}")
    layers = compare_layers(session, data, recorded, allowed.oracle_samples)
    accuracy, agreement = _accuracy(session, logits, recorded), _agreement(logits, recorded, layers)
    few = [{only_input(session): part} for _, part in batches(session, recorded.inputs[: allowed.oracle_samples])]
    failures = (*_failures(accuracy, agreement, layers.mismatches, allowed), *stock_failures(data, few, allowed))
    return CheckReport(
        failures=failures,
        samples=len(logits),
        accuracy=accuracy,
        agreement=agreement,
        size_bytes=Size(packed=len(data), float=len(data) + session.saved_bytes()),
        latency_ms=_latency(session, data, recorded.inputs, num_threads, allowed.latency_runs),
        throughput=answers.throughput,
        kernels={step.name: step.kernel for step in session.get_steps() if step.kind == "binary"},
        peak_memory_bytes=peak_memory_bytes(),
        environment=environment(),
    )


def _accuracy(session: InferenceSession, logits: NDArray[np.float32], recorded: Reference) -> Accuracy:
    stated = session.get_metrics()
    return Accuracy(
        latent_test_accuracy=stated.get("latent_test_accuracy"),
        test_accuracy=stated.get("test_accuracy"),
        folded=stated.get("folded"),
        folded_on_samples=float(np.mean(recorded.logits.argmax(axis=1) == recorded.labels)),
        deployed=float(np.mean(logits.argmax(axis=1) == recorded.labels)),
    )


def _agreement(logits: NDArray[np.float32], recorded: Reference, layers: LayerComparison) -> Agreement:
    differences = np.abs(logits - recorded.logits).max(axis=1)
    return Agreement(
        oracle_integer_mismatches=sum(layers.mismatches.values()),
        oracle_integers_compared=layers.compared,
        top1_agreement=float(np.mean(logits.argmax(axis=1) == recorded.logits.argmax(axis=1))),
        max_abs_logit_difference=_largest(differences),
        max_abs_logit_difference_unflipped=_largest(differences[~layers.flipped_images]),
        flipped_signs=layers.flips,
        flipped_share=sum(layers.flips.values()) / max(1, layers.signs),
        flipped_images=int(np.count_nonzero(layers.flipped_images)),
    )


def _largest(differences: NDArray[np.floating[Any]]) -> float | None:
    """Return the largest, 0 of none, None if it is no finite number."""
    largest = float(differences.max(initial=0.0))
    return largest if np.isfinite(largest) else None


def _latency(session: InferenceSession, data: bytes, inputs: NDArray[Any], num_threads: int, runs: int) -> Latency:
    """Time one batch (one image where the batch is free) here and on stock onnxruntime with the same file, by turns."""
    free = not isinstance(session.get_inputs()[0].shape[0], int)
    feeds = {only_input(session): np.ascontiguousarray(inputs[:1] if free else batches(session, inputs)[0][1])}
    stock = stock_session(data, num_threads)
    measured = interleaved({"ours": lambda: session.run(None, feeds), "theirs": lambda: stock.run(None, feeds)}, runs)
    return Latency(latentbit=times(measured["ours"]), onnxruntime_fp32=times(measured["theirs"]))


def _failures(
    accuracy: Accuracy, agreement: Agreement, mismatches: dict[str, int], allowed: Tolerances
) -> Iterator[str]:
    """Yield a sentence for every figure that is out of tolerance (a figure that is no number is)."""
    for layer, count in mismatches.items():
        if count:
            yield f"layer {layer}: {count} integers differ from the oracle"
    if not agreement.oracle_integers_compared:
        yield "no integer was compared with the oracle: the model has no packed layer"
    difference = agreement.max_abs_logit_difference_unflipped
    if agreement.max_abs_logit_difference is None or difference is None:
        yield "a logit is no finite number, here or in the reference"
    elif difference > allowed.max_logit_difference:
        yield f"the largest logit difference is {difference}, allowed is {allowed.max_logit_difference}"
    if agreement.flipped_share > allowed.max_flipped_share:
        yield f"{agreement.flipped_share:.2g} of all signs are flipped, allowed is {allowed.max_flipped_share}"
    if agreement.top1_agreement < allowed.min_top1_agreement:
        yield f"top-1 agreement is {agreement.top1_agreement:.4f}, needed is {allowed.min_top1_agreement}"
    steps = (
        ("trained", accuracy.test_accuracy, "folded", accuracy.folded),
        ("folded", accuracy.folded_on_samples, "deployed", accuracy.deployed),
    )
    for before, better, after, worse in steps:
        if better is not None and worse is not None and better - worse > allowed.max_accuracy_drop:
            yield (
                f"accuracy falls from {better:.4f} ({before}) to {worse:.4f} ({after}),"
                f" allowed is {allowed.max_accuracy_drop}"
            )
