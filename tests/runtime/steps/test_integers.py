"""Convolutions of one bit a weight over integers of eight bits: what proves them, and their exact sums."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.errors import InputError
from latentbit.runtime.intake.reading import load
from latentbit.runtime.plan.graph import Graph
from latentbit.runtime.plan.integers import scale_of_bytes
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps.choice import KernelChoice

from ...support.graphs import GraphMaker

here = pytest.mark.skipif(
    KernelChoice({}).integers(np.ones((8, 1, 1, 1), np.int16)) is None, reason="this CPU has no dot products of bytes"
)
FLOAT, DOUBLE = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE


def number(maker: GraphMaker, value: float, dtype: Any = np.float32) -> str:
    name = maker.constant(np.asarray(value, np.float32 if dtype is np.float64 else dtype))
    if dtype is np.float64:
        maker.constants[-1].CopyFrom(onnx.numpy_helper.from_array(np.asarray(value, dtype), name))
    return name


def rounded(maker: GraphMaker, x: str, low: float, high: float, zero: float = 0.0, dtype: type = np.float32) -> str:
    value = maker.node("Clip", [x, number(maker, low, dtype), number(maker, high, dtype)])
    value = maker.node("Round", [value])
    return maker.node("Sub", [value, number(maker, zero)]) if zero else value


def quantised(maker: GraphMaker, form: str, step: float) -> tuple[str, Any]:
    """Write integers of eight bits times a step in a form of files; return the value and the input's dtype."""
    if form == "pixels":
        return maker.node("Div", [maker.node("Cast", ["input"], to=FLOAT), number(maker, 1 / step)]), np.uint8
    if form == "dequantised":
        zero = number(maker, 128, np.uint8)
        value = maker.node("QuantizeLinear", ["input", number(maker, step), zero])
        return maker.node("DequantizeLinear", [value, number(maker, step), zero]), np.float32
    value = maker.node("Div", ["input", number(maker, step)])
    if form == "clipped":
        value = maker.node("Round", [value])
        value = maker.node("Clip", [value, number(maker, -100), number(maker, 155)])
        return maker.node("Mul", [number(maker, step), value]), np.float32
    if form == "double":
        value = rounded(maker, maker.node("Cast", [value], to=DOUBLE), 0, 255, dtype=np.float64)
        value = maker.node("Mul", [value, number(maker, step, np.float64)])
        return maker.node("Cast", [value], to=FLOAT), np.float32
    least, most, middle = {"unsigned": (0, 255, 0), "signed": (-128, 127, 0), "shifted": (0, 255, 128)}[form]
    return maker.node("Mul", [rounded(maker, value, least, most, middle), number(maker, step)]), np.float32


FORMS = ["unsigned", "signed", "shifted", "clipped", "double", "pixels", "dequantised"]


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    kernel = draw(st.integers(1, 3))
    return {
        "seed": draw(st.integers(0, 2**31)),
        "form": draw(st.sampled_from(FORMS)),
        "channels": draw(st.sampled_from([1, 3, 5, 16, 33])),
        "outputs": draw(st.sampled_from([8, 16, 24, 64, 72])),
        "kernel": (kernel, draw(st.integers(1, 3))),
        "strides": (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        "pads": tuple(draw(st.integers(0, 2)) for _ in range(4)),
        "size": (draw(st.integers(3, 9)), draw(st.integers(3, 9))),
        "step": draw(st.sampled_from([1.0, 0.25, 2.0**-9])),
        "batch": draw(st.integers(1, 2)),
        "threads": draw(st.integers(1, 2)),
    }


def weight_only(maker: GraphMaker, value: str, case: dict[str, Any]) -> str:
    """Add the layer: scale a power of two and bias whole, so that float32 rounds nothing, in whatever order."""
    outputs = case["outputs"]
    weight = maker.signs(outputs, case["channels"], *case["kernel"])
    scale, bias = 2.0 ** maker.rng.integers(-3, 3, outputs), maker.rng.integers(-9, 9, outputs)
    scale *= maker.rng.choice([-1, 1], outputs)
    geometry = {"strides": case["strides"], "pads": case["pads"], "dilations": (1, 1), "group": 1}
    return maker.binary("BinaryWeightConv2d", value, weight, scale, bias, **geometry)


@here
@given(cases())
@settings(max_examples=60, deadline=None)
def test_sums_of_bytes_are_those_of_the_file(case: dict[str, Any]) -> None:
    """Behind the layer a binary one takes its signs as bits; the floats are an output too."""
    maker = GraphMaker(case["seed"])
    value, dtype = quantised(maker, case["form"], case["step"])
    floats = weight_only(maker, value, case)
    behind = maker.conv(maker.binarize(floats, case["outputs"]), maker.signs(9, case["outputs"], 1, 1), unit=True)
    size = ["N", case["channels"], *case["size"]]
    elements = {"input": onnx.TensorProto.UINT8} if dtype is np.uint8 else {}
    model = maker.model({"input": size}, [behind, floats])
    for info in model.graph.input:
        info.type.tensor_type.elem_type = elements.get(info.name, FLOAT)
    shape = (case["batch"], *size[1:])
    x = maker.rng.integers(0, 256, shape).astype(np.uint8)
    if dtype is np.float32:
        x = (maker.rng.normal(20, 120, shape) * case["step"]).astype(np.float32)
    session = InferenceSession(model.SerializeToString(), num_threads=case["threads"])
    assert [step.kernel for step in session.get_steps() if step.kind == "integer"] == ["quads"]
    if case["form"] == "dequantised":  # onnx.reference knows no DequantizeLinear of this opset
        expected = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    else:
        expected = ReferenceEvaluator(model).run(None, {"input": x})
    for found, wanted in zip(session.run(None, {"input": x}), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def proven(write: Callable[[GraphMaker], str]) -> tuple[float, int] | None:
    maker = GraphMaker()
    value = write(maker)
    model = load(maker.model({"input": ["N", 3, 4, 4]}, [value]).SerializeToString())
    return scale_of_bytes(model, Graph(model), value)


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ("unsigned", (0.25, 0)),
        ("signed", (0.25, 128)),
        ("shifted", (0.25, 128)),
        ("clipped", (0.25, 100)),
        ("double", (0.25, 0)),
        ("dequantised", (0.25, 128)),
    ],
)
def test_forms_that_prove_eight_bits(form: str, found: tuple[float, int]) -> None:
    assert proven(lambda maker: quantised(maker, form, 0.25)[0]) == found


@pytest.mark.parametrize(
    "write",
    [
        lambda maker: rounded(maker, "input", 0, 256),
        lambda maker: rounded(maker, "input", -129, 127),
        lambda maker: rounded(maker, "input", -1, 255),
        lambda maker: rounded(maker, "input", 0, np.inf),
        lambda maker: rounded(maker, "input", 0, 200, 0.5),
        lambda maker: rounded(maker, "input", 9, 3),
        lambda maker: maker.node("Round", ["input"]),
        lambda maker: maker.node("Clip", ["input", number(maker, 0), number(maker, 255)]),
        lambda maker: maker.node("Mul", [rounded(maker, "input", 0, 9), maker.per_channel(3)]),
        lambda maker: maker.node("Mul", [rounded(maker, "input", 0, 9), number(maker, 0)]),
        lambda maker: maker.node("Mul", [rounded(maker, "input", 0, 9), number(maker, 1e-30)]),
        lambda maker: maker.node("Div", [number(maker, 1), rounded(maker, "input", 0, 9)]),
        lambda maker: maker.node("Sub", [number(maker, 9), rounded(maker, "input", 0, 9)]),
        lambda maker: maker.node("Neg", ["input"]),
    ],
)
def test_what_is_no_integer_of_eight_bits(write: Callable[[GraphMaker], str]) -> None:
    assert proven(write) is None


@here
def test_a_scale_that_is_no_power_of_two_is_rounded_once() -> None:
    maker = GraphMaker(3)
    value, _ = quantised(maker, "signed", 0.013)
    case = {"outputs": 16, "channels": 64, "kernel": (3, 3), "strides": (1, 1), "pads": (1, 1, 1, 1)}
    floats = weight_only(maker, value, case)
    behind = maker.conv(maker.binarize(floats, 16), maker.signs(9, 16, 1, 1), unit=True)
    model = maker.model({"input": [1, 64, 8, 8]}, [behind, floats])
    x = maker.floats(1, 64, 8, 8)
    session = InferenceSession(model.SerializeToString())
    assert any(step.kind == "integer" for step in session.get_steps())
    expected = ReferenceEvaluator(model).run(None, {"input": x})[1]
    np.testing.assert_allclose(
        session.run(None, {"input": x})[1], expected, rtol=1e-6, atol=1e-5 * np.abs(expected).max()
    )


@here
def test_a_nan_has_no_answer() -> None:
    maker = GraphMaker(4)
    value = maker.node("Sub", ["input", "input"])  # infinity less infinity
    value = rounded(maker, value, 0, 255)
    case = {"outputs": 8, "channels": 3, "kernel": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0)}
    floats = weight_only(maker, value, case)
    behind = maker.conv(maker.binarize(floats, 8), maker.signs(9, 8, 1, 1), unit=True)
    session = InferenceSession(maker.model({"input": [1, 3, 4, 5]}, [behind]).SerializeToString())
    x = maker.floats(1, 3, 4, 5)
    session.run(None, {"input": x})
    x[0, 1, 2, 3] = np.inf
    with pytest.raises(InputError, match="it reads NaN, which is no integer of eight bits; feed smaller values"):
        session.run(None, {"input": x})
    session.run(None, {"input": maker.floats(1, 3, 4, 5)})


@here
@pytest.mark.parametrize(
    ("channels", "size", "taken"), [(64, 56, True), (3, 56, False), (64, 8, False)], ids=["large", "few", "small"]
)
def test_between_floats_a_layer_is_taken_where_it_pays(channels: int, size: int, taken: bool) -> None:
    maker = GraphMaker(5)
    case = {"outputs": 64, "channels": channels, "kernel": (3, 3), "strides": (1, 1), "pads": (1, 1, 1, 1)}
    floats = weight_only(maker, rounded(maker, "input", 0, 255), case)
    session = InferenceSession(maker.model({"input": [1, channels, size, size]}, [floats]).SerializeToString())
    assert any(step.kind == "integer" for step in session.get_steps()) == taken
