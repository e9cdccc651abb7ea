"""Nearest upsampling between packed layers: pixels repeated by our kernels, where the factors are whole."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.session import InferenceSession

from ...support.graphs import GraphMaker
from ...support.natives import answers, float_steps, unit

FLOOR: dict[str, Any] = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": "nearest"}


def upsampled(
    maker: GraphMaker, channels: int, size: tuple[int, int], wanted: tuple[int, int], how: str, **attributes: Any
) -> onnx.ModelProto:
    """Return a layer, its output resized, another value added to it and a layer behind."""
    value, sizes = unit(maker, "input", 8, channels), np.array(wanted, np.int64)
    if how == "scales":
        scales = np.array([1, 1, wanted[0] / size[0], wanted[1] / size[1]], np.float32)
        given = ["", maker.constant(scales)]
    elif how == "sizes":
        given = ["", "", maker.constant(np.array([2, channels, *wanted]))]
    else:
        shape = maker.node("Shape", [value], start=0, end=2)
        given = ["", "", maker.node("Concat", [shape, maker.constant(sizes)], axis=0)]
    value = maker.node("Resize", [value, *given], **attributes)
    joined = maker.node("Concat", [value, maker.node("Relu", [value])], axis=1)
    model = maker.model({"input": [2, 8, *size]}, [value, unit(maker, joined, 2 * channels, 8)])
    known = {info.name for info in model.graph.value_info}
    if how == "torch":  # whose exporter states the shape, which onnx cannot infer
        shapes = {value: channels, maker.nodes[-4].output[0]: channels, joined: 2 * channels}
        for name, width in shapes.items():
            if name in known:
                model.graph.value_info.remove(next(info for info in model.graph.value_info if info.name == name))
            info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, width, *wanted])
            model.graph.value_info.append(info)
    return model


@given(
    st.integers(0, 2**31),
    st.sampled_from([1, 8, 24, 40]),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from(["scales", "sizes", "torch"]),
    st.sampled_from([FLOOR, {"mode": "nearest"}]),
    st.sampled_from([1, 2]),
)
@settings(max_examples=30, deadline=None)
def test_pixels_are_repeated_as_onnxruntime_does(
    seed: int,
    channels: int,
    size: tuple[int, int],
    factors: tuple[int, int],
    how: str,
    attributes: dict[str, Any],
    threads: int,
) -> None:
    maker = GraphMaker(seed)
    wanted = size[0] * factors[0], size[1] * factors[1]
    model = upsampled(maker, channels, size, wanted, how, **attributes)
    assert "Resize" not in float_steps(model)
    x = maker.floats(2, 8, *size)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    for found, right in zip(answers(model, x, threads), expected, strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    ("wanted", "attributes"),
    [
        ((6, 9), FLOOR),
        ((2, 3), FLOOR),
        ((8, 12), FLOOR | {"nearest_mode": "ceil"}),
        ((8, 12), FLOOR | {"mode": "linear"}),
        ((8, 12), FLOOR | {"coordinate_transformation_mode": "align_corners"}),
    ],
)
def test_what_does_more_than_repeat_pixels_stays_with_onnxruntime(
    wanted: tuple[int, int], attributes: dict[str, Any]
) -> None:
    maker = GraphMaker(1)
    model = upsampled(maker, 8, (4, 6), wanted, "sizes", **attributes)
    assert "Resize" in float_steps(model)
    x = maker.floats(2, 8, 4, 6)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    for found, right in zip(InferenceSession(model.SerializeToString()).run(None, {"input": x}), expected, strict=True):
        np.testing.assert_array_equal(found, right)
