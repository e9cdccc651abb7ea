"""What a run holds, read once for all sections of the report. An older run holds less, and its page says less."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import DataError, LatentbitError
from ...runtime.files import parse_json, sha256_file
from ...runtime.proof.report import CheckReport
from ..paths import HISTORY, MODEL, REFERENCE, REPORT, STEPS, STUDY
from ..recording import read_answers
from ..rundir import RunDir

if TYPE_CHECKING:
    from ...export.importing.inspection import LayerInfo
    from ...runtime.proof.reference import Reference

__all__ = ["Facts", "read_facts"]


@dataclass(frozen=True)
class Facts:
    """A run and the contents of its files.

    ``steps`` are those of steps.json; ``history`` has an entry an epoch; ``about`` is what the model file says of
    itself, by name; ``layers`` are those of the model file, by name; ``study`` is the comparison of features in which
    the run took part, None where there was none.
    """

    run: RunDir
    report: CheckReport
    steps: list[dict[str, Any]]
    history: list[dict[str, Any]]
    about: Mapping[str, Any]
    layers: "Mapping[str, LayerInfo]"
    reference: "Reference"
    answers: Mapping[str, NDArray[Any]]
    model_sha256: str
    study: Mapping[str, Any] | None = None

    @property
    def names(self) -> list[str] | None:
        """The names of the classes, None where the outputs are no class scores."""
        return list(self.about["labels"]) if self.reference.class_scores and "labels" in self.about else None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The deployed answers to the reference's images, class numbers ``[S]``."""
        found: NDArray[np.int64] = np.argmax(self.answers["logits"], axis=1)
        return found


def read_facts(run: RunDir) -> Facts:
    """Read the files of a run whose stages up to the check are complete. Raises :class:`DataError`, StorageError."""
    import onnx

    from ...runtime.proof.reference import load_reference

    model = onnx.load(run.path / MODEL)
    about = {entry.key.removeprefix("latentbit."): parse_json(entry.value) for entry in model.metadata_props}
    reference = load_reference(run.path / REFERENCE)
    return Facts(
        run,
        CheckReport.from_json(_json(run, REPORT)),
        _json(run, STEPS)["steps"],
        [parse_json(line) for line in (run.path / HISTORY).read_text(encoding="utf-8").splitlines()],
        about,
        _layers(run, model.graph.input[0].name, reference.inputs.shape[1:]),
        reference,
        read_answers(run, reference),
        sha256_file(run.path / MODEL),
        _study(run),
    )


def _json(run: RunDir, name: str) -> Any:
    return parse_json((run.path / name).read_text(encoding="utf-8"))


def _layers(run: RunDir, entry: str, shape: tuple[int, ...]) -> "dict[str, LayerInfo]":
    """Return the layers of the model file by name; none where they cannot be told: the rest of the page still can."""
    from ...export.importing.inspection import inspect

    try:
        found = inspect(run.path / MODEL, shapes={entry: (1, *shape)})
    except LatentbitError:
        return {}
    return {layer.name: layer for layer in found.layers}


def _study(run: RunDir) -> Mapping[str, Any] | None:
    if not (run.path / STUDY).exists():
        return None
    found = _json(run, STUDY)
    if not isinstance(found, dict) or found.get("version") != 1:
        raise DataError(f"{run.path / STUDY} is of another version of latentbit: delete it, or make it anew")
    return found
