"""Native ends of networks: float dense layers, and the means and views in front of them."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentbit.runtime.errors import LatentbitError
from latentbit.runtime.kernels.registry import can_project
from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choice

from ...support.graphs import GraphMaker
from ...support.natives import float_steps, unit

needs_products = pytest.mark.skipif(
    not can_project(usable_features()), reason="this CPU has no fused multiply-add: onnxruntime does it"
)
FORMS = ("Gemm", "Gemm of a turned weight", "Gemm without bias", "Gemm of one bias", "MatMul", "MatMul and Add")


def stock(model: onnx.ModelProto, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answers: list[NDArray[Any]] = session.run(None, feeds)
    return answers


def linear(maker: GraphMaker, value: str, inputs: int, outputs: int, form: str = FORMS[0]) -> tuple[str, NDArray[Any]]:
    """Put a float dense layer behind a value; return its output, and weight and bias ``[inputs + 1, outputs]``."""
    weight, bias = maker.floats(inputs, outputs), maker.floats(outputs)
    if form in ("Gemm without bias", "MatMul"):
        bias = np.zeros(outputs, np.float32)
    elif form == "Gemm of one bias":
        bias = np.full(outputs, bias[0])
    together = np.concatenate([weight, bias[None]]).astype(np.float64)
    if form.startswith("MatMul"):
        value = maker.node("MatMul", [value, maker.constant(weight)])
        return maker.node("Add", [value, maker.constant(bias)]) if form == "MatMul and Add" else value, together
    turned = form == "Gemm of a turned weight"
    reads = [value, maker.constant(np.ascontiguousarray(weight.T) if turned else weight)]
    if form == "Gemm of one bias":
        reads.append(maker.constant(bias[:1]))
    elif form != "Gemm without bias":
        reads.append(maker.constant(bias[None] if outputs % 2 else bias))
    return maker.node("Gemm", reads, transB=int(turned)), together


def assert_near(found: NDArray[np.float32], x: NDArray[np.float32], layer: NDArray[Any]) -> None:
    """Hold an answer against the sums in float64, within the bound of kernels/linear.py and a little more."""
    wide = np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)
    roundings = 130 + -(-x.shape[1] // 128)
    np.testing.assert_array_less(
        np.abs(found - wide @ layer), 1.001 * roundings * 2.0**-24 * (np.abs(wide) @ np.abs(layer)) + 1e-38
    )


@needs_products
@given(
    st.integers(0, 2**31),
    st.sampled_from(FORMS),
    st.sampled_from([1, 3, 64, 127, 128, 129, 300]),
    st.sampled_from([1, 7, 16, 17, 33, 64, 65, 130]),
    st.integers(1, 9),
)
@settings(max_examples=40, deadline=None)
def test_a_dense_layer_is_as_near_as_its_sums_allow_however_it_is_run(
    seed: int, form: str, inputs: int, outputs: int, rows: int
) -> None:
    maker = GraphMaker(seed)
    source = maker.dense(maker.binarize("input", 8, 2), maker.signs(inputs, 8))
    value, layer = linear(maker, source, inputs, outputs, form)
    model, x = maker.model({"input": ["N", 8]}, [value, source]), maker.floats(rows, 8)
    data = model.SerializeToString()
    session = InferenceSession(data)
    assert not float_steps(model)
    found, given = session.run(None, {"input": x})
    assert_near(found, given, layer)
    np.testing.assert_allclose(found, stock(model, {"input": x})[0], rtol=0, atol=1e-5 * inputs**0.5 * 8)
    shared = InferenceSession(data, num_threads=2, share="always")
    for other in (session, shared):
        np.testing.assert_array_equal(other.run(None, {"input": x})[0], found)
    for row in range(rows):
        np.testing.assert_array_equal(session.run(None, {"input": x[row : row + 1]})[0][0], found[row])
    with pytest.MonkeyPatch.context() as patch:  # a library for CPUs without AVX-512 has other tiles, and the same bits
        patch.setattr(choice, "usable_features", lambda: usable_features() - {"avx512f"})
        np.testing.assert_array_equal(InferenceSession(data).run(None, {"input": x})[0], found)


def pooled(maker: GraphMaker, value: str, form: str, channels: int, batch: int) -> str:
    """Make rows of images of 3×5 as networks end."""
    pool, _, view = form.partition(" ")
    if pool == "ReduceMean":
        axes = maker.constant(np.array([-1, 2]))
        value = maker.node("ReduceMean", [value, axes], keepdims=int(bool(view)))
    elif pool == "AveragePool":
        value = maker.node("AveragePool", [value], kernel_shape=[3, 5], strides=[1, 1])
    else:
        value = maker.node("GlobalAveragePool", [value])
    if view == "Flatten":
        return maker.node("Flatten", [value], axis=1)
    if view == "Squeeze":
        return maker.node("Squeeze", [value, maker.constant(np.array([3, -2]))])
    if view == "Squeeze Flatten":
        return maker.node("Flatten", [maker.node("Squeeze", [value, maker.constant(np.array([2]))])])
    shapes = {"Reshape": (0, -1), "Reshape once": (batch, channels), "Reshape anew": (-1, channels)}
    return maker.node("Reshape", [value, maker.constant(np.array(shapes[view]))]) if view else value


VIEWS = ("Flatten", "Squeeze", "Squeeze Flatten", "Reshape", "Reshape once", "Reshape anew")
ENDS = (*(f"{pool} {view}" for pool in ("GlobalAveragePool", "AveragePool", "ReduceMean") for view in VIEWS),)


@needs_products
@pytest.mark.parametrize("form", [*ENDS, "ReduceMean"])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_ends_without_onnxruntime(form: str, batch: int) -> None:
    maker, channels = GraphMaker(batch), 24
    image = unit(maker, "input", 8, channels)
    rows = pooled(maker, image, form, channels, batch)
    value, layer = linear(maker, rows, channels, 10)
    value = maker.node("Relu", [value])
    model = maker.model({"input": [batch, 8, 3, 5]}, [value, rows])
    x = maker.floats(batch, 8, 3, 5)
    session = InferenceSession(model.SerializeToString())
    assert set(float_steps(model)) <= {"Transpose"}
    found, mean = session.run(None, {"input": x})
    wanted = stock(model, {"input": x})
    np.testing.assert_allclose(mean, wanted[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found, wanted[0], rtol=0, atol=1e-4)
    exact = np.maximum(np.concatenate([mean, np.ones((batch, 1))], axis=1) @ layer, 0)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5)
    shared = InferenceSession(model.SerializeToString(), num_threads=2, share="always")
    for one, other in zip(shared.run(None, {"input": x}), (found, mean), strict=True):
        np.testing.assert_array_equal(one, other)


@needs_products
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("activation", ["", "Relu", "Relu twice"])
def test_rows_that_the_caller_feeds_need_no_onnxruntime(rows: int, activation: str) -> None:
    """An autoencoder: both float ends are ours, and what is fed is new at each run, wherever it lies."""
    maker = GraphMaker(rows)
    value, first = linear(maker, "input", 40, 70)
    hidden = value
    for _ in range(len(activation.split())):
        hidden = maker.node("Relu", [hidden])
    inner = maker.dense(maker.binarize(hidden, 70, 2), maker.signs(50, 70), unit=True)
    inner = maker.node(
        "Add", [inner, maker.node("Mul", [maker.dense(maker.binarize(inner, 50, 2), maker.signs(50, 50)), inner])]
    )
    out, last = linear(maker, inner, 50, 40)
    model = maker.model({"input": ["N", 40]}, [out, value, inner])
    assert not float_steps(model)
    session = InferenceSession(model.SerializeToString())
    for step in range(3):
        x = maker.floats(rows, 80)[:, ::2] if step == 1 else maker.floats(rows, 40)
        found, value_found, inner_found = session.run(None, {"input": x})
        assert_near(value_found, x, first)
        assert_near(found, inner_found, last)


def ill(maker: GraphMaker, reason: str) -> str:
    """Return the output of a network with a product of rows that is not ours."""
    value = maker.dense(maker.binarize("input", 8, 2), maker.signs(12, 8))
    weight, bias = maker.constant(maker.floats(12, 12)), maker.constant(maker.floats(12))
    if reason == "a scale":
        return maker.node("Gemm", [value, weight, bias], alpha=0.5)
    if reason == "rows turned":
        return maker.node("Gemm", [value, maker.constant(maker.floats(2, 5))], transA=1)
    if reason == "a bias a row":
        return maker.node("Gemm", [value, weight, maker.constant(maker.floats(2, 1))])
    if reason == "a made weight":
        return maker.node("MatMul", [value, maker.node("Tanh", [weight])])
    return maker.node("Tanh", [maker.node("Gemm", ["input", maker.constant(maker.floats(8, 3))])])


@pytest.mark.parametrize("reason", ["a scale", "rows turned", "a bias a row", "a made weight", "a float reader"])
def test_what_is_no_plain_dense_layer_beside_packed_ones_stays_with_onnxruntime(reason: str) -> None:
    maker = GraphMaker(4)
    out = ill(maker, reason)
    model = maker.model({"input": [2, 8]}, [out])
    assert {"Gemm", "MatMul"} & set(float_steps(model))
    x = maker.floats(2, 8)
    (found,) = InferenceSession(model.SerializeToString()).run(None, {"input": x})
    np.testing.assert_array_equal(found, stock(model, {"input": x})[0])


def test_a_cpu_without_fused_multiply_add_leaves_products_to_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = GraphMaker(8)
    value, _ = linear(maker, maker.dense(maker.binarize("input", 8, 2), maker.signs(12, 8)), 12, 5)
    model = maker.model({"input": ["N", 8]}, [value])
    monkeypatch.setattr(choice, "usable_features", lambda: usable_features() - {"asimd", "fma"})
    assert float_steps(model) == ["Gemm"]


@needs_products
@pytest.mark.parametrize("batch", [1, 2])
def test_memory_of_two_names_is_not_written_over(batch: int) -> None:
    """A residual that a view reads, or gives, is read again by rows, by floats and by the caller."""
    maker = GraphMaker(batch)
    image = maker.node("GlobalAveragePool", [unit(maker, "input", 8, 16)])
    rows = maker.node("Flatten", [image])
    logits, _ = linear(maker, rows, 16, 5)
    beside = maker.node("Add", [unit(maker, image, 16, 16), image])  # images run first, and could write on the spot
    hidden = maker.node("Add", [maker.dense(maker.binarize(rows, 16, 2), maker.signs(16, 16)), rows])
    late = maker.node("Tanh", [image])
    later = unit(maker, late, 16, 8)
    model = maker.model({"input": ["N", 8, 4, 4]}, [logits, beside, hidden, later])
    x = maker.floats(batch, 8, 4, 4)
    session = InferenceSession(model.SerializeToString())
    for _ in range(2):
        for found, wanted in zip(session.run(None, {"input": x}), stock(model, {"input": x}), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@needs_products
def test_images_of_one_pixel_and_their_rows_are_both_answers() -> None:
    maker = GraphMaker(6)
    image = maker.node("GlobalAveragePool", [unit(maker, "input", 8, 16)])
    rows = maker.node("Flatten", [image])
    model = maker.model({"input": ["N", 8, 4, 4]}, [rows, image])
    x = maker.floats(3, 8, 4, 4)
    for threads in (1, 2):
        share = "always" if threads > 1 else "auto"
        session = InferenceSession(model.SerializeToString(), num_threads=threads, share=share)
        for _ in range(2):
            first, second = session.run(None, {"input": x})
            np.testing.assert_array_equal(first, second[:, :, 0, 0])
        session.profile({"input": x})
    assert "Flatten" not in float_steps(model)


@pytest.mark.parametrize("claim", ["pixels", "window"])
def test_a_size_that_a_file_only_claims_makes_no_wrong_answer(claim: str) -> None:
    maker = GraphMaker(2)
    image = unit(maker, "input", 8, 16)
    pool: dict[str, Any] = {"kernel_shape": [4, 4], "strides": [1, 1]} if claim == "window" else {}
    value = maker.node("AveragePool", [image], **pool) if pool else image
    linear(maker, maker.node("Flatten", [value]), 16, 3)
    maker.nodes[-1].output[0] = "y"
    model = maker.build({"input": ["N", 8, "H", "W"]}, {"y": ["N", 3]})
    claims: dict[str, list[str | int]] = {image: ["N", 16, *([4, 4] if pool else [1, 1])], value: ["N", 16, 1, 1]}
    claims[maker.nodes[-1].input[0]] = ["N", 16]
    for name, shape in claims.items():
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    true, other = ((4, 4), (5, 5)) if pool else ((1, 1), (2, 2))
    session = InferenceSession(model.SerializeToString())
    x = maker.floats(2, 8, *true)
    np.testing.assert_allclose(session.run(None, {"input": x})[0], stock(model, {"input": x})[0], rtol=0, atol=1e-4)
    with pytest.raises(LatentbitError):
        InferenceSession(model.SerializeToString()).run(None, {"input": maker.floats(2, 8, *other)})


@needs_products
def test_rows_are_made_of_images_that_no_layer_has_written_over() -> None:
    """On a level images come first, also those of a layer that stands behind the mean in the file."""
    maker = GraphMaker(9)
    image = unit(maker, "input", 8, 16)
    rows = maker.node("ReduceMean", [image, maker.constant(np.array([2, 3]))], keepdims=0)
    logits, _ = linear(maker, rows, 16, 5)
    beside = maker.node("Add", [unit(maker, image, 16, 16), image])
    model = maker.model({"input": ["N", 8, 4, 4]}, [logits, beside])
    x = maker.floats(2, 8, 4, 4)
    for found, wanted in zip(
        InferenceSession(model.SerializeToString()).run(None, {"input": x}), stock(model, {"input": x}), strict=True
    ):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
