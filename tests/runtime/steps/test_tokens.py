"""Tokens between packed layers: images as rows and back, windows, layer normalization, without onnxruntime."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.session import InferenceSession

from ...support.graphs import GraphMaker
from ...support.natives import answers, append, float_steps, unit

CHANNELS = st.sampled_from([1, 3, 8, 16, 24, 31, 40, 130])
STAGES = ("Add", "Sub", "Mul", "Relu", "HardSwish", "Add value", "PRelu")


def reshaped(maker: GraphMaker, value: str, *shape: int) -> str:
    return maker.node("Reshape", [value, maker.constant(np.array(shape))])


def turned(maker: GraphMaker, value: str, *perm: int) -> str:
    return maker.node("Transpose", [value], perm=perm)


def compare(model: onnx.ModelProto, x: NDArray[np.float32], floats: set[str]) -> None:
    """Compare every bit with the file's, and the operators that onnxruntime runs with these."""
    expected = ReferenceEvaluator(model).run(None, {"input": x})
    for threads in (1, 2):
        for found, wanted in zip(answers(model, x, threads), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert set(float_steps(model)) == floats


@given(
    st.integers(0, 2**31), st.lists(st.sampled_from(STAGES), max_size=4), CHANNELS, st.integers(1, 3), st.integers(1, 5)
)
@settings(max_examples=25, deadline=None)
def test_a_block_over_tokens_has_the_bits_of_the_file(
    seed: int, stages: list[str], channels: int, batch: int, width: int
) -> None:
    """The block of a ConvNeXt without its normalization: image, tokens, rows, and back to the image to be added to."""
    maker = GraphMaker(seed)
    image = unit(maker, "input", 8, channels)
    tokens = turned(maker, image, 0, 2, 3, 1)
    value = other = reshaped(maker, tokens, -1, 6 * width, channels)
    for stage in stages:
        value = append(maker, stage, value, channels, (other, ""), rank=2)
    rows = maker.dense(
        maker.binarize(reshaped(maker, value, -1, channels), channels, 2), maker.signs(channels, channels)
    )
    rows = maker.node("Mul", [rows, maker.per_channel(channels, 2)])
    back = turned(maker, reshaped(maker, rows, -1, 6, width, channels), 0, 3, 1, 2)
    image = maker.node("Add", [back, image])
    last = maker.conv(maker.binarize(image, channels), maker.signs(8, channels, 3, 3), pads=(1, 1, 1, 1))
    model = maker.model({"input": ["N", 8, 6, width]}, [last, rows, image])
    compare(model, maker.floats(batch, 8, 6, width), {"Transpose"})


@given(st.integers(0, 2**31), CHANNELS, st.integers(1, 3), st.sampled_from(["N", 1]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_pixels_of_windows_are_copied_once_there_and_back(
    seed: int, channels: int, batch: int, count: str | int, straight: bool
) -> None:
    """Patches of 2 × 3 as MobileViT takes them apart (``straight``: as Swin does), a layer, and the image again."""
    maker = GraphMaker(seed)
    image = unit(maker, "input", 8, channels)
    if straight:
        value = reshaped(maker, turned(maker, image, 0, 2, 3, 1), -1, 2, 2, 2, 3, channels)
        value = reshaped(maker, turned(maker, value, 0, 1, 3, 2, 4, 5), -1, 6, channels)
    else:
        value = turned(maker, reshaped(maker, image, -1, 2, 2, 3), 0, 2, 1, 3)
        value = turned(maker, reshaped(maker, value, -1, channels, 4, 6), 0, 3, 2, 1)
        value = reshaped(maker, value, -1, 4, channels)
    value = maker.node("Relu", [value])
    rows = maker.dense(
        maker.binarize(reshaped(maker, value, -1, channels), channels, 2), maker.signs(channels, channels)
    )
    if straight:
        value = turned(maker, reshaped(maker, rows, -1, 2, 2, 2, 3, channels), 0, 1, 3, 2, 4, 5)
        value = turned(maker, reshaped(maker, value, -1, 4, 6, channels), 0, 3, 1, 2)
    else:
        value = turned(maker, reshaped(maker, rows, -1, 6, 4, channels), 0, 3, 2, 1)
        value = turned(maker, reshaped(maker, value, -1, 2, 2, 3), 0, 2, 1, 3)
        value = reshaped(maker, value, -1, channels, 4, 6)
    last = maker.conv(maker.binarize(value, channels), maker.signs(8, channels, 1, 1))
    model = maker.model({"input": [count, 8, 4, 6]}, [last, rows])
    compare(model, maker.floats(batch if count == "N" else 1, 8, 4, 6), {"Transpose"})


@given(st.integers(0, 2**31), st.sampled_from([3, 8, 24]), st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_float_operators_and_callers_read_tokens_in_the_shape_of_the_file(seed: int, channels: int, batch: int) -> None:
    """Images, rows, tokens and flat images all leave our kernels, and flat images and tokens come back."""
    maker = GraphMaker(seed)
    image = unit(maker, "input", 8, channels)
    tokens = turned(maker, image, 0, 2, 3, 1)
    flat = maker.node("Add", [reshaped(maker, image, 0, channels, 15), reshaped(maker, image, 0, channels, 15)])
    read = [maker.node("Softmax", [value], axis=-1) for value in (tokens, flat)]
    two = maker.node("Abs", [reshaped(maker, tokens, -1, 15, channels)])
    again = maker.node("Add", [two, turned(maker, flat, 0, 2, 1)])
    sums = maker.dense(maker.binarize(reshaped(maker, again, -1, channels), channels, 2), maker.signs(9, channels))
    model = maker.model({"input": ["N", 8, 5, 3]}, [sums, tokens, flat, again, *read])
    x = maker.floats(batch, 8, 5, 3)
    for found, wanted in zip(answers(model, x), ReferenceEvaluator(model).run(None, {"input": x}), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)  # a Softmax of theirs
        assert found.shape == wanted.shape


def normalized(
    x: NDArray[np.float32], scale: NDArray[np.float32], bias: NDArray[np.float32], epsilon: float
) -> NDArray[np.float32]:
    """Return the normalization of rows in the order of sums that kernels/norm.py states."""
    count = np.float32(x.shape[1])
    left = x - (_sum(x) / count)[:, None]
    inverse = np.float32(1) / np.sqrt(_sum(left * left) / count + np.float32(epsilon))
    return left * inverse[:, None] * scale + bias


def _sum(x: NDArray[np.float32]) -> NDArray[np.float32]:
    whole = x.shape[1] // 16 * 16
    sums = np.zeros((len(x), 16), np.float32)
    for first in range(0, whole, 16):
        sums = sums + x[:, first : first + 16]
    for lanes in (8, 4, 2, 1):
        sums = sums[:, :lanes] + sums[:, lanes:]
        if x.shape[1] & lanes:
            sums = sums + x[:, whole : whole + lanes]
            whole += lanes
    return sums[:, 0]


@given(st.integers(0, 2**31), st.integers(1, 70), st.integers(1, 3), st.sampled_from([1e-6, 1e-5, 1e-3]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_layer_normalization_sums_in_one_order(
    seed: int, channels: int, batch: int, epsilon: float, biased: bool
) -> None:
    maker = GraphMaker(seed)
    tokens = turned(maker, unit(maker, "input", 8, channels), 0, 2, 3, 1)
    scale, bias = maker.floats(channels), maker.floats(channels) if biased else np.zeros(channels, np.float32)
    given = [maker.constant(scale), *([maker.constant(bias)] if biased else [])]
    value = maker.node("LayerNormalization", [tokens, *given], axis=-1, epsilon=epsilon)
    back = turned(maker, value, 0, 3, 1, 2)
    last = maker.conv(maker.binarize(back, channels), maker.signs(16, channels, 1, 1))
    model = maker.model({"input": ["N", 8, 5, 4]}, [last, value, tokens])
    x = maker.floats(batch, 8, 5, 4)
    for threads in (1, 2):
        _, found, source = answers(model, x, threads)
        rows = normalized(source.reshape(-1, channels), scale, bias, epsilon)
        np.testing.assert_array_equal(found.reshape(-1, channels), rows)
    wanted = ReferenceEvaluator(model).run(None, {"input": x})[1]
    np.testing.assert_allclose(found, wanted, atol=1e-4 * max(1.0, float(np.abs(wanted).max())))
    assert "LayerNormalization" not in float_steps(model)


@pytest.mark.parametrize("axis", [1, 2, -2])
def test_a_normalization_over_more_than_channels_stays_with_onnxruntime(axis: int) -> None:
    maker = GraphMaker(1)
    tokens = turned(maker, unit(maker, "input", 8, 6), 0, 2, 3, 1)
    shape = [5, 4, 6][axis - 1 if axis > 0 else 1 :]
    value = maker.node("LayerNormalization", [tokens, maker.constant(np.ones(shape, np.float32))], axis=axis)
    last = maker.conv(maker.binarize(turned(maker, value, 0, 3, 1, 2), 6), maker.signs(8, 6, 1, 1))
    model = maker.model({"input": ["N", 8, 5, 4]}, [value, last])
    assert "LayerNormalization" in float_steps(model)
    x = maker.floats(2, 8, 5, 4)
    wanted = ReferenceEvaluator(model).run(None, {"input": x})[0]
    np.testing.assert_allclose(answers(model, x)[0], wanted, atol=1e-5)


def test_a_reshape_that_parts_channels_is_no_other_name_of_them() -> None:
    """Rows of other channels, a Transpose that turns images over, and tokens read as an image stay what they are."""
    maker = GraphMaker(2)
    image = unit(maker, "input", 8, 6)
    values = [reshaped(maker, image, -1, 6), turned(maker, image, 0, 2, 1, 3), turned(maker, image, 0, 3, 2, 1)]
    tokens = turned(maker, image, 0, 2, 3, 1)  # [N, 6, 6, 6]: a layer that reads it takes its axis 1 for channels
    values.append(maker.conv(maker.binarize(tokens, 6), maker.signs(8, 6, 1, 1)))
    values.append(maker.dense(maker.binarize(reshaped(maker, image, -1, 6), 6, 2), maker.signs(8, 6)))
    model = maker.model({"input": ["N", 8, 6, 6]}, values)
    x = maker.floats(3, 8, 6, 6)
    for found, wanted in zip(answers(model, x), ReferenceEvaluator(model).run(None, {"input": x}), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_memory_of_tokens_is_told() -> None:
    maker = GraphMaker(3)
    tokens = reshaped(maker, maker.node("Softmax", ["input"], axis=1), -1, 8, 12)
    value = maker.node("Add", [maker.node("Relu", [tokens]), tokens])
    rows = maker.dense(maker.binarize(reshaped(maker, value, -1, 12), 12, 2), maker.signs(12, 12))
    image = turned(maker, reshaped(maker, rows, -1, 4, 2, 12), 0, 3, 1, 2)
    model = maker.model({"input": ["N", 12, 4, 2]}, [maker.node("Abs", [image])])
    session = InferenceSession(model.SerializeToString())
    one, four = (session.memory({"input": [count, 12, 4, 2]}).kernels for count in (1, 4))
    assert 4 * 4 * 8 * 12 < four - one + 4 * 8 * 12 < 4 * 64 * 8 * 12
