"""±0, ±∞, NaN and numbers below the normal ones through every fused and native step, beside stock onnxruntime."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentbit.runtime.errors import InputError
from latentbit.runtime.session import InferenceSession

from ...support.early import needs_sound_infinities
from ...support.graphs import USABLE, GraphMaker

SPECIAL = np.array([0, -0.0, 1e-45, -1e-45, 1, -1, 2.5, -2.5, 3.4e38, -3.4e38, np.inf, -np.inf], np.float32)
ACTIVATIONS = ("nothing", "Relu", "PRelu", "PRelu of slope 0", "Sub", "Add", "RPReLU")
STAGES = (
    *("Add", "Sub", "Mul", "Div", "PRelu", "from", "Relu", "Clip", "below", "above", "HardSigmoid", "HardSwish"),
    *("LeakyRelu", "Add value", "Sub value", "Mul value", "Div value"),
)


def special(maker: GraphMaker, *shape: int) -> NDArray[np.float32]:
    return maker.rng.choice(SPECIAL, shape)


def stock(model: onnx.ModelProto, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers: list[NDArray[Any]] = session.run(None, feeds)
    return answers


def assert_same(model: onnx.ModelProto, feeds: dict[str, NDArray[Any]], **options: Any) -> InferenceSession:
    """Hold the bits of every answer, those of a zero's sign too, against stock onnxruntime; one NaN is like another."""
    session = InferenceSession(model.SerializeToString(), **options)
    for found, wanted in zip(session.run(None, feeds), stock(model, feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(np.signbit(found[~np.isnan(found)]), np.signbit(wanted[~np.isnan(wanted)]))
    return session


def float_ops(session: InferenceSession) -> list[str]:
    """Return the operators that onnxruntime runs."""
    return [op for step in session.get_steps() if step.kernel == "onnxruntime" for op in step.ops]


def fused(maker: GraphMaker, value: str, activation: str, channels: int) -> str:
    """Put an activation behind a value, as a unit takes it along."""
    if activation == "RPReLU":
        return maker.rprelu(value, channels)
    if activation == "PRelu of slope 0":
        return maker.node("PRelu", [value, maker.constant(np.zeros((channels, 1, 1), np.float32))])
    if activation == "nothing":
        return value
    return maker.node(activation, [value, *([] if activation == "Relu" else [maker.per_channel(channels)])])


@needs_sound_infinities
@pytest.mark.parametrize("kernel", USABLE)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_residual_of_any_value_goes_through_the_epilogue_of_every_kernel(kernel: str, activation: str) -> None:
    maker = GraphMaker(len(activation))
    channels = 24  # whole vectors of sixteen, and a part of one
    layer = maker.conv(maker.binarize("input", channels), maker.signs(channels, channels, 1, 1), unit=True)
    inside = fused(maker, maker.node("Add", [layer, "residual"]), activation, channels)
    signs = maker.conv(maker.binarize(inside, channels), maker.signs(8, channels, 1, 1), unit=True)
    alone = maker.conv(maker.binarize("input", channels), maker.signs(channels, channels, 1, 1), unit=True)
    alone = fused(maker, alone, activation, channels)
    shape: list[int | str] = ["N", channels, 5, 6]
    outputs = [inside, signs] if activation == "nothing" else [inside, signs, alone]
    for some in (outputs, [signs]):  # with the floats, and as bits alone
        model = maker.model({"input": shape, "residual": shape}, some)
        feeds = {name: special(maker, 3, channels, 5, 6) for name in ("input", "residual")}
        assert_same(model, feeds, kernel=kernel)


def append(maker: GraphMaker, stage: str, value: str, channels: int, beside: str) -> str:
    op, *rest = stage.split()
    if rest:
        return maker.node(op, [value, beside])
    if op == "Clip":
        return maker.node(op, [value, *(maker.constant(np.float32(bound)) for bound in np.sort(special(maker, 2)))])
    if op in ("below", "above"):
        bound = maker.constant(np.float32(special(maker, 1)[0]))
        return maker.node("Clip", [value, *(["", bound] if op == "below" else [bound])])
    if op in ("Add", "Sub", "Mul", "Div", "PRelu", "from"):
        constant = special(maker, channels, 1, 1)
        if op != "PRelu":  # onnxruntime leaves out x + 0, whose −0 is then another
            constant = np.where(constant == 0, np.float32(0.5), constant)
        constant = np.where(constant == 1, np.float32(0.5), constant)
        name = maker.constant(constant)
        return maker.node("Sub" if op == "from" else op, [name, value] if op == "from" else [value, name])
    return maker.node(op, [value])


@needs_sound_infinities
@given(
    st.integers(0, 2**31),
    st.lists(st.sampled_from(STAGES), min_size=1, max_size=4),
    st.sampled_from([1, 7, 16, 40]),
)
@settings(max_examples=60, deadline=None)
def test_every_stage_of_a_chain_takes_any_value(seed: int, stages: list[str], channels: int) -> None:
    maker = GraphMaker(seed)
    value, other = (
        maker.node("Add", [maker.conv(signs, maker.signs(channels, channels, 1, 1), unit=True), beside])
        for signs, beside in [(maker.binarize("input", channels), name) for name in ("residual", "other")]
    )
    for stage in stages:
        value = append(maker, stage, value, channels, other)
    signs = maker.conv(maker.binarize(value, channels), maker.signs(8, channels, 1, 1), unit=True)
    shape: list[int | str] = ["N", channels, 4, 5]
    for outputs in ([value, signs], [signs]):  # the stages as floats, and as far as they can be in thresholds
        model = maker.model({"input": shape, "residual": shape, "other": shape}, outputs)
        feeds = {name: special(maker, 2, channels, 4, 5) for name in ("input", "residual", "other")}
        session = assert_same(model, {info.name: feeds[info.name] for info in model.graph.input})
        assert set(float_ops(session)) <= {"Transpose"}


@pytest.mark.parametrize("split", [True, False])
def test_moves_and_means_take_any_value(split: bool) -> None:
    maker, channels = GraphMaker(3), 16
    layers = [maker.conv(maker.binarize("input", 16), maker.signs(16, 16, 1, 1), unit=True) for _ in range(2)]
    value = maker.node("Concat", [maker.node("Add", [layer, "residual"]) for layer in layers], axis=1)
    if split:
        maker.nodes.append(onnx.helper.make_node("Split", [value], ["left", "right"], axis=1, num_outputs=2))
        value = maker.node("Sub", ["right", "left"])  # of equal infinities: NaN
    mean = maker.node("GlobalAveragePool", [value])
    width = channels if split else 2 * channels
    gated = maker.node("Mul", [value, mean])
    signs = [maker.conv(maker.binarize(each, width), maker.signs(8, width, 1, 1), unit=True) for each in (gated, mean)]
    shape: list[int | str] = ["N", channels, 3, 3]
    model = maker.model({"input": shape, "residual": shape}, [value, *signs])
    small = np.array([0, -0.0, 1, -2, np.inf, -np.inf], np.float32)  # whose sums no order rounds
    feeds = {name: maker.rng.choice(small, (8, channels, 3, 3)) for name in ("input", "residual")}
    session = assert_same(model, feeds)
    assert set(float_ops(session)) <= {"Transpose"}


def test_a_float_shortcut_takes_any_value() -> None:
    maker = GraphMaker(4)
    first = maker.conv(maker.binarize("input", 16), maker.signs(16, 16, 1, 1), unit=True)
    value = maker.node("Add", [first, "residual"])
    pooled = maker.node("AveragePool", [value], kernel_shape=[2, 2], strides=[2, 2])
    weight = maker.constant(maker.rng.integers(-1, 2, (64, 16, 1, 1)).astype(np.float32))  # zeros too: 0 · ∞ is NaN
    beside = maker.node("Conv", [pooled, weight], kernel_shape=[1, 1])
    last = maker.conv(maker.binarize(value, 16), maker.signs(64, 16, 2, 2), strides=(2, 2), unit=True)
    out = maker.node("Relu", [maker.node("Add", [last, beside])])
    model = maker.model({"input": ["N", 16, 4, 6], "residual": ["N", 16, 4, 6]}, [out])
    x = maker.rng.choice(np.array([0, 4, -8], np.float32), (6, 16, 4, 6))
    for place in range(5):
        x[place, place, 1, 1] = (np.inf, -np.inf)[place % 2]
    session = assert_same(model, {"input": x, "residual": x})
    assert "AveragePool" not in float_ops(session)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_float_dense_layer_takes_any_value(rows: int) -> None:
    maker = GraphMaker(rows)
    value = maker.node("Add", [maker.dense(maker.binarize("input", 20, 2), maker.signs(20, 20), unit=True), "residual"])
    weight = maker.constant(maker.rng.integers(-1, 2, (20, 35)).astype(np.float32))  # zeros too: 0 · ∞ is NaN
    bias = maker.rng.choice(np.array([0, 1, -2, np.inf, -np.inf], np.float32), 35)
    out = maker.node("Gemm", [value, weight, maker.constant(bias)])
    signs = maker.dense(maker.binarize(out, 35, 2), maker.signs(8, 35), unit=True)
    model = maker.model({"input": ["N", 20], "residual": ["N", 20]}, [out, signs])
    x = maker.floats(rows, 20)
    residual = maker.rng.choice(np.array([0, -0.0, 1, -2, np.inf, -np.inf], np.float32), (rows, 20))
    for some in (residual, np.where(np.isinf(residual), 0, residual), np.zeros_like(residual)):
        assert_same(model, {"input": x, "residual": some})


@needs_sound_infinities
@pytest.mark.parametrize("op", ["Sigmoid", "Erf"])
def test_functions_of_our_own_of_what_is_infinite(op: str) -> None:
    maker = GraphMaker(5)
    layers = [
        maker.node("Add", [maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 1, 1), unit=True), beside])
        for beside in ("residual", "other")
    ]
    value = maker.node("Sub", layers)
    gate = maker.node(op, [value])
    out = maker.node("Mul", [value, gate])
    signs = maker.conv(maker.binarize(out, 8), maker.signs(8, 8, 1, 1), unit=True)
    shape: list[int | str] = ["N", 8, 5, 5]
    names = ("input", "residual", "other")
    model = maker.model(dict.fromkeys(names, shape), [gate, out, signs])
    feeds = {name: special(maker, 2, 8, 5, 5) for name in names}
    session = InferenceSession(model.SerializeToString())
    found, wanted = session.run(None, feeds), stock(model, feeds)
    assert op not in float_ops(session)
    assert np.isnan(wanted[0]).any()
    assert np.isinf(found[1]).any()
    np.testing.assert_allclose(found[0], wanted[0], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found[0] == 0, wanted[0] == 0)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [5, 8, 12, 40, 64])
def test_a_pool_of_floats_that_are_numbers_and_thresholds_of_any_kind(channels: int) -> None:
    maker = GraphMaker(channels)
    thresholds = np.append(SPECIAL, np.float32("nan"))
    several = maker.constant(maker.rng.choice(thresholds, (channels, 1, 1)))
    pooled = maker.node("MaxPool", ["input"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    made = []
    for value in (pooled, "input"):
        signs = maker.node("Binarize", [value, several], "ai.latentbit")
        made.append(maker.conv(signs, maker.signs(8, channels, 1, 1), unit=True))
    model = maker.model({"input": ["N", channels, 9, 8]}, made)
    session = assert_same(model, {"input": special(maker, 3, channels, 9, 8)})
    assert "MaxPool" not in float_ops(session)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels", [5, 12, 40])
def test_a_nan_has_a_sign_but_no_place_in_a_pool_of_floats(channels: int, threads: int) -> None:
    """Engines differ in the maximum, and onnxruntime from place to place; the maximum of the signs is one for all."""
    maker = GraphMaker(channels)
    value = maker.node("Sub", ["input", "other"])
    window: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    before = maker.binarize(maker.node("MaxPool", [value], **window), channels)
    behind = maker.node("MaxPool", [maker.binarize(value, channels)], **window)
    shape: list[int | str] = ["N", channels, 4, 6]
    models = [
        maker.model({"input": shape, "other": shape}, [maker.conv(signs, maker.signs(8, channels, 1, 1), unit=True)])
        for signs in (behind, before)
    ]
    options: dict[str, Any] = {"num_threads": threads} | ({"share": "always"} if threads > 1 else {})
    feeds = {name: maker.floats(3, channels, 4, 6) for name in ("input", "other")}
    for model in models:
        assert_same(model, feeds, **options)
    feeds["input"][2, channels - 1, 3, 5] = feeds["other"][2, channels - 1, 3, 5] = np.inf
    assert_same(models[0], feeds, **options)
    session = InferenceSession(models[1].SerializeToString(), **options)
    for run in (lambda: session.run(None, feeds), lambda: session.trace(feeds), lambda: session.profile(feeds)):
        with pytest.raises(InputError, match=r"^node .*conv2d.*: a max-pool reads NaN") as caught:
            run()
        assert "pack" not in str(caught.value)
    feeds["other"][2, channels - 1, 3, 5] = 0  # the same session goes on
    for found, wanted in zip(session.run(None, feeds), stock(models[1], feeds), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("stage", ["nothing", "below", "PRelu of slope 0", "LeakyRelu", "Mul", "from"])
@pytest.mark.parametrize("first", [True, False])
def test_a_pool_of_signs_of_any_value_and_a_chain_before_it(stage: str, first: bool) -> None:
    """With ``first`` the pool is of the signs, where every value has one, and whole windows are NaN."""
    maker, channels = GraphMaker(6), 40
    value = maker.node("Sub", ["input", "other"])
    if stage in ("nothing", "PRelu of slope 0"):
        value = fused(maker, value, stage, channels)
    elif stage == "below":  # no threshold is left: all numbers reach it, and a NaN does not
        value = maker.node("Clip", [value, maker.constant(np.float32(2))])
    elif stage == "LeakyRelu":
        value = maker.node("LeakyRelu", [value], alpha=0.0)
    else:
        constant = maker.constant(maker.rng.choice(np.array([-2, 0.5, 0], np.float32), (channels, 1, 1)))
        value = maker.node("Mul" if stage == "Mul" else "Sub", [constant, value])
    window: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    thresholds = maker.constant(maker.rng.choice(np.array([-np.inf, -1, 0, 0.5, np.inf], np.float32), (channels, 1, 1)))
    if first:
        value = maker.node("MaxPool", [maker.node("Binarize", [value, thresholds], "ai.latentbit")], **window)
    else:
        value = maker.node("Binarize", [maker.node("MaxPool", [value], **window), thresholds], "ai.latentbit")
    shape: list[int | str] = ["N", channels, 4, 6]
    out = maker.conv(value, maker.signs(8, channels, 1, 1), unit=True)
    model = maker.model({"input": shape, "other": shape}, [out])
    feeds = {name: special(maker, 4, channels, 4, 6) for name in ("input", "other")}
    feeds["input"][0] = feeds["other"][0] = np.inf
    if first:
        assert_same(model, feeds)
    else:
        with pytest.raises(InputError, match="reads NaN"):
            InferenceSession(model.SerializeToString()).run(None, feeds)
        assert_same(model, {"input": maker.floats(4, channels, 4, 6), "other": maker.floats(4, channels, 4, 6)})


def test_a_nan_that_a_chain_makes_in_front_of_a_pool_is_seen() -> None:
    """A PRelu of slope 0 makes it of −∞, so it is not part of the threshold behind the pool."""
    maker = GraphMaker(7)
    value = fused(maker, "input", "PRelu of slope 0", 8)
    pooled = maker.node("MaxPool", [value], kernel_shape=[2, 2])
    out = maker.conv(maker.binarize(pooled, 8), maker.signs(8, 8, 1, 1), unit=True)
    session = InferenceSession(maker.model({"input": ["N", 8, 4, 4]}, [out]).SerializeToString())
    x = maker.floats(1, 8, 4, 4)
    session.run(None, {"input": x})
    x[0, 0, 1, 1] = -np.inf
    with pytest.raises(InputError, match="reads NaN"):
        session.run(None, {"input": x})
