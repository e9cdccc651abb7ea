"""Where zero falls: Sign(0) = 0, sums that are never 0, ties that the source rounds, readers beside the layer."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from latentbit.export.importing.conversion import convert

from ...support.import_graphs import Source, run, sign_form

RNG = np.random.default_rng(29)


def signs(*shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < 0.5, 1, -1).astype(np.float32)


def image() -> Source:
    return Source(["N", 4, 6, 6])


def sign_of_zero() -> tuple[Source, str]:
    g = image()
    return g, g("Conv", g("Sign", "x"), g.constant(signs(3, 4, 3, 3)))


@pytest.mark.parametrize(("sign_zero", "zero"), [("plus", 1.0), ("minus", -1.0)])
def test_sign_zero_decides_and_is_noted(sign_zero: str, zero: float, tmp_path: Path) -> None:
    g, y = sign_of_zero()
    source = g.save(tmp_path / "source.onnx", y, 4)
    (layer,) = convert(source, tmp_path / "target.onnx", sign_zero=sign_zero).layers  # type: ignore[arg-type]
    assert layer.form == "binary"
    assert layer.notes == (f"the activation 0 is taken as {zero:g} (sign_zero)",)
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    x[0] = 0
    without_zeros = np.where(x == 0, np.float32(zero), x)
    np.testing.assert_array_equal(run(tmp_path / "target.onnx", x), run(source, without_zeros))


def test_sign_behind_a_layer_that_is_never_zero_is_packed(tmp_path: Path) -> None:
    """27 inputs an output and no padding give odd sums: Sign(0) cannot happen, and is proven not to."""
    g = Source(["N", 3, 6, 6])
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(signs(5, 3, 3, 3)))
    y = g("Conv", g("Sign", y), g.constant(signs(4, 5, 1, 1)))
    source = g.save(tmp_path / "source.onnx", y, 4)
    report = convert(source, tmp_path / "target.onnx")
    assert [layer.form for layer in report.layers] == ["binary", "binary"]
    x = RNG.standard_normal((2, 3, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(run(tmp_path / "target.onnx", x), run(source, x))


@pytest.mark.parametrize("even", ["padding", "channels"])
def test_sign_behind_a_layer_that_can_be_zero_is_not(even: str, tmp_path: Path) -> None:
    channels = 3 if even == "padding" else 4
    g = Source(["N", channels, 6, 6])
    pads = [1, 1, 1, 1] if even == "padding" else [0, 0, 0, 0]
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(signs(5, channels, 3, 3)), pads=pads)
    y = g("Conv", g("Sign", y), g.constant(signs(4, 5, 1, 1)))
    report = convert(g.save(tmp_path / "source.onnx", y, 4), tmp_path / "target.onnx")
    assert [layer.form for layer in report.layers] == ["binary", "weight-only"]


def test_signs_that_a_residual_reads_too_are_made_once(tmp_path: Path) -> None:
    g = image()
    s = sign_form(g, "where >=", "x")
    y = g("Add", g("Conv", s, g.constant(signs(4, 4, 3, 3)), pads=[1] * 4), s)
    convert(g.save(tmp_path / "source.onnx", y, 4), tmp_path / "target.onnx")
    assert [n.op_type for n in onnx.load(tmp_path / "target.onnx").graph.node] == ["Binarize", "BinaryConv2d", "Add"]
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(run(tmp_path / "target.onnx", x), run(tmp_path / "source.onnx", x))


def test_a_residual_keeps_the_zero_of_its_sign(tmp_path: Path) -> None:
    """sign_zero speaks of the layer: who else reads the Sign still gets 0."""
    g = image()
    s = g("Sign", "x")
    y = g("Add", g("Conv", s, g.constant(signs(4, 4, 3, 3)), pads=[1] * 4), s)
    convert(g.save(tmp_path / "source.onnx", y, 4), tmp_path / "target.onnx", sign_zero="plus")
    zeros = np.zeros((1, 4, 6, 6), np.float32)
    ones = np.ones_like(zeros)
    expected = run(tmp_path / "source.onnx", ones) - ones
    np.testing.assert_array_equal(run(tmp_path / "target.onnx", zeros), expected)


def test_a_tie_that_the_source_rounds_is_noted(tmp_path: Path) -> None:
    """0.7·acc summed in float need not cancel to 0; acc·0.7 does."""
    g = image()
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(signs(4, 4, 3, 3) * np.float32(0.7)))
    y = g("Conv", sign_form(g, "where >=", y), g.constant(signs(3, 4, 1, 1)))
    report = convert(g.save(tmp_path / "source.onnx", y, 4), tmp_path / "target.onnx")
    assert [layer.exact for layer in report.layers] == [False, True]
    assert report.layers[1].notes[0].startswith("conv2.out can be exactly 0 here")
