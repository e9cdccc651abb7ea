"""Max-pools and average pools between packed layers, of floats, channels last."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.errors import InputError
from latentbit.runtime.session import InferenceSession

from ...support.graphs import GraphMaker
from ...support.natives import answers, float_steps, unit

WINDOWS: dict[str, dict[str, Any]] = {
    "halves": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "resnet": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    "same": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    "googlenet": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "odd": {"kernel_shape": [5, 4], "strides": [3, 2], "pads": [2, 1, 1, 3]},
}


def pooled(maker: GraphMaker, op: str, channels: int, size: tuple[int, int], **window: Any) -> onnx.ModelProto:
    """Return a pool of a layer's output that a layer reads and the model answers with."""
    value = maker.node(op, [maker.node("Add", [unit(maker, "input", 8, channels), "other"])], **window)
    shapes = {"input": [3, 8, *size], "other": [3, channels, *size]}
    return maker.model(shapes, [value, unit(maker, value, channels, 8)])


@given(
    st.integers(0, 2**31),
    st.sampled_from(["AveragePool", "AveragePool with pads", "MaxPool"]),
    st.sampled_from(sorted(WINDOWS)),
    st.sampled_from([1, 5, 8, 13, 24, 40, 64, 100, 200]),
    st.tuples(st.integers(5, 12), st.integers(5, 12)),
    st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_a_pool_has_the_values_of_onnxruntime(
    seed: int, op: str, window: str, channels: int, size: tuple[int, int], threads: int
) -> None:
    maker, (name, *pads) = GraphMaker(seed), op.split(" ", 1)
    attributes = WINDOWS[window] | ({"count_include_pad": 1} if pads else {})
    model = pooled(maker, name, channels, size, **attributes)
    assert name not in float_steps(model)
    feeds = {"input": maker.floats(3, 8, *size), "other": maker.floats(3, channels, *size)}
    session = InferenceSession(model.SerializeToString(), num_threads=threads)
    mine = session.run(None, feeds)
    theirs = ort.InferenceSession(model.SerializeToString()).run(None, feeds)
    if name == "MaxPool":
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])
    else:  # the order of the sums is that of the pixels, here and, on this CPU at least, in onnxruntime
        np.testing.assert_allclose(mine[0], theirs[0], rtol=0, atol=1e-6 * max(1.0, float(np.abs(theirs[0]).max())))


def test_an_average_whose_window_ends_behind_its_padding_counts_as_onnxruntime_counts() -> None:
    model = pooled(GraphMaker(1), "AveragePool", 8, (6, 6), **WINDOWS["googlenet"], count_include_pad=1)
    assert "AveragePool" not in float_steps(model)  # without pads there is nothing to include
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 0], "ceil_mode": 1, "count_include_pad": 1}
    assert "AveragePool" in float_steps(pooled(GraphMaker(1), "AveragePool", 8, (6, 6), **window))


@pytest.mark.parametrize("threads", [1, 2])
def test_infinities_are_pooled_as_numbers_are(threads: int) -> None:
    maker, channels = GraphMaker(2), 40
    model = pooled(maker, "MaxPool", channels, (4, 6), **WINDOWS["halves"])
    session = InferenceSession(model.SerializeToString(), num_threads=threads)
    feeds = {"input": maker.floats(3, 8, 4, 6), "other": np.full((3, channels, 4, 6), -np.inf, np.float32)}
    assert np.all(session.run(None, feeds)[0] == -np.inf)
    feeds["other"][2, channels - 1, 3, 5] = np.inf
    found = session.run(None, feeds)[0]
    assert np.argwhere(found != -np.inf).tolist() == [[2, channels - 1, 1, 2]]
    assert found[2, channels - 1, 1, 2] == np.inf


def test_a_nan_that_the_network_makes_is_refused_by_the_pool() -> None:
    maker = GraphMaker(2)
    value = maker.node("Mul", [maker.node("Mul", [unit(maker, "input", 8, 8), "one"]), "two"])
    pool = maker.node("MaxPool", [value], **WINDOWS["same"])
    shape = [2, 8, 4, 5]
    model = maker.model(dict.fromkeys(("input", "one", "two"), shape), [pool, unit(maker, pool, 8, 8)])
    session = InferenceSession(model.SerializeToString())
    feeds = {name: maker.floats(2, 8, 4, 5) for name in ("input", "one", "two")}
    session.run(None, feeds)
    feeds["one"][1, 7, 3, 4], feeds["two"][1, 7, 3, 4] = np.inf, 0
    for run in (lambda: session.run(None, feeds), lambda: session.profile(feeds)):
        with pytest.raises(InputError, match=r"^node maxpool.*: a max-pool reads NaN"):
            run()
    feeds["two"][1, 7, 3, 4] = 1
    session.run(None, feeds)


@pytest.mark.parametrize("chain", ["", "Add", "falling"])
@pytest.mark.parametrize("before", ["unit", "Conv"])
@pytest.mark.parametrize("beside", ["layers", "a residual", "the model"])
def test_two_layers_that_read_one_pool_pool_once(chain: str, before: str, beside: str) -> None:
    maker, channels = GraphMaker(7), 24
    if before == "unit":
        value = unit(maker, "input", 8, channels)
    else:
        value = maker.node("Conv", ["input", maker.constant(maker.floats(channels, 8, 1, 1))])
    if chain == "Add":
        value = maker.node("Add", [value, maker.per_channel(channels)])
    elif chain:
        value = maker.node("Mul", [value, maker.per_channel(channels)])
    value = maker.node("MaxPool", [value], **WINDOWS["resnet"])
    layers = [unit(maker, value, channels, 24), unit(maker, value, channels, 8)]
    if beside == "a residual":
        layers[0] = maker.node("Add", [layers[0], value])
    elif beside == "the model":
        layers.append(value)
    model = maker.model({"input": [2, 8, 9, 11]}, layers)
    x = maker.floats(2, 8, 9, 11)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    for found, wanted in zip(answers(model, x), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    session = InferenceSession(model.SerializeToString())
    steps = [op for step in session.get_steps() for op in step.ops if op == "MaxPool"]
    assert len(steps) == (1 if chain != "falling" or beside != "layers" else 2)
