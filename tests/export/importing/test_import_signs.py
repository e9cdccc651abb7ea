"""Random plain graphs: what is packed answers as the source does, in stock onnxruntime."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentbit.export.importing.conversion import convert
from latentbit.runtime.bits import DOMAIN

from ...support.import_graphs import SIGN_FORMS, Source, run, sign_form

TINY = np.float32(1e-45)  # the smallest subnormal
EDGES = np.array([0.0, -0.0, TINY, -TINY, 1e-38, -1e-38, 1.0, -1.0, np.inf, -np.inf], np.float32)


def values(rng: np.random.Generator, shape: list[int]) -> NDArray[np.float32]:
    """Half normal numbers, half numbers at which sign forms differ."""
    x = rng.standard_normal(shape).astype(np.float32)
    return np.where(rng.random(shape) < 0.5, rng.choice(EDGES, shape), x)


def convert_and_compare(g: Source, output: str, rank: int, x: NDArray[Any], forms: list[str]) -> None:
    with TemporaryDirectory() as folder:
        source = g.save(Path(folder) / "source.onnx", output, rank)
        report = convert(source, Path(folder) / "target.onnx")
        expected = run(source, x, optimise=False)  # as it is written: optimised, a Mul goes into the float weights
        got = run(Path(folder) / "target.onnx", x)
        model = onnx.load(Path(folder) / "target.onnx")
    assert [layer.form for layer in report.layers] == forms, report.layers
    assert all(function.domain == DOMAIN for function in model.functions)
    if all(layer.exact for layer in report.layers):
        np.testing.assert_array_equal(got, expected)
    else:  # scales are composed in float64 and rounded once, the source rounds every product and sum
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("form", SIGN_FORMS)
def test_every_sign_form_is_found_and_keeps_its_zero(form: str) -> None:
    g = Source(["N", EDGES.size])
    signs = sign_form(g, form, "x")
    w = np.where(np.random.default_rng(1).random((EDGES.size, 7)) < 0.5, 1, -1).astype(np.float32)
    y = g("MatMul", signs, g.constant(w))
    x = np.concatenate([np.eye(EDGES.size, dtype=np.float32) * 0 + EDGES, -EDGES[None], EDGES[None, ::-1]])
    convert_and_compare(g, y, 2, x, ["binary"])


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    return {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "form": draw(st.sampled_from(SIGN_FORMS)),
        "groups": draw(st.sampled_from([1, 2, 3])),
        "channels": draw(st.integers(1, 7)),
        "kernel": draw(st.sampled_from([1, 2, 3])),
        "stride": draw(st.integers(1, 2)),
        "dilation": draw(st.integers(1, 2)),
        "pads": draw(st.lists(st.integers(0, 2), min_size=4, max_size=4)),
        "padding": draw(st.sampled_from(["conv", "low", "high", "zero"])),
        "scale": draw(st.sampled_from([1.0, 0.25, -2.0, 0.7])),
        "alpha": draw(st.sampled_from(["one", "two^k", "any"])),
        "bias": draw(st.booleans()),
        "tail": draw(st.lists(st.sampled_from(["Mul", "Add", "Sub", "Div", "BatchNormalization"]), max_size=3)),
    }


@settings(max_examples=100, deadline=None)
@given(cases())
@example(
    {"seed": 0, "form": "bool", "groups": 1, "channels": 3, "kernel": 3, "stride": 1, "dilation": 1, "pads": [1] * 4}
    | {"padding": "conv", "scale": 1.0, "alpha": "one", "bias": False, "tail": []}
)
def test_random_convolutions_answer_as_their_source(case: dict[str, Any]) -> None:
    rng = np.random.default_rng(case["seed"])
    groups, kernel = case["groups"], case["kernel"]
    channels, outputs = groups * case["channels"], groups * int(rng.integers(1, 5))
    g = Source(["N", channels, 8, 9])
    signs = sign_form(g, case["form"], "x")
    if case["scale"] != 1.0:
        signs = g("Mul", signs, g.constant(case["scale"]))
    low, high = (case["scale"] * v for v in ((0.0, 1.0) if case["form"] == "bool" else (-1.0, 1.0)))
    weight = np.where(rng.random((outputs, case["channels"], kernel, kernel)) < 0.5, 1, -1).astype(np.float32)
    if case["alpha"] != "one":
        alpha = 2.0 ** rng.integers(-3, 3, outputs) if case["alpha"] == "two^k" else rng.uniform(0.1, 2, outputs)
        weight *= alpha.astype(np.float32)[:, None, None, None]
    pads = case["pads"]
    number = {"low": low, "high": high, "zero": 0.0, "conv": 0.0}[case["padding"]]
    possible = number in (low, high, (low + high) / 2) or not any(pads)
    if case["padding"] != "conv":
        top, left, bottom, right = pads
        sizes = g.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        signs, pads = g("Pad", signs, sizes, g.constant(number)), [0, 0, 0, 0]
    inputs = [signs, g.constant(weight)]
    if case["bias"]:
        inputs.append(g.constant(rng.standard_normal(outputs)))
    y = g("Conv", *inputs, group=groups, strides=[case["stride"]] * 2, dilations=[case["dilation"]] * 2, pads=pads)
    for op_type in case["tail"]:
        numbers = rng.uniform(0.5, 2, (4, outputs)) * rng.choice([-1.0, 1.0], (4, outputs))
        if op_type == "BatchNormalization":
            numbers[3] = np.abs(numbers[3])
            y = g(op_type, y, *(g.constant(row) for row in numbers))
        else:
            y = g(op_type, y, g.constant(numbers[0].reshape(outputs, 1, 1)))
    x = values(rng, [2, channels, 8, 9])
    convert_and_compare(g, y, 4, x, ["binary" if possible else "weight-only"])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(SIGN_FORMS), st.sampled_from(["Gemm", "Gemm B", "MatMul"]))
def test_random_networks_answer_as_their_source(seed: int, form: str, dense: str) -> None:
    """Sign, convolution, max-pool of signs, a residual, concatenation, and a dense layer at the end."""
    rng = np.random.default_rng(seed)
    g = Source(["N", 5, 6, 6])
    weights = [np.where(rng.random(s) < 0.5, 1, -1).astype(np.float32) for s in ((6, 5, 3, 3), (6, 6, 1, 1), (4, 108))]
    first = sign_form(g, form, "x")
    y = g("Conv", first, g.constant(weights[0]), pads=[1] * 4)
    y = g("Add", g("Mul", y, g.constant(0.25)), g.constant(rng.standard_normal((6, 1, 1))))
    second = sign_form(g, form, y)
    pooled = g("MaxPool", second, kernel_shape=[2, 2], strides=[2, 2])
    third = g("Conv", pooled, g.constant(weights[1]), strides=[1, 1])
    joined = g("Concat", g("Flatten", pooled), g("Flatten", sign_form(g, form, third)), axis=1)
    if dense == "MatMul":
        out = g("MatMul", joined, g.constant(weights[2].T))
    else:
        w = g.constant(weights[2] if dense == "Gemm B" else weights[2].T)
        out = g("Gemm", joined, w, g.constant(np.arange(4.0)), transB=int(dense == "Gemm B"))
    # of falling signs ("where <=") the maximum is one of the source with its sign turned
    convert_and_compare(g, out, 2, values(rng, [3, 5, 6, 6]), ["binary", "binary", "binary"])
