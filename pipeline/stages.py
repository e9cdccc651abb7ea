"""The stages: each a thin function over the library call that does the work, and a line in :data:`STAGES`.

Nothing of a stage is imported before it runs, so a run in which everything is fresh imports neither torch nor a kernel.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import ConfigError
from ..runtime.files import parse_json, sha256_file, write_json
from ..runtime.metrics import current_names
from ..runtime.terminal import Step
from .measuring import int8_form, step_figures
from .paths import (
    ANSWERS,
    FOLDED,
    FOLDING,
    HISTORY,
    MODEL,
    NETWORK,
    PAGE,
    PLAIN,
    REFERENCE,
    REPORT,
    RUNNING,
    STEPS,
    STRUCTURE,
    TRAINED,
    TRAINING,
)
from .recording import choose_samples, class_names, read_answers, write_answers, write_reference
from .rundir import RunDir

if TYPE_CHECKING:
    from ..training.data.dataset import Dataset
    from ..training.data.own import OwnData

__all__ = ["STAGES", "Stage"]


@dataclass(frozen=True)
class Stage:
    """A stage: what it reads and writes (paths within the run), and the function that performs it.

    ``functions`` are the options of ``[train]`` that name functions of the user's which it runs. ``verify`` refuses a
    configuration before anything is written.
    """

    name: str
    folder: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    perform: Callable[[RunDir, Step], None]
    functions: tuple[str, ...] = ()
    verify: Callable[[RunDir], None] = lambda run: None

    def section(self, run: RunDir) -> dict[str, Any]:
        """Return this stage's section of the run's configuration as plain values.

        Where the user's code lies is left out: what counts is its content (:attr:`functions`).
        """
        values = asdict(getattr(run.config, self.name))
        values.pop("code", None)
        return values


def check_names(run: RunDir) -> None:
    """Refuse names in [train] that are none, and functions that cannot be imported."""
    from ..training.loop.run import check_names as check

    check(run.config.train)


def train(run: RunDir, step: Step) -> None:
    """Train the network of [train]."""
    from ..training.loop import trainer

    figures = ""

    def tell(event: trainer.Progress) -> None:
        nonlocal figures
        if event.metrics is not None:
            figures = f"  loss {event.metrics['loss']:.3f}"
            if "accuracy" in event.metrics:
                figures += f"  training images right {event.metrics['accuracy']:.1%}"
        done = event.epoch * event.steps + event.step
        text = f"epoch {event.epoch + 1}/{event.epochs}  {event.images_per_second:,.0f} images/s{figures}"
        step(done, event.epochs * event.steps, text)

    trainer.train(**asdict(run.config.train), out=run.path / TRAINED, progress=tell)


def fold(run: RunDir, step: Step) -> None:
    """Write the trained network as plain ONNX, norms folded, and record its answers: the reference of every check."""
    from ..export.writer import export_onnx
    from ..runtime.proof.recording import record
    from ..training.loop import trainer

    dataset = _dataset(run)
    network = trainer.load_network(run.path / TRAINED)
    export_onnx(network, _example(run, dataset), run.path / FOLDED, plain=True, **_form(run, dataset))
    # Accuracy is measured on every test image; the reference keeps a sample of each class, so that it fits a device.
    inputs, targets = _test_arrays(run, dataset)
    chosen = choose_samples(run, targets, len(inputs))
    recorded = record(run.path / FOLDED, inputs, signs_of=chosen)
    write_json(run.path / FOLDING, write_reference(run, inputs, targets, recorded, chosen))


def export(run: RunDir, step: Step) -> None:
    """Pack the folded network as model.onnx, with all that a user of the file needs to know."""
    from ..export.importing.conversion import convert
    from ..export.inline import OLDEST_OPSET, inline_file

    dataset = _dataset(run)
    training, folding = current_names(_read(run, TRAINING)), _read(run, FOLDING)
    part = "validation_accuracy" if run.config.train.holdout else "test_accuracy"
    metadata: dict[str, Any] = {
        "metrics": {
            "latent_test_accuracy": training[f"latent_{part}"],
            "test_accuracy": training[part],
            "folded": folding["accuracy"],
        },
        "recipe": {key: value for key, value in asdict(run.config.train).items() if key != "code"},
        **_facts(run, dataset, folding),
    }
    if run.config.train.metric:
        trained = training.get("metrics")
        metadata["task"] = {"metric": run.config.train.metric, "trained": trained, "folded": folding["metrics"]}
    top_k, classes = run.config.export.top_k, metadata.get("labels", [])
    if top_k > len(classes):
        raise ConfigError(f"export.top_k = {top_k}, but {dataset.name} has {len(classes) or 'no'} classes")
    plain_opset = run.config.export.plain_opset
    if 0 < plain_opset < OLDEST_OPSET:
        raise ConfigError(f"export.plain_opset = {plain_opset}, but {OLDEST_OPSET} is the oldest (0: no plain file)")
    labels = classes if top_k else None
    convert(run.path / FOLDED, run.path / MODEL, weight_only=False, metadata=metadata, top_k=top_k, labels=labels)
    (run.path / PLAIN).unlink(missing_ok=True)
    if plain_opset:
        inline_file(run.path / MODEL, run.path / PLAIN, opset=plain_opset)


def _form(run: RunDir, dataset: "Dataset | OwnData") -> dict[str, Any]:
    """Return the keywords of ``export_onnx``: what the deployed network reads, and how it is stored."""
    from ..training.data.own import OwnData
    from ..training.handover.pixels import Pixels

    section = run.config.fold
    pixels = None
    if section.input != "float32":
        if isinstance(dataset, OwnData):
            raise ConfigError(
                f"fold.input = {section.input!r} needs data whose normalisation is known, and {dataset.name} returns a"
                " torch Dataset: let it return a latentbit.training.Dataset, or set fold.input = 'float32' (the network"
                " then reads what the data set gives)"
            )
        pixels = Pixels(dataset.mean, dataset.std, dataset.pixel_range)
    return {
        "pixels": pixels,
        "exact_stem": section.input == "exact",
        "int8_weights": section.int8_weights,
        "dynamic_spatial": section.dynamic_spatial,
    }


def _test_arrays(
    run: RunDir, dataset: "Dataset | OwnData"
) -> "tuple[NDArray[Any], NDArray[Any] | dict[str, NDArray[Any]]]":
    """Return all test inputs as the deployed network reads them, and their targets."""
    from ..training.data.own import OwnData

    if isinstance(dataset, OwnData):
        return dataset.test_arrays()
    return _inputs(run, dataset, dataset.test_images), dataset.test_labels


def _example(run: RunDir, dataset: "Dataset | OwnData") -> NDArray[Any]:
    """Return a few test inputs as the deployed network reads them."""
    from ..training.data.own import OwnData

    if isinstance(dataset, OwnData):
        return np.asarray(dataset.read(dataset.test, range(min(4, len(dataset.test))))[0].numpy())
    return _inputs(run, dataset, dataset.test_images[:4])


def _inputs(run: RunDir, dataset: "Dataset", images: NDArray[np.uint8]) -> NDArray[Any]:
    """Return images ``[N,C,H,W]`` as the deployed network reads them."""
    if run.config.fold.input == "float32":
        return dataset.normalise(images)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def _facts(run: RunDir, dataset: "Dataset | OwnData", folding: dict[str, Any]) -> dict[str, Any]:
    """Return what a model file says of the data: classes, how images are prepared, and the data set."""
    from ..training.data.own import OwnData

    if isinstance(dataset, OwnData):
        count = folding.get("classes")
        facts: dict[str, Any] = {"labels": class_names(dataset, count)} if count else {}
        sizes = {"train": len(dataset.train), "test": len(dataset.test)}
        return facts | {"dataset": {"name": dataset.name, "sha256": dataset.sha256, **sizes}}
    layout = {} if run.config.fold.input == "float32" else {"layout": "NHWC"}
    sizes = {"train": len(dataset.train_labels), "test": len(dataset.test_labels)}
    return {
        "labels": list(dataset.classes),
        "input": dataset.input_metadata() | layout,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256, **sizes},
    }


def _dataset(run: RunDir) -> "Dataset | OwnData":
    """Return the data of the run: with a holdout, its held-out part in the place of the test part."""
    from ..training.data.catalogue import open_data

    return open_data(run.config.train)


def _read(run: RunDir, name: str) -> dict[str, Any]:
    value: dict[str, Any] = parse_json((run.path / name).read_text(encoding="utf-8"))
    return value


def execute(run: RunDir, step: Step) -> None:
    """Run the model over the reference inputs, and note which kernel runs each step."""
    from ..runtime.proof.answers import answer
    from ..runtime.proof.reference import load_reference
    from ..runtime.session.session import InferenceSession

    session = InferenceSession(run.path / MODEL, num_threads=run.config.run.threads)
    recorded = load_reference(run.path / REFERENCE)
    answers = answer(
        session,
        recorded,
        model_sha256=sha256_file(run.path / MODEL),
        progress=lambda done, total: step(done, total, f"{done} images"),
    )
    write_answers(run, answers.outputs)
    figures: dict[str, Any] = {
        "throughput": answers.throughput,
        "model_sha256": answers.model_sha256,
        "reference_sha256": answers.reference_sha256,
    }
    write_json(run.path / RUNNING, figures)
    write_json(run.path / STEPS, step_figures(session, recorded))


def check(run: RunDir, step: Step) -> None:
    """Judge the runtime by the oracle, the folded reference and training; out of tolerance is a result too."""
    from ..runtime.proof.accuracy import check as check_model
    from ..runtime.proof.answers import Answers
    from ..runtime.proof.reference import load_reference

    figures, reference = _read(run, RUNNING), load_reference(run.path / REFERENCE)
    answers = Answers(
        read_answers(run, reference),
        throughput=figures["throughput"],
        model_sha256=figures["model_sha256"],
        reference_sha256=figures["reference_sha256"],
    )
    threads, settings = run.config.run.threads, run.config.train
    metric = settings.import_function("metric") if settings.metric else None
    report = check_model(
        run.path / MODEL, reference, run.config.check, num_threads=threads, answers=answers, metric=metric
    )
    report = replace(report, int8=int8_form(run, reference))
    write_json(run.path / REPORT, report.to_json())


def report(run: RunDir, step: Step) -> None:
    """Write report.html."""
    from .reporting.page import write_report

    write_report(run)


_NETWORK = ("model", "data")

STAGES = (
    Stage(
        *("train", TRAINED, (), (NETWORK, STRUCTURE, TRAINING, HISTORY), train),
        functions=(*_NETWORK, "loss", "metric", "augment"),
        verify=check_names,
    ),
    Stage("fold", "2-fold", (NETWORK, STRUCTURE), (FOLDED, FOLDING, REFERENCE), fold, (*_NETWORK, "metric")),
    Stage("export", "3-export", (TRAINING, FOLDED, FOLDING), (MODEL,), export, ("data",)),
    Stage("run", "4-run", (MODEL, REFERENCE), (ANSWERS, RUNNING, STEPS), execute),
    Stage("check", "5-check", (MODEL, REFERENCE, ANSWERS, RUNNING), (REPORT,), check, ("metric",)),
    Stage("report", ".", (HISTORY, MODEL, REFERENCE, ANSWERS, STEPS, REPORT), (PAGE,), report),
)
