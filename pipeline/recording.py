"""What the run directory keeps of outputs: the reference of the folded network, and the answers of the runtime."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.files import atomic_path
from ..runtime.metrics import figures
from .paths import ANSWERS, REFERENCE
from .rundir import RunDir
from .sampling import stratified

if TYPE_CHECKING:
    from ..runtime.proof.reference import Reference
    from ..training.data.own import OwnData

__all__ = ["choose_samples", "class_names", "measured", "read_answers", "write_answers", "write_reference"]

Arrays = Mapping[str, NDArray[Any]]


def choose_samples(run: RunDir, targets: NDArray[Any] | Arrays, count: int) -> NDArray[np.int64]:
    """Return which of ``count`` test samples the reference keeps: the same share of every class, if there are any."""
    return stratified(_class_numbers(targets), run.config.fold.samples, of=count)


def write_reference(
    run: RunDir, inputs: NDArray[Any], targets: NDArray[Any] | Arrays, recorded: Arrays, chosen: NDArray[np.int64]
) -> dict[str, Any]:
    """Write the reference, and return the figures of the folded network on all test samples.

    recorded: the arrays of :func:`latentbit.runtime.proof.recording.record`: outputs of all samples, signs of the
    chosen ones. The figures: ``accuracy`` and ``classes`` (how many), None where outputs are no class scores;
    ``metrics`` if there is a metric; ``images`` and ``samples``, how many samples there are and how many are kept.
    """
    from ..runtime.proof.reference import grouped, ungrouped

    outputs = {"logits": recorded["logits"]} if "logits" in recorded else grouped(recorded, "outputs")
    signs = {name: value for name, value in recorded.items() if name.startswith(("signs/", "shape/"))}
    labels, scores = _class_numbers(targets), outputs.get("logits")
    if scores is None or scores.ndim != 2 or scores.shape[1] < 2:
        labels = None
    truth = ungrouped("targets", targets) if labels is None else {"labels": labels}
    answers = outputs if "logits" in outputs else ungrouped("outputs", outputs)
    kept = {name: value[chosen] for name, value in (truth | dict(answers)).items()}
    arrays: dict[str, Any] = {"inputs": inputs[chosen], **kept, **signs}
    with atomic_path(run.path / REFERENCE) as part:
        np.savez_compressed(part, **arrays)
    right = None if labels is None or scores is None else float(np.mean(np.argmax(scores, axis=1) == labels))
    classes = None if labels is None or scores is None else scores.shape[1]
    found = {"accuracy": right, "classes": classes, "images": len(inputs), "samples": len(chosen)}
    return found | ({"metrics": measured(run, outputs, targets)} if run.config.train.metric else {})


def measured(run: RunDir, outputs: Arrays, targets: Any) -> dict[str, float]:
    """Return what the metric of the run finds of outputs."""
    settings = run.config.train
    return figures(settings.metric, settings.import_function("metric"), outputs, targets)


def class_names(data: "OwnData", count: int) -> list[str]:
    """Return the names of the user's classes: those that his data state, else numbers."""
    whole = getattr(data.train, "dataset", data.train)
    named = [str(name) for name in getattr(whole, "classes", ())]
    return named if len(named) == count else [str(number) for number in range(count)]


def write_answers(run: RunDir, outputs: Arrays) -> None:
    """Write what the runtime answered, under the names of the reference."""
    arrays: dict[str, Any] = dict(outputs)
    with atomic_path(run.path / ANSWERS) as part:
        np.savez_compressed(part, **arrays)


def read_answers(run: RunDir, reference: "Reference") -> dict[str, NDArray[Any]]:
    """Return the answers in the order of the reference."""
    with np.load(run.path / ANSWERS, allow_pickle=False) as stored:
        return {name: stored[name] for name in reference.outputs}


def _class_numbers(targets: NDArray[Any] | Arrays) -> NDArray[np.int64] | None:
    """Return targets that are class numbers: one integer a sample."""
    if isinstance(targets, Mapping) or targets.ndim != 1 or targets.dtype.kind not in "iu":
        return None
    return targets.astype(np.int64)
