"""The runtime on the conformance suite, and on thousands of random operators and small graphs, bit for bit."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from latentbit.runtime import InferenceSession

from ..conformance.reading import case_names, read_case
from ..support.twin import Twin, Value


@pytest.mark.parametrize("name", case_names())
def test_case(name: str) -> None:
    case = read_case(name)
    (result,) = InferenceSession(case.path).run(None, case.feeds)
    assert result.dtype == case.expected.dtype
    np.testing.assert_allclose(result, case.expected, rtol=case.tolerance, atol=case.tolerance)


@st.composite
def convolutions(draw: st.DrawFn) -> Twin:
    """One convolution of any geometry that fits, with its signs before it."""
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 3), (2, 2), (5, 5), (7, 7), (3, 2)]))
    dilations = draw(st.tuples(st.integers(1, 3), st.integers(1, 2)))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    group = draw(st.sampled_from([1, 1, 1, 2, 3]))
    depth = draw(st.sampled_from([1, 2, 3, 5, 8, 16, 21, 32, 33, 64]))
    outputs = group * draw(st.sampled_from([1, 2, 7, 8, 16, 31, 33]))
    depthwise = draw(st.booleans()) and draw(st.booleans())
    if depthwise:
        group, depth, outputs = depth, 1, depth
    height, width = (
        max(dilations[i] * (kernel[i] - 1) + 1 - pads[i] - pads[i + 2], 1) + draw(st.integers(0, 6)) for i in (0, 1)
    )
    twin = Twin(draw(st.integers(0, 2**32)))
    x = twin.binarize(twin.input(draw(st.integers(1, 3)), group * depth, height, width))
    y = twin.conv(
        x,
        outputs,
        kernel,
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=group,
        pad_value=draw(st.sampled_from([-1, 0, 1])),
    )
    twin.output(twin.binarize(y) if draw(st.booleans()) else y)
    return twin


@st.composite
def networks(draw: st.DrawFn) -> Twin:
    """A small graph: blocks of every kind that the planner fuses, or must not."""
    twin = Twin(draw(st.integers(0, 2**32)))
    channels, size = draw(st.sampled_from([3, 8, 12, 20])), draw(st.integers(3, 7))
    x = twin.input(draw(st.integers(1, 2)), channels, size, size)
    kept: list[Value] = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["residual", "chain", "rprelu", "pool", "concat", "fork", "signs"]))
        pad = draw(st.sampled_from([-1, 0, 1]))
        same = {"pads": (1, 1, 1, 1), "pad_value": pad}
        signs = twin.binarize(x)
        if kind == "residual":
            x = twin.add(*draw(st.permutations([twin.conv(signs, x.channels, **same), x])))  # type: ignore[arg-type]
            x = twin.rprelu(x) if draw(st.booleans()) else x
        elif kind == "chain":
            x = twin.conv(twin.binarize(twin.conv(signs, 9, **same)), channels)  # type: ignore[arg-type]
        elif kind == "rprelu":
            x = twin.rprelu(twin.conv(signs, channels, (1, 1)))
        elif kind == "pool":
            x = twin.max_pool(twin.conv(signs, channels, **same), 2, 1, 0)  # type: ignore[arg-type]
        elif kind == "concat":
            x = twin.conv(twin.concat(signs, twin.binarize(x)), channels, **same)  # type: ignore[arg-type]
        elif kind == "fork":
            x = twin.add(twin.conv(signs, 8, (1, 1)), twin.conv(signs, 8, **same))  # type: ignore[arg-type]
        else:
            x = twin.max_pool(signs, 2, 1, 0)
        if draw(st.integers(0, 3)) == 0:
            kept.append(x)  # also an output: what is fused must still appear
        if min(x.array.shape[2:]) < 3:
            break
    if draw(st.booleans()):
        x = twin.gemm(twin.binarize(twin.flatten(x)), draw(st.integers(1, 12)))
    for value in dict.fromkeys(v.name for v in [*kept, x]):
        twin.output(next(v for v in [*kept, x] if v.name == value))
    return twin


def agree(twin: Twin, symbolic_image: bool = False) -> None:
    model = twin.model(symbolic_image)
    feeds = {value.name: value.array for value in twin.inputs}
    expected = [value.array for value in twin.outputs]
    data = model.SerializeToString()
    answers = {
        "latentbit": InferenceSession(data).run(None, feeds),
        "onnxruntime": onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds),
        "onnx.reference": ReferenceEvaluator(model).run(None, feeds),
    }
    for who, results in answers.items():
        for result, wanted in zip(results, expected, strict=True):
            assert np.array_equal(result, wanted), who


@settings(max_examples=80, deadline=None)
@given(twin=convolutions())
def test_random_convolutions(twin: Twin) -> None:
    agree(twin)


@settings(max_examples=50, deadline=None)
@given(twin=networks())
def test_random_networks(twin: Twin) -> None:
    agree(twin)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(twin=st.one_of(convolutions(), networks()))
def test_thousands_of_random_models(twin: Twin) -> None:
    agree(twin)


@settings(max_examples=15, deadline=None)
@given(twin=convolutions())
def test_symbolic_image_sizes(twin: Twin) -> None:
    agree(twin, symbolic_image=True)
