"""A torch network folded to a plain file, its answers in stock onnxruntime, and that file packed."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentbit.export import convert, export_onnx
from latentbit.runtime.proof.recording import record

from .import_graphs import run

__all__ = ["answers", "folded", "packed", "record_of"]


def folded(network: Any, example: Any, folder: Path, **options: Any) -> Path:
    """Write the folded network; ``options`` as ``export_onnx`` takes them."""
    return export_onnx(network, example, folder / "folded.onnx", plain=True, **options)


def packed(plain: Path) -> Path:
    """Pack what :func:`folded` wrote, beside it."""
    convert(plain, plain.with_name("packed.onnx"), weight_only=False)
    return plain.with_name("packed.onnx")


def answers(plain: Path, inputs: Any) -> NDArray[Any]:
    """Return what a file answers to a tensor or an array."""
    return run(plain, np.asarray(inputs))


def record_of(plain: Path, inputs: NDArray[Any], **options: Any) -> dict[str, NDArray[Any]]:
    """Return the reference of a folded network."""
    return record(plain, inputs, num_threads=1, **options)
