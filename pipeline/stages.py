"""The stages: each a thin function over the library call that does the work, and a line in :data:`STAGES`.

Nothing of a stage is imported before it runs, so a run in which everything is fresh imports neither torch nor a kernel.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import ConfigError
from ..runtime.files import atomic_path, sha256_file, write_json
from ..runtime.metrics import current_names
from .paths import (
    FOLDED,
    FOLDING,
    HISTORY,
    LOGITS,
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
from .progress import Step
from .report import write_report
from .rundir import RunDir
from .sampling import stratified

if TYPE_CHECKING:
    from ..training.data.catalogue import Dataset

__all__ = ["STAGES", "Stage"]


@dataclass(frozen=True)
class Stage:
    """A stage: what it reads and writes (paths within the run), and the function that performs it."""

    name: str
    folder: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    perform: Callable[[RunDir, Step], None]

    def section(self, run: RunDir) -> dict[str, Any]:
        """Return this stage's section of the run's configuration as plain values."""
        return asdict(getattr(run.config, self.name))


def train(run: RunDir, step: Step) -> None:
    """Train the network of [train]."""
    from ..training.loop import trainer

    figures = ""

    def tell(event: trainer.Progress) -> None:
        nonlocal figures
        if event.metrics is not None:
            figures = f"  loss {event.metrics['loss']:.3f}  training images right {event.metrics['accuracy']:.1%}"
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
    example = _inputs(run, dataset, dataset.test_images[:4])
    export_onnx(network, example, run.path / FOLDED, plain=True, **_form(run, dataset))
    # Accuracy is measured on every test image; the reference keeps a sample of each class, so that it fits a device.
    images, labels = _inputs(run, dataset, dataset.test_images), dataset.test_labels
    chosen = stratified(labels, run.config.fold.samples)
    recorded = record(run.path / FOLDED, images, signs_of=chosen)
    logits = recorded.pop("logits")
    with atomic_path(run.path / REFERENCE) as part:
        arrays: dict[str, Any] = {
            "inputs": images[chosen],
            "labels": labels[chosen],
            "logits": logits[chosen],
            **recorded,
        }
        np.savez_compressed(part, **arrays)
    accuracy = float(np.mean(np.argmax(logits, axis=1) == labels))
    write_json(run.path / FOLDING, {"accuracy": accuracy, "images": len(logits), "samples": len(chosen)})


def export(run: RunDir, step: Step) -> None:
    """Pack the folded network as model.onnx, with all that a user of the file needs to know."""
    from ..export.importing.conversion import convert
    from ..export.inline import OLDEST_OPSET, inline_file

    dataset = _dataset(run)
    training = current_names(_read(run, TRAINING))
    part = "validation_accuracy" if run.config.train.holdout else "test_accuracy"
    metadata = {
        "labels": list(dataset.classes),
        "input": dataset.input_metadata() | ({} if run.config.fold.input == "float32" else {"layout": "NHWC"}),
        "metrics": {
            "latent_test_accuracy": training[f"latent_{part}"],
            "test_accuracy": training[part],
            "folded": _read(run, FOLDING)["accuracy"],
        },
        "dataset": {
            "name": dataset.name,
            "sha256": dataset.sha256,
            "train": len(dataset.train_labels),
            "test": len(dataset.test_labels),
        },
        "recipe": asdict(run.config.train),
    }
    top_k = run.config.export.top_k
    if top_k > len(dataset.classes):
        raise ConfigError(f"export.top_k = {top_k}, but {dataset.name} has {len(dataset.classes)} classes")
    plain_opset = run.config.export.plain_opset
    if 0 < plain_opset < OLDEST_OPSET:
        raise ConfigError(f"export.plain_opset = {plain_opset}, but {OLDEST_OPSET} is the oldest (0: no plain file)")
    labels = dataset.classes if top_k else None
    convert(run.path / FOLDED, run.path / MODEL, weight_only=False, metadata=metadata, top_k=top_k, labels=labels)
    (run.path / PLAIN).unlink(missing_ok=True)
    if plain_opset:
        inline_file(run.path / MODEL, run.path / PLAIN, opset=plain_opset)


def _form(run: RunDir, dataset: "Dataset") -> dict[str, Any]:
    """Return the keywords of ``export_onnx``: what the deployed network reads, and how its float layers are stored."""
    from ..training.handover.pixels import Pixels

    section = run.config.fold
    pixels = Pixels(dataset.mean, dataset.std, dataset.pixel_range)
    return {
        "pixels": None if section.input == "float32" else pixels,
        "exact_stem": section.input == "exact",
        "int8_weights": section.int8_weights,
    }


def _inputs(run: RunDir, dataset: "Dataset", images: NDArray[np.uint8]) -> NDArray[Any]:
    """Return images ``[N,C,H,W]`` as the deployed network reads them."""
    if run.config.fold.input == "float32":
        return dataset.normalise(images)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def _dataset(run: RunDir) -> "Dataset":
    """Return the data of the run: with a holdout, its held-out part in the place of the test images."""
    from ..training.data import catalogue as data

    section = run.config.train
    dataset = data.load(section.data, section.root or None, image_size=section.image_size)
    return data.holdout(dataset, section.holdout) if section.holdout else dataset


def _read(run: RunDir, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((run.path / name).read_text(encoding="utf-8"))
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
    with atomic_path(run.path / LOGITS) as part:
        np.save(part, answers.logits)
    figures = {
        "accuracy": float(np.mean(np.argmax(answers.logits, axis=1) == recorded.labels)),
        "throughput": answers.throughput,
        "model_sha256": answers.model_sha256,
        "reference_sha256": answers.reference_sha256,
    }
    write_json(run.path / RUNNING, figures)
    write_json(run.path / STEPS, {"steps": [asdict(info) for info in session.get_steps()]})


def check(run: RunDir, step: Step) -> None:
    """Judge the runtime by the oracle, the folded reference and training; out of tolerance is a result too."""
    from ..runtime.proof.accuracy import check as check_model
    from ..runtime.proof.answers import Answers

    figures = _read(run, RUNNING)
    answers = Answers(
        np.load(run.path / LOGITS, allow_pickle=False),
        throughput=figures["throughput"],
        model_sha256=figures["model_sha256"],
        reference_sha256=figures["reference_sha256"],
    )
    threads = run.config.run.threads
    report = check_model(run.path / MODEL, run.path / REFERENCE, run.config.check, num_threads=threads, answers=answers)
    write_json(run.path / REPORT, report.to_json())


def report(run: RunDir, step: Step) -> None:
    """Write report.html."""
    write_report(run)


STAGES = (
    Stage("train", TRAINED, (), (NETWORK, STRUCTURE, TRAINING, HISTORY), train),
    Stage("fold", "2-fold", (NETWORK, STRUCTURE), (FOLDED, FOLDING, REFERENCE), fold),
    Stage("export", "3-export", (TRAINING, FOLDED, FOLDING), (MODEL,), export),
    Stage("run", "4-run", (MODEL, REFERENCE), (LOGITS, RUNNING, STEPS), execute),
    Stage("check", "5-check", (MODEL, REFERENCE, LOGITS, RUNNING), (REPORT,), check),
    Stage("report", ".", (HISTORY, MODEL, REFERENCE, LOGITS, STEPS, REPORT), (PAGE,), report),
)
