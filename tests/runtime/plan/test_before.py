"""Chains before a Binarize become thresholds: the same bit for every float32, and in whole files onnxruntime's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentbit.runtime.intake.reading import load
from latentbit.runtime.layout.float_words import ChainOp
from latentbit.runtime.plan import Unit, make_plan
from latentbit.runtime.plan.chain import Stage
from latentbit.runtime.plan.monotone import Threshold, find_threshold
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choose_kernels

from ...support.early import needs_sound_infinities
from ...support.graphs import GraphMaker

Floats = NDArray[np.float32]
CURVES = (ChainOp.HARD_SWISH, ChainOp.SIGMOID, ChainOp.ERF, ChainOp.SILU)
OPS = [op for op in ChainOp if op not in CURVES]
NODES: dict[ChainOp, str] = {
    ChainOp.ADD: "Add",
    ChainOp.SUBTRACT: "Sub",
    ChainOp.SUBTRACT_FROM: "Sub",
    ChainOp.MULTIPLY: "Mul",
    ChainOp.DIVIDE: "Div",
    ChainOp.PRELU: "PRelu",
    ChainOp.CLIP: "Clip",
    ChainOp.HARD_SIGMOID: "HardSigmoid",
}
numbers = st.one_of(
    st.floats(-4, 4, width=32),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, 1e-38, -1e-45, 3e38, -3e38]).map(
        lambda value: float(np.float32(value))
    ),
)


def floats(*values: float) -> Floats:
    return np.array(values, np.float32)


def by_onnxruntime(op: ChainOp, first: float, second: float) -> Callable[[Floats], Floats]:
    """Return the operator itself with these constants."""
    maker = GraphMaker()
    one, two = maker.constant(floats(first)), maker.constant(np.float32(second))
    if op is ChainOp.CLIP:
        value = maker.node("Clip", ["x", maker.constant(np.float32(first)), two])
    elif op is ChainOp.HARD_SIGMOID:
        value = maker.node("HardSigmoid", ["x"], alpha=first, beta=second)
    else:
        value = maker.node(NODES[op], [one, "x"] if op is ChainOp.SUBTRACT_FROM else ["x", one])
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(maker.model({"x": ["N"]}, [value]).SerializeToString(), options)
    return lambda x: np.asarray(session.run(None, {"x": x})[0])


def around(point: float) -> list[float]:
    """Return a number and its neighbours among the float32 numbers."""
    middle = np.float32(point)
    with np.errstate(all="ignore"):
        return [float(np.nextafter(middle, np.float32(side))) for side in (-np.inf, np.inf)] + [float(middle)]


@needs_sound_infinities
@given(st.sampled_from(OPS), numbers, numbers, numbers, st.booleans(), st.lists(st.floats(width=32), max_size=20))
@settings(max_examples=150, deadline=None)
def test_a_threshold_gives_the_bit_of_every_number(
    op: ChainOp, first: float, second: float, threshold: float, turned: bool, some: list[float]
) -> None:
    behind = Threshold(floats(threshold), floats(-1 if turned else 1))
    found = find_threshold(Stage(op, "x", floats(first), floats(second)), behind)
    if found is None:  # a slope below 0, a division by 0, a factor 0, whose product with infinity is no number
        assert (op is ChainOp.PRELU and first <= 0) or (
            op in (ChainOp.MULTIPLY, ChainOp.DIVIDE, ChainOp.HARD_SIGMOID) and first == 0
        )
        return
    points = [0.0, np.inf, np.nan, first, second, threshold, *some]
    points += [] if np.isnan(found.value[0]) else around(float(found.value[0]))
    x = floats(*(sign * point for point in points for sign in (1, -1)))
    with np.errstate(all="ignore"):
        expected = by_onnxruntime(op, first, second)(x) * behind.turn >= behind.value
    np.testing.assert_array_equal(x * found.turn >= found.value, expected)


@pytest.mark.parametrize("op", CURVES)
def test_what_keeps_no_order_has_no_threshold(op: ChainOp) -> None:
    stage = Stage(op, "x", floats(1 / 6), floats(0.5))
    assert find_threshold(stage, Threshold.at(np.zeros(1, np.float32))) is None


@pytest.mark.parametrize("constant", [np.nan, np.inf, -np.inf])
def test_a_constant_that_is_no_number_has_no_threshold(constant: float) -> None:
    stage = Stage(ChainOp.ADD, "x", floats(constant))
    assert find_threshold(stage, Threshold.at(np.zeros(1, np.float32))) is None


CHAIN = st.lists(st.sampled_from([*NODES.values(), "Relu", "LeakyRelu", "norm", "Sub from"]), min_size=1, max_size=4)


def append(maker: GraphMaker, op: str, value: str, channels: int, rank: int) -> str:
    """Put an operator behind a value, with constants of either sign where they keep an order then too."""
    if op == "norm":
        return append(maker, "Add", append(maker, "Mul", value, channels, rank), channels, rank)
    if op == "Clip":
        return maker.node("Clip", [value, *(maker.constant(np.float32(bound)) for bound in (-1.0, 1.5))])
    if op in ("Relu", "LeakyRelu", "HardSigmoid"):
        return maker.node(op, [value])
    low = 0.01 if op == "PRelu" else -2.0
    constant = maker.per_channel(channels, rank, low, 2.0)
    return maker.node("Sub", [constant, value]) if op == "Sub from" else maker.node(op, [value, constant])


def same_as_onnxruntime(model: onnx.ModelProto, x: Floats, **options: Any) -> InferenceSession:
    session = InferenceSession(model.SerializeToString(), **options)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    for found, wanted in zip(session.run(None, {"input": x}), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    return session


def float_ops(session: InferenceSession) -> set[str]:
    return {op for step in session.get_steps() if step.kind == "float" for op in step.ops}


@needs_sound_infinities
@given(
    st.integers(0, 2**31),
    CHAIN,
    st.sampled_from([3, 8, 24, 40]),
    st.sampled_from(["input", "layer", "residual"]),
    st.sampled_from([-1, 0, 1]),
    st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_a_chain_before_a_sign_vanishes(
    seed: int, ops: list[str], channels: int, source: str, pad_value: int, threads: int
) -> None:
    """Behind the input, a layer that gives bits alone, and one whose floats are a residual too."""
    maker = GraphMaker(seed)
    value = start = "input"
    if source != "input":
        value = start = maker.conv(maker.binarize("input", channels), maker.signs(channels, channels, 1, 1), unit=True)
    for op in ops:
        value = append(maker, op, value, channels, 4)
    weight = maker.signs(channels, channels, 3, 3)
    value = maker.conv(maker.binarize(value, channels), weight, pads=(1, 1, 1, 1), pad_value=pad_value, unit=True)
    if source == "residual":
        value = maker.node("Add", [value, start])
    model = maker.model({"input": [2, channels, 5, 4]}, [value])
    x = maker.rng.choice(floats(0, -0.0, 1, -1, 0.3, 3e38, -3e38, np.inf, -np.inf), (2, channels, 5, 4))
    x = np.where(maker.rng.random(x.shape) < 0.5, x, maker.floats(*x.shape))
    if source == "residual":  # whose sum with an infinity would be one
        x = np.clip(x, -10, 10)
    assert float_ops(same_as_onnxruntime(model, x, num_threads=threads)) <= {"Transpose"}


@given(st.integers(0, 2**31), CHAIN, st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_chain_between_dense_layers_vanishes(seed: int, ops: list[str], layer: bool) -> None:
    maker, channels = GraphMaker(seed), 24
    value = "input"
    if layer:
        value = maker.dense(maker.binarize(value, channels, 2), maker.signs(channels, channels))
    for op in ops:
        value = append(maker, op, value, channels, 2)
    value = maker.dense(maker.binarize(value, channels, 2), maker.signs(8, channels), unit=True)
    model = maker.model({"input": [3, channels]}, [value])
    assert not float_ops(same_as_onnxruntime(model, maker.floats(3, channels)))


@pytest.mark.parametrize("behind", [["Sub"], ["norm"], ["Relu", "Sub"]])
@pytest.mark.parametrize("before", [[], ["norm", "PRelu"], ["Sub from"]])
def test_a_pool_in_the_chain_is_the_units(before: list[str], behind: list[str]) -> None:
    """Unless a bit behind it falls with the maximum: then it stays, and so does what stands before it."""
    for seed in range(4):
        maker, channels = GraphMaker(seed), 16
        value = "input"
        for op in before:
            value = append(maker, op, value, channels, 4)
        value = maker.node("MaxPool", [value], kernel_shape=[2, 3], strides=[2, 1], pads=[0, 1, 1, 0])
        for op in behind:
            value = append(maker, op, value, channels, 4)
        value = maker.conv(maker.binarize(value, channels), maker.signs(8, channels, 1, 1), unit=True)
        session = same_as_onnxruntime(
            maker.model({"input": [1, channels, 6, 7]}, [value]), maker.floats(1, channels, 6, 7)
        )
        stays = behind == ["norm"]  # of sixteen factors some are below 0
        assert ("MaxPool" in float_ops(session)) == stays
        assert stays or float_ops(session) <= {"Transpose"}


def first_unit(model: onnx.ModelProto) -> Unit:
    loaded = load(model.SerializeToString())
    return next(part.part for part in make_plan(loaded, choose_kernels(loaded)).parts if isinstance(part.part, Unit))


def test_a_chain_that_float_operators_read_too_is_packed_as_it_is() -> None:
    """onnxruntime makes it then in passing; to hand out what it is made of as well would cost more."""
    maker = GraphMaker(1)
    value = maker.node("Relu", [maker.node("Conv", ["input", maker.constant(maker.floats(8, 8, 1, 1))])])
    read = maker.conv(maker.binarize(value, 8), maker.signs(8, 8, 1, 1))
    model = maker.model({"input": [1, 8, 4, 4]}, [read, maker.node("Exp", [value])])
    assert first_unit(model).source == value
    del model.graph.output[1], model.graph.node[-1]
    assert first_unit(model).source == maker.nodes[0].output[0]


def test_levels_of_one_value_share_the_chain_before_it() -> None:
    """Two-bit activations: copies of a value with thresholds of their own."""
    maker = GraphMaker(2)
    value = append(maker, "norm", "input", 8, 4)
    value = maker.node("Concat", [value, value], axis=1)
    value = maker.conv(maker.binarize(value, 16), maker.signs(8, 16, 1, 1), unit=True)
    session = same_as_onnxruntime(maker.model({"input": [1, 8, 4, 4]}, [value]), maker.floats(1, 8, 4, 4))
    assert float_ops(session) <= {"Transpose"}


def test_no_number_reaches_a_threshold_on_either_side() -> None:
    """Infinity less infinity, on channels whose bits rise and on such whose bits fall."""
    maker = GraphMaker(3)
    value = maker.node("Sub", ["input", "input"])
    value = append(maker, "norm", value, 40, 4)
    value = maker.conv(maker.binarize(value, 40), maker.signs(8, 40, 1, 1), unit=True)
    x = np.where(maker.floats(1, 40, 4, 4) < 0, np.float32(np.inf), np.float32(1))
    same_as_onnxruntime(maker.model({"input": [1, 40, 4, 4]}, [value]), x)
