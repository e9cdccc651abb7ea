"""The exact stem and the fused max-pool: integers all the way, equal to onnxruntime bit for bit in any geometry."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from latentbit.runtime.intake.reading import load
from latentbit.runtime.intake.windows import Window
from latentbit.runtime.kernels.sums import SUMS
from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.plan import Stem, make_plan
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choice, choose_kernels

from ...support.graphs import GraphMaker

SIZE = st.integers(1, 4)


@st.composite
def windows(draw: Any, largest: int) -> Window:
    kernel = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    pads = draw(st.tuples(*(st.integers(0, kernel[axis % 2] - 1) for axis in range(4))))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    plain = max(pads[2:]) == 0 and strides[0] <= kernel[0] and strides[1] <= kernel[1]
    return Window(kernel, strides, pads, plain and draw(st.booleans()))


def stem_model(
    maker: GraphMaker, channels: int, outputs: int, window: Window, pool: Window | None, weight: np.ndarray[Any, Any]
) -> onnx.ModelProto:
    """Pixels, exact stem, perhaps a pool, then a binary layer on the signs and a use of the floats."""
    rng = maker.rng
    value = maker.node("Cast", [maker.node("Transpose", ["input"], perm=[0, 3, 1, 2])], to=onnx.TensorProto.FLOAT)
    zero = rng.integers(0, 256, (channels, 1, 1)).astype(np.float32)
    value = maker.node("Sub", [value, maker.constant(zero)])
    value = maker.node(
        "Conv",
        [value, maker.node("Cast", [maker.constant(weight)], to=onnx.TensorProto.FLOAT)],
        kernel_shape=list(window.kernel),
        strides=list(window.strides),
        pads=list(window.pads),
    )
    value = maker.node("Round", [value])
    scale = rng.choice([0.01, -0.02, 0.0, 1 / 3], (outputs, 1, 1)).astype(np.float32)
    value = maker.node("Mul", [value, maker.constant(scale)])
    value = maker.node("Add", [value, maker.per_channel(outputs)])
    if pool is not None:
        options: dict[str, Any] = {
            "kernel_shape": list(pool.kernel),
            "strides": list(pool.strides),
            "pads": list(pool.pads),
        }
        value = maker.node("MaxPool", [value], ceil_mode=int(pool.ceil), **options)
    total = maker.conv(maker.binarize(value, outputs), maker.signs(outputs, outputs, 1, 1))
    total = maker.node("Add", [total, value])
    graph = helper.make_graph(
        maker.nodes,
        "stem",
        [helper.make_tensor_value_info("input", onnx.TensorProto.UINT8, ["N", "H", "W", channels])],
        [helper.make_tensor_value_info(total, onnx.TensorProto.FLOAT, None)],
        maker.constants,
    )
    like = maker.model({"unused": [1]}, [total])
    model = helper.make_model(graph, ir_version=8, opset_imports=like.opset_import, functions=like.functions)
    return onnx.shape_inference.infer_shapes(model)


def stems(data: bytes) -> list[Stem]:
    model = load(data)
    plan = make_plan(model, choose_kernels(model))
    return [planned.part for planned in plan.parts if isinstance(planned.part, Stem)]


@pytest.fixture(params=[kernel.name for kernel in SUMS])
def sums(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let this kernel alone make the sums; skips where the CPU cannot run it.

    Those for NEON run everywhere: what is no instruction here runs in its portable form.
    """
    (kernel,) = (kernel for kernel in SUMS if kernel.name == request.param)
    if missing := kernel.features - usable_features() - {"asimd", "asimddp"}:
        pytest.skip(f"this CPU has no {', '.join(sorted(missing))}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "SUMS", (replace(kernel, features=frozenset()),))
        yield kernel.name


@given(st.integers(0, 2**31), SIZE, st.sampled_from([8, 16, 40]), windows(7), st.none() | windows(3), st.integers(1, 2))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_stem(
    sums: str, seed: int, channels: int, outputs: int, window: Window, pool: Window | None, batch: int
) -> None:
    maker = GraphMaker(seed)
    window = Window(window.kernel, window.strides, window.pads)
    height, width = (int(maker.rng.integers(window.kernel[axis], window.kernel[axis] + 9)) for axis in (0, 1))
    size = window.output_size(height, width)
    assume(
        pool is None
        or (min(pool.output_size(*size)) > 0 and all(k <= s for k, s in zip(pool.kernel, size, strict=True)))
    )
    weight = maker.rng.integers(-127, 128, (outputs, channels, *window.kernel)).astype(np.int8)
    data = stem_model(maker, channels, outputs, window, pool, weight).SerializeToString()
    session = InferenceSession(data)
    assert [step.kind for step in session.get_steps()][:2] == ["integer", "binary"]
    assert session.get_steps()[0].kernel == sums
    x = maker.rng.integers(0, 256, (batch, height, width, channels), np.uint8)
    expected = ort.InferenceSession(data).run(None, {"input": x})[0]
    for _ in range(2):
        np.testing.assert_array_equal(session.run(None, {"input": x})[0], expected)
    shared = InferenceSession(data, num_threads=2)
    for _ in range(3):
        np.testing.assert_array_equal(shared.run(None, {"input": x})[0], expected)


@pytest.mark.parametrize("defect", ["fraction", "too large sums", "odd outputs"])
def test_a_stem_that_is_not_exact_stays_float(defect: str) -> None:
    maker, outputs, kernel = GraphMaker(0), 8, (3, 3)
    weight: np.ndarray[Any, Any] = maker.rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
    if defect == "fraction":
        weight = weight.astype(np.float32) + np.float32(0.5)
    elif defect == "too large sums":
        kernel, weight = (27, 27), np.full((8, 3, 27, 27), 127, np.int8)
    else:
        outputs, weight = 7, weight[:7]
    model = stem_model(maker, 3, outputs, Window(kernel, (1, 1), (0, 0, 0, 0)), None, weight)
    assert stems(model.SerializeToString()) == []


@given(st.integers(0, 2**31), st.sampled_from([3, 8, 20, 64]), windows(3), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_pool_before_or_behind_the_sign(seed: int, channels: int, pool: Window, behind: bool, made: bool) -> None:
    """``made``: the pooled value comes from a binary layer, not from the caller."""
    maker = GraphMaker(seed)
    size = [int(maker.rng.integers(pool.kernel[axis], pool.kernel[axis] + 6)) for axis in (0, 1)]
    options: dict[str, Any] = {
        "kernel_shape": list(pool.kernel),
        "strides": list(pool.strides),
        "pads": list(pool.pads),
        "ceil_mode": int(pool.ceil),
    }
    value = "input"
    if made:
        value = maker.conv(maker.binarize(value, channels), maker.signs(channels, channels, 1, 1))
    if behind:
        value = maker.node("MaxPool", [maker.binarize(value, channels)], **options)
    else:
        value = maker.binarize(maker.node("MaxPool", [value], **options), channels)
    out = maker.conv(value, maker.signs(9, channels, 1, 1))
    data = maker.model({"input": ["N", channels, *size]}, [out]).SerializeToString()
    session, x = InferenceSession(data), maker.floats(2, channels, *size)
    beyond = any(step > size for step, size in zip(pool.strides, pool.kernel, strict=True))
    if not (pool.ceil and (any(pool.pads) or beyond)):  # a window of those may lie in the padding alone: no sign
        assert session.get_steps()[-2].ops[0] == "MaxPool", "no step of its own"
    np.testing.assert_array_equal(
        session.run(None, {"input": x})[0], ort.InferenceSession(data).run(None, {"input": x})[0]
    )


def test_weights_that_are_no_int8_once_negated_go_in_pairs() -> None:
    """−128 under a negative scale becomes +128, which the kernel of bytes cannot hold."""
    maker = GraphMaker(3)
    weight: np.ndarray[Any, Any] = np.full((8, 3, 3, 3), -128, np.int8)
    data = stem_model(maker, 3, 8, Window((3, 3), (1, 1), (1, 1, 1, 1)), None, weight).SerializeToString()
    session, x = InferenceSession(data), maker.rng.integers(0, 256, (1, 6, 6, 3), np.uint8)
    (stem,) = stems(data)
    assert (stem.weight.max() == 128, session.get_steps()[0].kernel) == (True, "pairs")
    np.testing.assert_array_equal(
        session.run(None, {"input": x})[0], ort.InferenceSession(data).run(None, {"input": x})[0]
    )
