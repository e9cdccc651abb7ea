"""Reading a case of the suite from its files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["Case", "case_names", "read_case"]

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """A model, what to feed it, and what it must answer."""

    path: Path
    feeds: dict[str, NDArray[Any]]
    expected: NDArray[Any]
    tolerance: float


def case_names() -> list[str]:
    """Return the names of all cases, such as ``exact/gemm_7``."""
    return sorted(str(path.parent.relative_to(FOLDER)) for path in FOLDER.glob("*/*/model.onnx"))


def read_case(name: str) -> Case:
    """Read one case."""
    path = FOLDER / name / "model.onnx"
    data = path.parent / "test_data_set_0"
    arrays = [numpy_helper.to_array(onnx.load_tensor(file)) for file in sorted(data.glob("input_*.pb"))]
    names = [value.name for value in onnx.load(path).graph.input]
    expected = numpy_helper.to_array(onnx.load_tensor(data / "output_0.pb"))
    return Case(path, dict(zip(names, arrays, strict=True)), expected, 0.0 if name.startswith("exact") else 1e-5)
