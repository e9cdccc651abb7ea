"""The accuracy check: the runtime against the oracle, against the folded reference, and against training.

Three comparisons, three figures, never blended:

1. **Integers.** Every binary layer's accumulators on real inputs equal, bit for bit, those of ``onnx.reference``
   running the very function that the file carries.
2. **Outputs and signs.** Against the folded float network: for each output the largest difference, top-1 agreement
   where it is class scores, and per layer the signs that came out otherwise. Float sums before a sign may round
   otherwise on another machine; where one does, all that follows differs by more than rounding. So differences are
   judged on the images without such a sign. The flipped signs are judged by their share, and the first of each image by
   how far the value before it lies from its threshold (:mod:`.flips`): no rounding turns a sign that is far from it.
3. **Accuracy.** Deployed against trained, in two steps that are each measured on the same images: from training to the
   folded network on all test images (the file's metadata), from the folded to the deployed one on the reference's.
"""

import hashlib
from collections.abc import Iterator, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckFailed, DataError, ModelError
from ..files import parse_json
from ..machine.environment import environment, peak_memory_bytes
from ..metrics import Metric, figures
from ..session.self_test import NO_SELF_TEST
from ..session.session import InferenceSession
from .answers import Answers, answer, batches, only_input, timed_feeds
from .flips import judge_flips
from .layers import LayerComparison, compare_layers
from .outputs import compare_outputs, output_failures
from .reference import ONLY, Reference, load_reference
from .report import Accuracy, Agreement, CheckReport, Latency, Size
from .stock import stock_failures
from .timing import interleaved, stock_session, times
from .tolerances import Tolerances

__all__ = ["check"]


def check(
    model: str | PathLike[str],
    reference: str | PathLike[str] | Reference,
    tolerances: Tolerances | None = None,
    *,
    num_threads: int = 1,
    answers: Answers | None = None,
    metric: Metric | None = None,
) -> CheckReport:
    """Check a model against its reference and return what was found; out of tolerance is a result, not an error.

    model: path of a ``.onnx`` file with one input.
    reference: path of its reference file, see :func:`.reference.load_reference`, or arrays: :meth:`.Reference.of`.
    tolerances: what is allowed, and how much is measured; None: the defaults.
    answers: what the model has answered to the reference's inputs; None: it is run here.
    metric: ``metric(outputs, targets)``, arrays in and a number or numbers by name out; measured, and not judged.

    Raises :class:`DataError` for a reference that cannot be read or is of another model, and for answers of other
    files; :class:`ModelError` for a model that cannot be run; :class:`InputError` for one with several inputs.
    """
    allowed = tolerances or Tolerances()
    recorded = reference if isinstance(reference, Reference) else load_reference(reference)
    session = InferenceSession(model, num_threads=num_threads)
    self_test, wrong = _self_test(session)
    data = Path(model).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if answers is None:
        answers = answer(session, recorded, model_sha256=digest)
    elif (answers.model_sha256, answers.reference_sha256) != (digest, recorded.sha256):
        raise DataError(f"the answers are not those of {fspath(model)} to its reference: run the model again")
    layers = compare_layers(session, data, recorded, allowed.oracle_samples)
    accuracy = _accuracy(session, answers, recorded)
    few = [{only_input(session): part} for _, part in batches(session, recorded.inputs[: allowed.oracle_samples])]
    stock = stock_failures(data, few, allowed, class_scores=recorded.class_scores)
    flips = judge_flips(data, only_input(session), recorded, layers.first, allowed)
    agreement = _agreement(answers, recorded, layers, flips.margins)
    name, metrics = _metrics(session, answers, recorded, metric)
    return CheckReport(
        failures=(*wrong, *_failures(accuracy, agreement, layers.mismatches, allowed), *flips.failures, *stock),
        samples=len(recorded.inputs),
        accuracy=accuracy,
        agreement=agreement,
        size_bytes=Size(packed=len(data), float=len(data) + session.saved_bytes()),
        latency_ms=_latency(session, data, recorded.inputs, num_threads, allowed.latency_runs),
        throughput=answers.throughput,
        kernels={step.name: step.kernel for step in session.get_steps() if step.kind == "binary"},
        peak_memory_bytes=peak_memory_bytes(),
        environment=environment(),
        metric=name,
        metrics=metrics,
        self_test=self_test,
    )


def _self_test(session: InferenceSession) -> tuple[str, tuple[str, ...]]:
    """Return in words how the self-test of the file ended, and what failed in it."""
    try:
        passed = session.self_test()
    except CheckFailed as error:
        return "failed", (str(error),)
    return NO_SELF_TEST if passed is None else str(passed), ()


def _accuracy(session: InferenceSession, answers: Answers, recorded: Reference) -> Accuracy:
    stated, labels = session.get_metrics(), recorded.labels
    whole = (stated.get("latent_test_accuracy"), stated.get("test_accuracy"), stated.get("folded"))
    if labels is None or not recorded.class_scores:
        return Accuracy(*whole, folded_on_samples=None, deployed=None)
    return Accuracy(
        *whole,
        folded_on_samples=float(np.mean(recorded.logits.argmax(axis=1) == labels)),
        deployed=float(np.mean(answers.outputs[ONLY].argmax(axis=1) == labels)),
        majority=float(np.unique(labels, return_counts=True)[1].max() / len(labels)),
    )


def _metrics(
    session: InferenceSession, answers: Answers, recorded: Reference, metric: Metric | None
) -> tuple[str, dict[str, Mapping[str, float]]]:
    """Return the name of the user's metric, and its figures: those that were stored, and those computed here."""
    try:
        stated = parse_json(session.get_modelmeta().custom_metadata_map.get("latentbit.task", "{}"))
        known = {key: stated[key] for key in ("trained", "folded") if stated.get(key)}
        found: dict[str, Mapping[str, float]] = {
            key: {str(each): float(value) for each, value in entries.items()} for key, entries in known.items()
        }
        name = str(stated.get("metric") or getattr(metric, "__name__", ""))
    except (ValueError, TypeError, AttributeError):
        raise ModelError("the metadata latentbit.task of the model are no figures: export it again") from None
    if metric is not None:
        found["folded_on_samples"] = figures(name, metric, recorded.outputs, recorded.truth)
        found["deployed"] = figures(name, metric, answers.outputs, recorded.truth)
    elif recorded.metrics:
        found["folded_on_samples"] = recorded.metrics
    return name, found


def _agreement(
    answers: Answers, recorded: Reference, layers: LayerComparison, margins: Mapping[str, float]
) -> Agreement:
    outputs = compare_outputs(answers.outputs, recorded, layers.flipped_images)
    return Agreement(
        oracle_integer_mismatches=sum(layers.mismatches.values()),
        oracle_integers_compared=layers.compared,
        top1_agreement=outputs[ONLY].top1_agreement if recorded.class_scores else None,
        max_abs_logit_difference=_most([found.max_abs_difference for found in outputs.values()]),
        max_abs_logit_difference_unflipped=_most([found.max_abs_difference_unflipped for found in outputs.values()]),
        flipped_signs=layers.flips,
        flipped_share=sum(layers.flips.values()) / max(1, layers.signs),
        flipped_images=int(np.count_nonzero(layers.flipped_images)),
        outputs=outputs,
        integer_mismatches=layers.mismatches,
        flip_margins=margins,
    )


def _most(differences: list[float | None]) -> float | None:
    known = [difference for difference in differences if difference is not None]
    return max(known) if len(known) == len(differences) else None


def _latency(session: InferenceSession, data: bytes, inputs: NDArray[Any], num_threads: int, runs: int) -> Latency:
    """Time one batch (one image where the batch is free) here and on stock onnxruntime with the same file, by turns."""
    feeds = timed_feeds(session, inputs)
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
    yield from output_failures(agreement.outputs, allowed)
    if agreement.flipped_share > allowed.max_flipped_share:
        yield f"{agreement.flipped_share:.2g} of all signs are flipped, allowed is {allowed.max_flipped_share}"
    if agreement.top1_agreement is not None and agreement.top1_agreement < allowed.min_top1_agreement:
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
