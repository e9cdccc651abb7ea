"""Slices of everything and writes over everything are taken out; whatever takes or writes less stays, and is right."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from latentbit.export.importing.conversion import convert
from latentbit.runtime import InferenceSession

from ...support.import_graphs import Source, run

ALL = np.iinfo(np.int64).max


def written(
    axis: int = 0, start: int = 0, end: int = ALL, step: int = 1, from_row: int = 0, reduction: str = "none"
) -> onnx.ModelProto:
    """Return ``y = relu(x); y[rows] = y[rows] + 1`` between slices, as torch writes it, with ``rows`` from a row on."""
    g = Source(["N", 4, 5, 6])
    whole = [g.constant(np.array([number])) for number in (start, end, axis, step)]
    y = g("Slice", g("Relu", "x"), *whole)
    size = g("Gather", g("Shape", y), g.constant(np.array(0)))
    rows = g("Range", g.constant(np.array(from_row)), size, g.constant(np.array(1)))
    rows = g("Slice", rows, *(g.constant(np.array([number])) for number in (0, ALL, 0)))
    there = [g.constant(np.array([number])) for number in (from_row, ALL, 0)]
    values = g("Sigmoid", g("Slice", y, *there))
    out = g("ScatterND", y, g("Unsqueeze", rows, g.constant(np.array([-1]))), values, reduction=reduction)
    return g.model(g("Slice", out, *(g.constant(np.array([number])) for number in (0, ALL))), 4)


@pytest.mark.parametrize(
    ("model", "left"),
    [
        (written(), {"Relu", "Sigmoid"}),
        (written(axis=-1), {"Relu", "Sigmoid"}),
        (written(axis=1, start=1), None),
        (written(axis=1, end=3), None),
        (written(axis=2, start=-2), None),
        (written(axis=2, step=2), None),
        (written(axis=3, start=-1, end=-ALL, step=-1), None),
        (written(from_row=1), None),
        (written(reduction="add"), None),
    ],
)  # fmt: skip
def test_only_what_changes_nothing_is_taken_out(model: onnx.ModelProto, left: set[str] | None, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "source.onnx")
    convert(tmp_path / "source.onnx", tmp_path / "target.onnx")
    ops = {node.op_type for node in onnx.load(tmp_path / "target.onnx").graph.node}
    assert ops - {"Slice"} == left if left else ops & {"Slice", "ScatterND"}
    x = np.random.default_rng(3).standard_normal((3, 4, 5, 6)).astype(np.float32)
    (found,) = InferenceSession(tmp_path / "target.onnx").run(None, {"x": x})
    np.testing.assert_array_equal(found, run(model, x))
