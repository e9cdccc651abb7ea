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
from ..runtime.files import atomic_path, write_json
from .progress import Step
from .rundir import RunDir

if TYPE_CHECKING:
    from ..training.data.catalogue import Dataset

__all__ = [
    "HISTORY",
    "LOGITS",
    "MODEL",
    "NETWORK",
    "PAGE",
    "PLAIN",
    "REFERENCE",
    "REPORT",
    "STAGES",
    "STEPS",
    "Stage",
]

NETWORK = "1-train/network.pt"
STRUCTURE = "1-train/network.json"
TRAINING = "1-train/metrics.json"
HISTORY = "1-train/metrics.jsonl"
FOLDED = "2-fold/folded.pt"
FOLDING = "2-fold/metrics.json"
REFERENCE = "2-fold/reference.npz"
MODEL = "3-export/model.onnx"
PLAIN = "3-export/plain.onnx"
LOGITS = "4-run/logits.npy"
STEPS = "4-run/steps.json"
REPORT = "5-check/report.json"
PAGE = "report.html"


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

    trainer.train(**asdict(run.config.train), out=run.path / "1-train", progress=tell)


def fold(run: RunDir, step: Step) -> None:
    """Fold the trained network and record its answers: the reference of every check."""
    from ..training.data.dataset import stratified_split
    from ..training.handover import reference
    from ..training.handover.fold import fold as fold_network
    from ..training.loop import trainer

    dataset = _dataset(run)
    folded = fold_network(trainer.load_network(run.path / "1-train"), **_form(run, dataset))
    reference.save_folded(folded, run.path / FOLDED)
    # Accuracy is measured on every test image; the reference keeps a sample of each class, so that it fits a device.
    logits = reference.record(folded, _inputs(run, dataset, dataset.test_images))["logits"]
    chosen = np.arange(len(dataset.test_labels))
    if run.config.fold.samples < len(chosen):
        fraction = run.config.fold.samples / len(chosen)
        _, chosen = stratified_split(dataset.test_labels, fraction, seed=run.config.train.seed)
    inputs = _inputs(run, dataset, dataset.test_images[chosen])
    recorded = reference.record(folded, inputs)
    with atomic_path(run.path / REFERENCE) as part:
        arrays: dict[str, Any] = {"inputs": inputs, "labels": dataset.test_labels[chosen], **recorded}
        np.savez_compressed(part, **arrays)
    accuracy = float(np.mean(np.argmax(logits, axis=1) == dataset.test_labels))
    write_json(run.path / FOLDING, {"accuracy": accuracy, "images": len(logits), "samples": len(chosen)})


def export(run: RunDir, step: Step) -> None:
    """Write the folded network as model.onnx, with all that a user of the file needs to know."""
    from ..export.inline import OLDEST_OPSET, inline_file
    from ..export.writer import export_onnx
    from ..training.handover import reference
    from ..training.loop import trainer

    dataset = _dataset(run)
    network = trainer.load_network(run.path / "1-train")
    folded = reference.load_folded(network, run.path / FOLDED, **_form(run, dataset))
    training = _read(run, TRAINING)
    part = "validation" if run.config.train.holdout else "training"
    stream = "validation_latent_stream" if run.config.train.holdout else "latent_stream"
    metadata = {
        "labels": list(dataset.classes),
        "input": dataset.input_metadata() | ({} if run.config.fold.input == "float32" else {"layout": "NHWC"}),
        "metrics": {
            "latent_stream": training[stream],
            "training": training[part],
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
    example = _inputs(run, dataset, dataset.test_images[:1])
    top_k = run.config.export.top_k
    if top_k > len(dataset.classes):
        raise ConfigError(f"export.top_k = {top_k}, but {dataset.name} has {len(dataset.classes)} classes")
    plain_opset = run.config.export.plain_opset
    if 0 < plain_opset < OLDEST_OPSET:
        raise ConfigError(f"export.plain_opset = {plain_opset}, but {OLDEST_OPSET} is the oldest (0: no plain file)")
    labels = dataset.classes if top_k else None
    export_onnx(folded, example, run.path / MODEL, metadata=metadata, top_k=top_k, labels=labels)
    (run.path / PLAIN).unlink(missing_ok=True)
    if plain_opset:
        inline_file(run.path / MODEL, run.path / PLAIN, opset=plain_opset)


def _form(run: RunDir, dataset: "Dataset") -> dict[str, Any]:
    """Return the keywords of ``fold``: what the deployed network reads, and how its float layers are stored."""
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
    from ..runtime.session.session import InferenceSession

    session = InferenceSession(run.path / MODEL, num_threads=run.config.run.threads)
    with np.load(run.path / REFERENCE, allow_pickle=False) as reference:
        inputs, labels = reference["inputs"], reference["labels"]
    name = session.get_inputs()[0].name
    batch, parts = 64, []
    for start in range(0, len(inputs), batch):
        parts.append(session.run(None, {name: inputs[start : start + batch]})[0])
        step(min(start + batch, len(inputs)), len(inputs), f"{min(start + batch, len(inputs))} images")
    logits = np.concatenate(parts)
    with atomic_path(run.path / LOGITS) as part:
        np.save(part, logits)
    accuracy = float(np.mean(np.argmax(logits, axis=1) == labels))
    steps = [asdict(info) for info in session.get_steps()]
    write_json(run.path / STEPS, {"accuracy": accuracy, "steps": steps})


def check(run: RunDir, step: Step) -> None:
    """Compare the runtime with the oracle, the folded reference and training; out of tolerance is a result too."""
    from ..runtime.proof.accuracy import check as check_model

    section = run.config.check
    report = check_model(
        run.path / MODEL,
        run.path / REFERENCE,
        max_logit_difference=section.max_logit_difference,
        max_flipped_share=section.max_flipped_share,
        min_top1_agreement=section.min_top1_agreement,
        max_accuracy_drop=section.max_accuracy_drop,
        oracle_samples=section.oracle_samples,
        latency_runs=section.latency_runs,
        num_threads=run.config.run.threads,
    )
    write_json(run.path / REPORT, report)


def report(run: RunDir, step: Step) -> None:
    """Write report.html."""
    from .report import write_report

    write_report(run)


STAGES = (
    Stage("train", "1-train", (), (NETWORK, STRUCTURE, TRAINING, HISTORY), train),
    Stage("fold", "2-fold", (NETWORK, STRUCTURE), (FOLDED, FOLDING, REFERENCE), fold),
    Stage("export", "3-export", (STRUCTURE, TRAINING, FOLDED, FOLDING), (MODEL,), export),
    Stage("run", "4-run", (MODEL, REFERENCE), (LOGITS, STEPS), execute),
    Stage("check", "5-check", (MODEL, REFERENCE), (REPORT,), check),
    Stage("report", ".", (HISTORY, MODEL, REFERENCE, LOGITS, STEPS, REPORT), (PAGE,), report),
)
