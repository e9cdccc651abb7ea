"""An activation of several levels: copies of a value, each with thresholds of its own, are packed and never made."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime import InferenceSession

from ...support.graphs import USABLE, GraphMaker
from ...support.import_graphs import run


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, *USABLE]),
    st.sampled_from([1, 4, 8, 12, 16, 24, 64]),
    st.integers(2, 4),
    st.sampled_from(["none", "before", "behind"]),
    st.integers(-1, 1),
    st.booleans(),
)
def test_copies_are_packed_as_onnxruntime_packs_them(
    seed: int, kernel: Any, channels: int, copies: int, pool: str, pad_value: int, first: bool
) -> None:
    """``first``: a binary layer makes the value, in the same segment."""
    maker = GraphMaker(seed)
    value = "x"
    if first:
        value = maker.conv(maker.binarize(value, channels), maker.signs(channels, channels, 1, 1))
    if pool == "before":
        value = maker.node("MaxPool", [value], kernel_shape=[2, 2], strides=[2, 2])
    value = maker.binarize(maker.node("Concat", [value] * copies, axis=1), channels * copies)
    if pool == "behind":
        value = maker.node("MaxPool", [value], kernel_shape=[2, 2], strides=[1, 1])
    weight = maker.signs(9, channels * copies, 3, 3)
    value = maker.conv(value, weight, pads=(1, 1, 1, 1), pad_value=pad_value, unit=True)
    model = maker.model({"x": ["N", channels, 6, 7]}, [value])
    x = maker.floats(2, channels, 6, 7)
    with TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "m.onnx")
        session = InferenceSession(Path(folder) / "m.onnx", kernel=kernel)
        (found,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(found, run(model, x))
    concat = any(step.kind == "float" and "Concat" in step.ops for step in session.get_steps())
    assert concat == (channels % 8 != 0), session.get_steps()


@pytest.mark.parametrize("axis", [1, -1, 0])
def test_copies_of_rows(axis: int, tmp_path: Path) -> None:
    maker = GraphMaker(axis + 1)
    rows, width = (2, 16) if axis == 0 else (1, 32)
    value = maker.binarize(maker.node("Concat", ["x", "x"], axis=axis), width, rank=2)
    model = maker.model({"x": [1, 16]}, [maker.dense(value, maker.signs(5, width))])
    onnx.save(model, tmp_path / "m.onnx")
    x = maker.floats(1, 16)
    (found,) = InferenceSession(tmp_path / "m.onnx").run(None, {"x": x})
    assert found.shape == (rows, 5)
    np.testing.assert_array_equal(found, run(model, x))
