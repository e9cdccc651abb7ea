"""The float stem: near to float64 by the bound of its sums, right in any geometry, the same bits however it is run."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.errors import InputError
from latentbit.runtime.intake.windows import Window
from latentbit.runtime.kernels.registry import can_project
from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choice

from ...support.graphs import GraphMaker

pytestmark = pytest.mark.skipif(
    not can_project(usable_features()), reason="this CPU has no fused multiply-add: onnxruntime does it"
)
PLAIN = Window((3, 3), (2, 2), (1, 1, 1, 1))
POOL = Window((3, 3), (2, 2), (1, 1, 1, 1))
STAGES = ("", "Relu", "HardSwish", "Sub PRelu Add", "SiLU")


@st.composite
def windows(draw: Any, largest: int, *, pool: bool = False) -> Window:
    kernel = draw(st.tuples(st.integers(1, largest), st.integers(1, largest)))
    pads = draw(st.tuples(*(st.integers(0, kernel[axis % 2] - pool) for axis in range(4))))
    strides = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    plain = pool and max(pads[2:]) == 0 and strides[0] <= kernel[0] and strides[1] <= kernel[1]
    return Window(kernel, strides, pads, plain and draw(st.booleans()))


def options(window: Window, pool: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {"kernel_shape": list(window.kernel), "strides": list(window.strides)}
    return made | {"pads": list(window.pads)} | ({"ceil_mode": int(window.ceil)} if pool else {})


def behind(maker: GraphMaker, stages: str, value: str, outputs: int) -> str:
    if stages == "SiLU":
        return maker.node("Mul", [value, maker.node("Sigmoid", [value])])
    if stages == "Sub PRelu Add":
        return maker.rprelu(value, outputs)
    return maker.node(stages, [value]) if stages else value


def stem_model(
    maker: GraphMaker,
    weight: NDArray[np.float32],
    window: Window,
    size: tuple[int, int],
    *,
    stages: str = "",
    pool: Window | None = None,
    bias: bool = True,
) -> onnx.ModelProto:
    """The stem, a binary layer on its signs, and the stem's floats as they are: its scale is 0, and they are added."""
    outputs, channels = weight.shape[:2]
    inputs = ["input", maker.constant(weight), *([maker.constant(maker.floats(outputs))] if bias else [])]
    value = behind(maker, stages, maker.node("Conv", inputs, **options(window)), outputs)
    if pool is not None:
        value = maker.node("MaxPool", [value], **options(pool, pool=True))
    signs, nothing = maker.binarize(value, outputs), np.zeros(outputs)
    plain: dict[str, Any] = {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "group": 1, "pad_value": 0.0}
    layer = maker.binary("BinaryConv2d", signs, maker.signs(outputs, outputs, 1, 1), nothing, nothing, **plain)
    return maker.model({"input": ["N", channels, *size]}, [maker.node("Add", [layer, value])])


def run(model: onnx.ModelProto, x: NDArray[np.float32], threads: int = 1) -> NDArray[np.float32]:
    """Return the floats of the stem, which our kernels have to make."""
    session = InferenceSession(model.SerializeToString(), num_threads=threads)
    assert session.get_steps()[0].kernel == "direct"
    assert {op for step in session.get_steps() if step.kernel == "onnxruntime" for op in step.ops} <= {"Transpose"}
    found: NDArray[np.float32] = session.run(None, {"input": x})[0]
    return found


def stock(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})[0]
    return result


def exact(
    x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any], window: Window
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the convolution in float64, and that of the absolute values."""
    top, left, bottom, right = window.pads
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    views = np.lib.stride_tricks.sliding_window_view(padded, window.kernel, axis=(2, 3))
    views = views[:, :, :: window.strides[0], :: window.strides[1]]
    shift = bias[:, None, None].astype(np.float64)
    wide = weight.astype(np.float64)
    value = np.einsum("nchwyx,ocyx->nohw", views, wide) + shift
    return value, np.einsum("nchwyx,ocyx->nohw", np.abs(views), np.abs(wide)) + np.abs(shift)


@given(
    st.integers(0, 2**31),
    st.integers(1, 7),
    st.sampled_from([8, 16, 24, 40, 64]),
    windows(5),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_the_sums_are_as_near_as_float32_allows(
    seed: int, channels: int, outputs: int, window: Window, size: tuple[int, int], batch: int
) -> None:
    assume(min(window.output_size(*size)) > 0)
    maker = GraphMaker(seed)
    weight, x = maker.floats(outputs, channels, *window.kernel), maker.floats(batch, channels, *size)
    model = stem_model(maker, weight, window, size)
    bias = onnx.numpy_helper.to_array(next(one for one in model.graph.initializer if one.dims == [outputs]))
    value, size_of_terms = exact(x, weight, bias, window)
    # One rounding for each term and one for the bias, each of at most 2⁻²⁴ of the sum so far.
    bound = (weight[0].size + 1) * 2.0**-24 * 1.01 * size_of_terms
    found = run(model, x)
    assert np.all(np.abs(found - value) <= bound)
    if "fma" in usable_features():
        np.testing.assert_array_equal(found, stock(model, x))  # in whose order it sums
    for threads in (2, 2):
        np.testing.assert_array_equal(run(model, x, threads), found)


@given(
    st.integers(0, 2**31),
    st.sampled_from([8, 24, 32]),
    windows(4),
    st.sampled_from(STAGES),
    windows(3, pool=True),
    st.tuples(st.integers(6, 30), st.integers(6, 30)),
    st.integers(1, 2),
)
@settings(max_examples=60, deadline=None)
def test_stages_and_a_pool_behind_it(
    seed: int, outputs: int, window: Window, stages: str, pool: Window, size: tuple[int, int], batch: int
) -> None:
    sums = window.output_size(*size)
    assume(all(length >= kernel for length, kernel in zip(sums, pool.kernel, strict=True)))
    assume(min(pool.output_size(*sums)) > 0)
    maker = GraphMaker(seed)
    weight, x = maker.floats(outputs, 3, *window.kernel), maker.floats(batch, 3, *size)
    pooled = stages != "SiLU"  # of which a chain behind the stem is made, and it has no pool
    model = stem_model(maker, weight, window, size, stages=stages, pool=pool if pooled else None)
    found = run(model, x)
    np.testing.assert_allclose(found, stock(model, x), rtol=1e-5, atol=2e-4)
    for threads in (2, 2):
        np.testing.assert_array_equal(run(model, x, threads), found)


@pytest.mark.parametrize("stages", STAGES[:-1])
def test_it_answers_as_the_file_says(stages: str) -> None:
    maker = GraphMaker(3)
    model = stem_model(maker, maker.floats(16, 3, 3, 3), PLAIN, (17, 22), stages=stages, pool=POOL, bias=False)
    x = maker.floats(2, 3, 17, 22)
    wanted = ReferenceEvaluator(model).run(None, {"input": x})[0]
    np.testing.assert_allclose(run(model, x), wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("outputs", [8, 16, 24, 32, 48, 104])
@pytest.mark.parametrize("pool", [None, POOL])
def test_all_tiles_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, outputs: int, pool: Window | None) -> None:
    """A tile for AVX-512 sums in the same order as the others, so a library of any class answers alike."""
    maker = GraphMaker(outputs)
    window = Window((5, 3), (2, 2), (1, 1, 1, 1))
    model = stem_model(maker, maker.floats(outputs, 3, 5, 3), window, (29, 35), stages="Relu", pool=pool)
    x = maker.floats(1, 3, 29, 35)
    here = run(model, x)
    monkeypatch.setattr(choice, "usable_features", lambda: usable_features() - {"avx512f"})
    np.testing.assert_array_equal(run(model, x), here)


def test_one_session_takes_every_size_in_turn() -> None:
    maker = GraphMaker(8)
    value = maker.node("Conv", ["input", maker.constant(maker.floats(16, 2, 3, 3))], **options(PLAIN))
    value = maker.node("MaxPool", [maker.node("HardSwish", [value])], **options(POOL, pool=True))
    layer = maker.conv(maker.binarize(value, 16), maker.signs(8, 16, 1, 1))
    model = maker.model({"input": ["N", 2, "H", "W"]}, [layer])
    session = InferenceSession(model.SerializeToString())
    assert session.get_steps()[0].ops == ("Conv", "HardSwish", "MaxPool")
    feeds = [maker.floats(batch, 2, *size) for batch, size in ((1, (9, 9)), (3, (16, 5)), (1, (40, 31)), (2, (9, 9)))]
    for x in (*feeds, *reversed(feeds)):
        found, wanted = session.run(None, {"input": x})[0], stock(model, x)
        assert found.shape == wanted.shape
        assert np.mean(np.abs(found - wanted) > 1e-3) < 0.02  # a sign may turn


def test_an_image_that_is_too_small_is_refused_in_a_line() -> None:
    maker = GraphMaker(9)
    model = stem_model(maker, maker.floats(8, 3, 5, 5), Window((5, 5), (1, 1), (0, 0, 0, 0)), (4, 9))
    with pytest.raises(InputError, match=r"an image of 4×9 is smaller than its window$"):
        InferenceSession(model.SerializeToString()).run(None, {"input": maker.floats(1, 3, 4, 9)})


@pytest.mark.parametrize("pool", [None, POOL])
@pytest.mark.parametrize("stages", ["", "Relu"])
def test_any_value_but_a_pooled_nan(stages: str, pool: Window | None) -> None:
    maker = GraphMaker(10)
    weight = maker.rng.integers(1, 3, (16, 1, 3, 3)).astype(np.float32)
    model = stem_model(maker, weight, PLAIN, (12, 15), stages=stages, pool=pool)
    x = maker.rng.choice(np.array([0, -0.0, 1, -2, 0.25], np.float32), (4, 1, 12, 15))
    x[0, 0, 3, 3], x[1, 0, 7, 2] = np.inf, -np.inf
    np.testing.assert_array_equal(run(model, x), stock(model, x))
    x[2, 0, 5, 5], x[2, 0, 5, 6] = np.inf, -np.inf  # whose sum is NaN
    if pool is None:
        np.testing.assert_array_equal(run(model, x), stock(model, x))
    else:
        with pytest.raises(InputError, match="a max-pool reads NaN"):
            run(model, x)


def test_a_pool_that_several_read() -> None:
    """As in ResNet and ShuffleNet: layers with thresholds of their own, and the floats as a residual."""
    maker = GraphMaker(11)
    value = maker.node("Conv", ["input", maker.constant(maker.floats(16, 3, 7, 7))], strides=[2, 2], pads=[3, 3, 3, 3])
    maker.nodes[-1].attribute.append(onnx.helper.make_attribute("kernel_shape", [7, 7]))
    pooled = maker.node("MaxPool", [maker.node("Relu", [value])], **options(POOL, pool=True))
    layers = [maker.conv(maker.binarize(pooled, 16), maker.signs(16, 16, 3, 3), pads=(1, 1, 1, 1)) for _ in range(2)]
    model = maker.model({"input": [1, 3, 40, 40]}, [maker.node("Add", [layers[0], pooled]), layers[1]])
    x = maker.floats(1, 3, 40, 40)
    session = InferenceSession(model.SerializeToString())
    (stem,) = [step for step in session.get_steps() if step.kernel == "direct"]
    assert stem.ops == ("Conv", "Relu", "MaxPool")
    wanted = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    for found, right in zip(session.run(None, {"input": x}), wanted, strict=True):
        assert np.mean(np.abs(found - right) > 1e-3) < 0.01  # a sign may turn


@pytest.mark.parametrize(
    "reason",
    [
        "read by floats",
        "an answer",
        "odd outputs",
        "many channels",
        "a made source",
        "infinite weight",
        "groups",
        "dilations",
    ],
)
def test_what_stays_with_onnxruntime(reason: str) -> None:
    maker, outputs, channels = (
        GraphMaker(12),
        10 if reason == "odd outputs" else 16,
        8 if reason == "many channels" else 4,
    )
    weight = maker.floats(outputs, channels // (2 if reason == "groups" else 1), 3, 3)
    if reason == "infinite weight":
        weight[0, 0, 0, 0] = np.inf
    source = maker.node("Neg", ["input"]) if reason == "a made source" else "input"
    attributes: dict[str, Any] = {"kernel_shape": [3, 3]}
    others: dict[str, dict[str, Any]] = {"groups": {"group": 2}, "dilations": {"dilations": [2, 2]}}
    attributes |= others.get(reason, {})
    value = maker.node("Conv", [source, maker.constant(weight)], **attributes)
    layer = maker.conv(maker.binarize(value, outputs), maker.signs(8, outputs, 1, 1))
    answers = [layer, *{"read by floats": [maker.node("Tan", [value])], "an answer": [value]}.get(reason, [])]
    model = maker.model({"input": [1, channels, 8, 8]}, answers)
    session = InferenceSession(model.SerializeToString())
    assert session.get_steps()[0].kernel == "onnxruntime"
    x = maker.floats(1, channels, 8, 8)
    wanted = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    for found, right in zip(session.run(None, {"input": x}), wanted, strict=True):
        np.testing.assert_array_equal(found, right)


def test_without_a_fused_multiply_add_it_stays_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = GraphMaker(13)
    data = stem_model(maker, maker.floats(16, 3, 3, 3), PLAIN, (8, 8)).SerializeToString()
    monkeypatch.setattr(choice, "usable_features", lambda: usable_features() - {"fma", "asimd"})
    assert InferenceSession(data).get_steps()[0].kernel == "onnxruntime"
