"""The reference: what the folded network answered, recorded once, for every deployment to be compared with it.

A file of it (npz, no pickles) holds ``inputs``; ``logits`` for a network of one output, whatever its name, else
``outputs/NAME`` for each; ``labels`` where the targets are class numbers, else ``targets`` or ``targets/NAME``, or
neither; ``metric/NAME``, figures of a metric of the user's on these answers; and for each binary layer ``signs/NAME``,
packed, with ``shape/NAME``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import pack_signs, unpack_signs
from ..errors import DataError, first_line
from ..files import atomic_path, sha256_file
from ..intake.limits import current_limits

__all__ = ["ONLY", "Reference", "grouped", "load_reference", "save_reference", "ungrouped"]

ONLY = "logits"
"""Under this name the first output of a model is recorded where there is no other; its name in the file is free."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Reference:
    """Recorded answers of the folded network to ``S`` samples; :meth:`of` makes one from arrays.

    ``inputs`` ``[S, …]`` as the model takes them; ``outputs`` ``[S, …]`` by name, ``{"logits": …}`` for one output;
    ``labels`` int64 ``[S]`` where the targets are class numbers; ``targets`` any others, an array or several by name;
    ``signs`` maps a binary layer to what it read, int8 ±1 ``[S·k, …]``; ``metrics`` are figures of a user's metric on
    these outputs; ``sha256`` is the digest of the file, empty for arrays.
    """

    inputs: NDArray[Any]
    outputs: Arrays
    labels: NDArray[np.int64] | None = None
    targets: NDArray[Any] | Arrays | None = None
    signs: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        parts: dict[str, NDArray[Any]] = {"labels": self.labels} if self.labels is not None else {}
        parts |= ungrouped("targets", self.targets) if self.targets is not None else {}
        parts |= {name: value for name, value in self.outputs.items()}
        if not self.outputs:
            raise DataError("a reference needs at least one output")
        if not self.inputs.ndim or not len(self.inputs):
            raise DataError("a reference needs at least one sample in its inputs, along their first axis")
        for name, value in parts.items():
            if not value.ndim or len(value) != len(self.inputs):
                raise DataError(f"inputs and {name} differ in length: {len(self.inputs)} samples, {list(value.shape)}")
            if value.dtype.kind not in "fiub":
                raise DataError(f"{name} holds {value.dtype}, not numbers")
        for name, value in self.signs.items():
            if len(value) % len(self.inputs):
                raise DataError(f"inputs and the signs of {name} differ in length: {list(value.shape)}")
        if self.labels is not None and (self.labels.ndim != 1 or self.labels.dtype.kind not in "iu"):
            raise DataError("labels are class numbers, one integer a sample: give anything else as targets")

    @classmethod
    def of(
        cls,
        inputs: NDArray[Any],
        outputs: NDArray[Any] | Arrays,
        *,
        labels: Any = None,
        targets: Any = None,
    ) -> "Reference":
        """Return the reference of these arrays: what a model shall answer to ``inputs`` ``[S, …]``.

        outputs: ``[S, …]`` of the model's first output, or those of several by their names in the file.
        labels: class numbers ``[S]``; with them the output is read as class scores, and accuracy is measured.
        targets: what a metric compares the outputs with, an array or several by name.
        Raises :class:`DataError` where the arrays do not fit each other. Nothing is known of the signs inside, so no
        difference is excused by a sign that rounding turned.
        """
        several = {name: np.asarray(value) for name, value in outputs.items()} if isinstance(outputs, Mapping) else None
        named = (
            {name: np.asarray(value) for name, value in targets.items()} if isinstance(targets, Mapping) else targets
        )
        return cls(
            np.asarray(inputs),
            {ONLY: np.asarray(outputs)} if several is None else several,
            None if labels is None else _class_numbers(np.asarray(labels)),
            named if named is None or isinstance(named, Mapping) else np.asarray(named),
        )

    @property
    def logits(self) -> NDArray[Any]:
        """The output, where there is one."""
        return self.outputs[ONLY]

    @property
    def truth(self) -> NDArray[Any] | Arrays | None:
        """Labels or targets, as a metric takes them."""
        return self.targets if self.labels is None else self.labels

    @property
    def class_scores(self) -> bool:
        """Whether the outputs are scores of classes, ``[S, classes]``, of which the largest is the answer."""
        scores = self.outputs.get(ONLY)
        return (
            self.labels is not None
            and scores is not None
            and len(self.outputs) == 1
            and scores.ndim == 2
            and scores.shape[1] > 1
        )

    def take(self, rows: NDArray[np.int64]) -> "Reference":
        """Return the reference of some samples. Figures of a metric are of all samples, and left out."""
        targets = self.targets
        if targets is not None:
            targets = (
                {name: value[rows] for name, value in targets.items()}
                if isinstance(targets, Mapping)
                else targets[rows]
            )
        return Reference(
            self.inputs[rows],
            {name: value[rows] for name, value in self.outputs.items()},
            None if self.labels is None else self.labels[rows],
            targets,
            {name: self.signs_of(name, rows) for name in self.signs},
        )

    def signs_of(self, layer: str, rows: NDArray[np.int64] | slice) -> NDArray[np.int8]:
        """Return what a layer read of some samples; where frames were put into the batch, it read several of each."""
        signs = self.signs[layer]
        samples: NDArray[np.int8] = signs.reshape(len(self.inputs), -1, *signs.shape[1:])[rows]
        return samples.reshape(-1, *signs.shape[1:])


def ungrouped(group: str, values: NDArray[Any] | Arrays) -> dict[str, NDArray[Any]]:
    """Return an array under the name of its group, several under ``group/NAME``, as they stand in the file."""
    if isinstance(values, Mapping):
        return {f"{group}/{name}": value for name, value in values.items()}
    return {group: values}


def grouped(arrays: Arrays, group: str) -> dict[str, NDArray[Any]]:
    """Return the arrays ``group/NAME`` by their names."""
    return {name.removeprefix(f"{group}/"): value for name, value in arrays.items() if name.startswith(f"{group}/")}


def load_reference(path: str | PathLike[str]) -> Reference:
    """Read a reference file (npz, no pickles). Raises DataError where it is missing, corrupt or incomplete."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        digest = sha256_file(path)
    except FileNotFoundError:
        raise DataError(f"there is no reference file {fspath(path)}; record it with the stage fold") from None
    except Exception as error:
        raise DataError(f"{fspath(path)} is no reference file, or it is corrupt ({error}); copy it again") from None
    try:
        return _read(arrays, digest)
    except (DataError, TypeError, ValueError, IndexError, OverflowError) as error:  # arrays of any type and shape
        raise DataError(f"reference {fspath(path)}: {first_line(error)}; record it again with the stage fold") from None


def _read(arrays: Arrays, sha256: str = "") -> Reference:
    """Return the reference whose arrays have the names of the file. Raises DataError where it is incomplete."""
    outputs = {ONLY: arrays[ONLY]} if ONLY in arrays else grouped(arrays, "outputs")
    for name, there in (("inputs", "inputs" in arrays), (ONLY, bool(outputs))):
        if not there:
            raise DataError(f"there is no array {name!r}")
    signs = {}
    for layer, packed in grouped(arrays, "signs").items():
        if f"shape/{layer}" not in arrays:
            raise DataError(f"it holds signs but no shape of {layer}")
        length, room = int(arrays[f"shape/{layer}"][0]), current_limits().archive_bytes
        if not packed.size or -(-length // 8) != packed.shape[1]:
            raise DataError(f"it holds no signs of {layer}, or others than its shape says")
        if 8 * packed.size > room:
            raise DataError(f"the signs of {layer} unpack to {8 * packed.size} bytes, past the limit archive_bytes")
        signs[layer] = unpack_signs(packed, length, axis=1)
    metrics = {name: float(value) for name, value in grouped(arrays, "metric").items()}
    targets = arrays.get("targets", grouped(arrays, "targets") or None)
    return Reference(arrays["inputs"], outputs, arrays.get("labels"), targets, signs, metrics, sha256)


def save_reference(reference: Reference, path: str | PathLike[str]) -> None:
    """Write a reference file, whole or not at all. Raises :class:`StorageError`."""
    arrays: dict[str, Any] = {"inputs": reference.inputs}
    if reference.labels is not None:
        arrays["labels"] = reference.labels
    if reference.targets is not None:
        arrays |= ungrouped("targets", reference.targets)
    only = set(reference.outputs) == {ONLY}
    arrays |= reference.outputs if only else ungrouped("outputs", reference.outputs)
    for layer, signs in reference.signs.items():
        arrays[f"signs/{layer}"] = pack_signs(signs, axis=1)
        arrays[f"shape/{layer}"] = np.array(signs.shape[1:], np.int64)
    arrays |= {f"metric/{name}": np.float64(value) for name, value in reference.metrics.items()}
    with atomic_path(Path(path)) as part:
        np.savez_compressed(part, **arrays)


def _class_numbers(labels: NDArray[Any]) -> NDArray[Any]:
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels
