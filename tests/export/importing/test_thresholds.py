"""Chains before a sign become thresholds: found by bisection, right for the float32 numbers next to them too."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentbit.export.importing.conversion import convert
from latentbit.export.importing.floats import find_changes
from latentbit.runtime import InferenceSession

from ...support.import_graphs import Source, run, sign_form

CHANNELS = 7
CHAIN = ("Add", "BatchNormalization", "Clip", "Div", "Max", "Mul", "Neg", "Relu", "Sub")
FORMS = ("where >=", "where >", "where <=", "2b-1", "bitorch", "bool", "hardtanh, where")


def link(g: Source, op_type: str, value: str, rng: np.random.Generator, per_channel: bool) -> str:
    """Write an operator that keeps or turns the order of ``value``."""
    shape = (CHANNELS, 1, 1) if per_channel else ()
    number = (rng.uniform(0.2, 2, shape) * rng.choice([-1.0, 1.0], shape)).astype(np.float32)
    if op_type in ("Neg", "Relu"):
        return g(op_type, value)
    if op_type == "Clip":
        return g("Clip", value, g.constant(-2.0), g.constant(1.5))
    if op_type == "BatchNormalization":
        numbers = rng.uniform(0.2, 2, (4, CHANNELS)) * np.array([[1], [1], [1], [1]])
        numbers[:3] *= rng.choice([-1, 1], (3, CHANNELS))
        return g(op_type, value, *(g.constant(row) for row in numbers))
    return g(op_type, value, g.constant(number))


def near(points: NDArray[np.float32], rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return numbers of which many lie one float beside a threshold, or on it."""
    x = (rng.standard_normal(shape) * 2).astype(np.float32)
    chosen = np.broadcast_to(points.reshape(1, -1, 1, 1), shape)
    step = rng.integers(-1, 2, shape)
    close = np.where(step == 0, chosen, np.nextafter(chosen, np.where(step > 0, np.inf, -np.inf).astype(np.float32)))
    return np.where((rng.random(shape) < 0.7) & np.isfinite(chosen), close, x).astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from(CHAIN), min_size=1, max_size=4),
    st.sampled_from(FORMS),
    st.booleans(),
    st.integers(0, 1),
    st.booleans(),
)
def test_chains_before_a_sign_are_thresholds(
    seed: int, chain: list[str], form: str, per_channel: bool, pad: int, pool: bool
) -> None:
    rng = np.random.default_rng(seed)
    g = Source(["N", CHANNELS, 5, 6])
    value = "x"
    for op_type in chain:
        value = link(g, op_type, value, rng, per_channel)
    signs = sign_form(g, form, value)
    if pool:
        signs = g("MaxPool", signs, kernel_shape=[2, 2])
    weight = np.where(rng.random((4, CHANNELS, 3, 3)) < 0.5, 1, -1).astype(np.float32)
    y = g("Conv", signs, g.constant(weight), pads=[pad] * 4)
    with TemporaryDirectory() as folder:
        source, target = g.save(Path(folder) / "s.onnx", y, 4), Path(folder) / "t.onnx"
        (layer,) = convert(source, target).layers
        model = onnx.load(target)
        ends = next((node.input[1] for node in model.graph.node if node.op_type == "Binarize"), None)
        points = np.zeros(CHANNELS, np.float32)
        if ends is not None:
            array = next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == ends)
            points = np.broadcast_to(array.reshape(-1), (CHANNELS,))
        x = near(points, rng, (2, CHANNELS, 5, 6))
        x[0] = near(-points, rng, (1, CHANNELS, 5, 6))[0]  # where a channel was turned
        (found,) = InferenceSession(target).run(None, {"x": x})
        np.testing.assert_array_equal(found, run(source, x, optimise=False))
    if layer.form == "binary":
        left = {node.op_type for node in model.graph.node}
        assert left <= {"Binarize", "BinaryConv2d", "MaxPool", "Mul"}, left
    else:  # every channel is constant, or a Relu leaves one side of the threshold out
        assert layer.reason.startswith(("its input takes the one value", "its input is real: it comes from")), layer


def test_a_norm_that_a_residual_reads_too_is_computed_once(tmp_path: Path) -> None:
    """The value that is computed anyway is compared, not the one before it."""
    g = Source(["N", 8, 5, 5])
    numbers = np.random.default_rng(3).uniform(0.5, 2, (4, 8))
    normed = g("BatchNormalization", "x", *(g.constant(row) for row in numbers))
    weight = np.where(np.random.default_rng(4).random((8, 8, 3, 3)) < 0.5, 1, -1).astype(np.float32)
    y = g("Add", g("Conv", sign_form(g, "where >=", normed), g.constant(weight), pads=[1] * 4), normed)
    source = g.save(tmp_path / "s.onnx", y, 4)
    convert(source, tmp_path / "t.onnx")
    nodes = onnx.load(tmp_path / "t.onnx").graph.node
    assert [node.op_type for node in nodes] == ["BatchNormalization", "Binarize", "BinaryConv2d", "Add"]
    assert nodes[1].input[0] == nodes[0].output[0]
    x = np.random.default_rng(5).standard_normal((2, 8, 5, 5)).astype(np.float32)
    (found,) = InferenceSession(tmp_path / "t.onnx").run(None, {"x": x})
    np.testing.assert_array_equal(found, run(source, x))


def test_a_channel_that_a_norm_makes_constant(tmp_path: Path) -> None:
    g = Source(["N", 3, 5, 5])
    rows = [[1, 0, 0], [0.5, 0.5, -0.5], [0, 0, 0], [1, 1, 1]]
    normed = g("BatchNormalization", "x", *(g.constant(np.array(row, np.float32)) for row in rows))
    weight = np.where(np.random.default_rng(4).random((4, 3, 3, 3)) < 0.5, 1, -1).astype(np.float32)
    y = g("Conv", sign_form(g, "where >=", normed), g.constant(weight))
    source = g.save(tmp_path / "s.onnx", y, 4)
    (layer,) = convert(source, tmp_path / "t.onnx").layers
    assert layer.form == "binary"
    assert "an infinite x is taken as a large number where the source makes NaN of it" in layer.notes
    x = np.random.default_rng(5).standard_normal((2, 3, 5, 5)).astype(np.float32)
    x[0, :, 0] = [[1e38], [-1e38], [3e38]]
    (found,) = InferenceSession(tmp_path / "t.onnx").run(None, {"x": x})
    np.testing.assert_array_equal(found, run(source, x))


@pytest.mark.parametrize("decide", ["keep", "plus", "minus"])
def test_sign_of_relu_is_zero_and_one(decide: Any, tmp_path: Path) -> None:
    """0 is a regular value there: nothing is decided, and padding by 0 is padding by the lower value."""
    g = Source(["N", 4, 5, 5])
    weight = np.where(np.random.default_rng(4).random((4, 4, 3, 3)) < 0.5, 1, -1).astype(np.float32)
    y = g("Conv", g("Sign", g("Relu", "x")), g.constant(weight), pads=[1] * 4)
    source = g.save(tmp_path / "s.onnx", y, 4)
    (layer,) = convert(source, tmp_path / "t.onnx", sign_zero=decide).layers
    assert (layer.form, layer.exact, layer.pad_value) == ("binary", True, -1)
    assert not any("sign_zero" in note for note in layer.notes)
    x = np.random.default_rng(5).standard_normal((2, 4, 5, 5)).astype(np.float32)
    x[0, 0] = 0
    (found,) = InferenceSession(tmp_path / "t.onnx").run(None, {"x": x})
    np.testing.assert_array_equal(found, run(source, x))


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4))
def test_changes_are_found_at_every_float(points: list[float]) -> None:
    """Also at infinity, at the smallest number, and between −0 and 0, which are one."""
    wanted = np.unique(np.array(points, np.float32) + np.float32(0))
    found = find_changes(lambda x: (x[..., None] >= wanted).sum(-1), (), 5)
    assert found is not None
    expected = wanted[wanted > -np.inf]
    np.testing.assert_array_equal(np.array(found[0], np.float32), expected)
    assert [int(value) for value in found[1]] == list(range(len(wanted) - len(expected), len(wanted) + 1))


def test_too_many_changes_are_none() -> None:
    assert find_changes(lambda x: np.floor(np.clip(x, 0, 9)), (3,), 8) is None
