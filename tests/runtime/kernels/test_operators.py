"""Every operator against plain integers, onnx.reference and onnxruntime, on the very file, bit for bit."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.session.session import InferenceSession

from ...support.convolutions import Case
from ...support.graphs import USABLE, GraphMaker


@st.composite
def cases(draw: Any) -> Case:
    kernel = draw(st.tuples(*[st.integers(1, 7)] * 2))
    dilations = draw(st.tuples(*[st.integers(1, 3)] * 2)) if max(kernel) <= 3 else (1, 1)
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    spans = [dilation * (length - 1) + 1 for dilation, length in zip(dilations, kernel, strict=True)]
    size = tuple(max(1, span + draw(st.integers(-1, 6))) for span in spans)
    pads = tuple(max(pad, 1 if size[axis % 2] < spans[axis % 2] else 0) for axis, pad in enumerate(pads))
    group = draw(st.sampled_from([1, 1, 1, 2, 3, 8]))
    return Case(
        batch=draw(st.integers(1, 3)),
        group=group,
        inputs=draw(st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 32, 33, 64, 100])),
        outputs=draw(st.sampled_from([1, 2, 3, 5, 8, 16, 31, 32, 64, 70])),
        kernel=kernel,
        strides=draw(st.tuples(*[st.integers(1, 3)] * 2)),
        pads=pads,
        dilations=dilations,
        size=size,
        pad_value=draw(st.sampled_from([-1, 0, 1])),
    )


@pytest.mark.parametrize("kernel", USABLE)
@given(case=cases(), seed=st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_convolution(kernel: str, case: Case, seed: int) -> None:
    layer = case.layer(seed)
    data = layer.model.SerializeToString()
    session = InferenceSession(data, kernel=kernel)
    found = session.run(None, layer.feeds)
    layer.check(found)
    for ours, theirs in zip(found, ort.InferenceSession(data).run(None, layer.feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    step = session.get_steps()[1]
    assert step.kernel == kernel or f"not {kernel}" in step.reason, (
        "every shape is packed, by another kernel for a reason"
    )


@given(st.integers(1, 300), st.integers(1, 140), st.integers(1, 5), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_dense(inputs: int, outputs: int, batch: int, seed: int) -> None:
    maker = GraphMaker(seed)
    w = maker.signs(outputs, inputs)
    signs = maker.binarize("input", inputs, rank=2)
    model = maker.model({"input": ["N", inputs]}, [maker.dense(signs, w, unit=True), maker.dense(signs, w)])
    x = maker.floats(batch, inputs)
    found = InferenceSession(model.SerializeToString()).run(None, {"input": x})
    threshold = onnx.numpy_helper.to_array(maker.constants[0])
    np.testing.assert_array_equal(found[0], np.where(x >= threshold, 1, -1) @ w.astype(np.int64).T)
    for ours, theirs in zip(
        found, ort.InferenceSession(model.SerializeToString()).run(None, {"input": x}), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf])
def test_binarize_at_the_edge(value: float) -> None:
    maker = GraphMaker()
    signs = maker.node("Binarize", ["input", maker.constant(np.zeros((1, 1, 1), np.float32))], "ai.latentbit")
    out = maker.conv(signs, np.ones((1, 1, 1, 1), np.int8), unit=True)
    session = InferenceSession(maker.model({"input": [1, 1, 1, 1]}, [out]).SerializeToString())
    (found,) = session.run(None, {"input": np.full((1, 1, 1, 1), value, np.float32)})
    assert found.item() == (1 if value >= 0 else -1)


def test_a_window_of_25088_inputs() -> None:
    maker = GraphMaker()
    signs = maker.binarize("input", 512)
    model = maker.model({"input": [1, 512, 7, 7]}, [maker.conv(signs, np.ones((3, 512, 7, 7), np.int8), unit=True)])
    (found,) = InferenceSession(model.SerializeToString()).run(None, {"input": np.full((1, 512, 7, 7), 9, np.float32)})
    assert np.all(found == 512 * 49)
