"""What is known of operators without their bodies: layers by form, sources of signs, one number per channel."""

import contextlib
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentbit.runtime.errors import ModelError
from latentbit.runtime.operators import LAYERS, SIGN_KEEPING, SIGNATURES, channel_vector, find_layer, sign_sources
from latentbit.runtime.session.float_model import engine_errors, open_session


def test_every_layer_is_found_by_its_form() -> None:
    assert {find_layer(rank, real_input=real).name for rank in (2, 4) for real in (False, True)} == LAYERS
    for name in LAYERS:
        assert find_layer(SIGNATURES[name].rank, real_input=SIGNATURES[name].real_input) is SIGNATURES[name]


@pytest.mark.parametrize("op_type", sorted(SIGN_KEEPING))
def test_signs_come_from_the_first_input(op_type: str) -> None:
    expected = ["a", "b"] if op_type == "Concat" else ["a"]
    assert list(sign_sources(op_type, "", ["a", "b"])) == expected
    assert list(sign_sources(op_type, "ai.onnx", ["a", "b"])) == expected
    assert not sign_sources(op_type, "com.microsoft", ["a", "b"]), "an operator of another domain is another operator"


def test_a_dropout_that_may_train_keeps_no_signs() -> None:
    assert not sign_sources("Dropout", "", ["a", "ratio", "training"])
    assert list(sign_sources("Dropout", "", ["a", "ratio", ""])) == ["a"]
    assert list(sign_sources("Dropout", "", ["a", None, None])) == ["a"]


def test_a_pool_keeps_signs_where_no_window_lies_in_the_padding_alone() -> None:
    """onnxruntime gives such a window the lowest number, which is no sign."""
    rng, kept = np.random.default_rng(0), 0
    for _ in range(150):
        window: dict[str, Any] = {"kernel_shape": rng.integers(1, 4, 2).tolist()}
        window |= {"strides": rng.integers(1, 4, 2).tolist(), "dilations": rng.integers(1, 3, 2).tolist()}
        window |= {"ceil_mode": int(rng.integers(2))}
        window |= [{}, {"pads": rng.integers(0, 3, 4).tolist()}, {"auto_pad": "SAME_UPPER"}][rng.integers(3)]
        if not sign_sources("MaxPool", "", ["x"], window):
            continue
        info = [onnx.helper.make_tensor_value_info(name, 1, None) for name in "xy"]
        node = onnx.helper.make_node("MaxPool", ["x"], ["y"], **window)
        model = onnx.helper.make_model(
            onnx.helper.make_graph([node], "pool", info[:1], info[1:]),
            ir_version=8,
            opset_imports=[onnx.helper.make_opsetid("", 18)],
        )
        try:
            pool = open_session(model.SerializeToString(), 1)
        except ModelError:  # pads that onnxruntime refuses
            continue
        for height, width in ((1, 1), (1, 4), (3, 2), (5, 6)):
            image = np.where(rng.random((1, 1, height, width)) < 0.5, np.float32(1), np.float32(-1))
            with contextlib.suppress(*engine_errors()):  # an image that is smaller than the window
                assert np.all(np.abs(pool.run(None, {"x": image})[0]) == 1), (window, height, width)
                kept += 1
    assert kept > 50


@st.composite
def constants(draw: Any) -> tuple[NDArray[np.float32], int, int]:
    rank, channels = draw(st.sampled_from([2, 4])), draw(st.sampled_from([1, 3]))
    shape = draw(st.lists(st.sampled_from([1, 2, channels]), max_size=rank + 1))
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape), rank, channels


@given(constants())
def test_one_number_per_channel_is_what_numpy_would_broadcast(case: tuple[NDArray[np.float32], int, int]) -> None:
    array, rank, channels = case
    value = np.zeros((5, channels, 7, 7)[:rank], np.float32)
    try:
        summed = value + array
        fits = summed.shape == value.shape and array.ndim <= rank
    except ValueError:
        fits = False
    found = channel_vector(array, rank, channels)
    assert (found is not None) is fits
    if found is not None:
        np.testing.assert_array_equal(value + found.reshape(-1, *(1,) * (rank - 2)), summed)
    assert channel_vector(array.astype(np.float64), rank, channels) is None
