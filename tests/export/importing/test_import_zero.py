"""Where zero falls: Sign(0) = 0, sums that are never 0, ties that the source rounds, readers beside the layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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


Made = Callable[[Source], str]


def made(*steps: tuple[str, dict[str, Any]] | str) -> Made:
    """Return what applies operators to ``x`` one behind the other."""

    def apply(g: Source) -> str:
        value = "x"
        for step in steps:
            op_type, attributes = (step, {}) if isinstance(step, str) else step
            value = g(op_type, value, **attributes)
        return value

    return apply


def clipped(low: float, high: float) -> Made:
    return lambda g: g("Clip", "x", g.constant(float(low)), g.constant(float(high)))


def scaled(op_type: str, factor: float) -> Made:
    return lambda g: g("Mul", g(op_type, "x"), g.constant(factor))


def before_the_sign(make: Made) -> tuple[Source, str]:
    g = image()
    return g, g("Conv", g("Sign", make(g)), g.constant(signs(3, 4, 3, 3)), pads=[1, 1, 1, 1])


@pytest.mark.parametrize("sign_zero", ["keep", "plus", "minus"])
@pytest.mark.parametrize(
    "make",
    [
        *(made("Relu"), made("Relu", "Neg"), made("Abs"), made("Sigmoid", "Round"), clipped(0, 1), clipped(-2, 0)),
        *(made("Relu", ("MaxPool", {"kernel_shape": [1, 1]}), "Identity"), scaled("Relu", 2.0), scaled("Relu", -2.0)),
    ],
    ids=["relu", "neg", "abs", "round", "0..1", "-2..0", "pool", "2relu", "-2relu"],
)
def test_a_sign_of_what_is_never_negative_is_0_or_1(make: Made, sign_zero: str, tmp_path: Path) -> None:
    """It has two values like any activation, 0 among them, and no option changes what it gives for 0."""
    g, y = before_the_sign(make)
    source = g.save(tmp_path / "source.onnx", y, 4)
    (layer,) = convert(source, tmp_path / "target.onnx", sign_zero=sign_zero).layers  # type: ignore[arg-type]
    assert (layer.form, layer.notes) == ("binary", ())
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    x[0, :2] = 0
    np.testing.assert_array_equal(run(tmp_path / "target.onnx", x), run(source, x))


@pytest.mark.parametrize(
    "make",
    [
        *(made("Round"), made("Floor", "Neg"), scaled("Round", 0.5)),
        lambda g: g("Sub", g("Round", "x"), g.constant(1.0)),
    ],
    ids=["round", "floor", "scaled", "shifted"],
)
@pytest.mark.parametrize("sign_zero", ["keep", "plus", "minus"])
def test_a_0_that_whole_ranges_become_is_a_level(make: Made, sign_zero: str, tmp_path: Path) -> None:
    """A regular value is no tie: −1, 0 and +1 are a sum of two signs, whatever the option says of ties."""
    g, y = before_the_sign(make)
    source = g.save(tmp_path / "source.onnx", y, 4)
    (layer,) = convert(source, tmp_path / "target.onnx", sign_zero=sign_zero).layers  # type: ignore[arg-type]
    assert (layer.form, layer.exact, layer.pad_value) == ("binary", True, 0)
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    x[0, :2] = 0.5
    np.testing.assert_array_equal(run(tmp_path / "target.onnx", x), run(source, x))


@pytest.mark.parametrize(
    ("make", "op_type"),
    [
        (lambda g: g("Pad", "x", g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))), "Pad"),
        (made(("Shrink", {"lambd": 0.5})), "Shrink"),
    ],
    ids=["pad", "shrink"],
)
def test_sign_zero_is_refused_where_0_is_a_regular_value(make: Made, op_type: str, tmp_path: Path) -> None:
    """A 0 that whole ranges of numbers become is no tie: to take it as +1 would give other answers everywhere."""
    g, y = before_the_sign(make)
    source = g.save(tmp_path / "source.onnx", y, 4)
    (layer,) = convert(source, tmp_path / "target.onnx", sign_zero="plus").layers
    assert layer.form == "weight-only"
    assert f"which {op_type} makes a common value, so sign_zero does not decide it" in layer.reason
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "target.onnx", x), run(source, x), atol=1e-4)


def ties(kind: str) -> tuple[Source, str]:
    """Return a packed layer of rounded sums that can be 0, operators that keep a 0, and a layer behind their sign."""
    g = image()
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(signs(8, 4, 1, 1) * np.float32(0.37)), name="sums")
    if kind == "MaxPool":
        y = g("MaxPool", y, kernel_shape=[2, 2])
    elif kind == "Mul":
        y = g("Mul", g("MaxPool", y, kernel_shape=[2, 2]), g.constant(0.3))
    elif kind == "Concat":
        y = g("Concat", y, g("Relu", "x"), axis=1)
    elif kind != "none":
        y = g(kind, y)
    signed = sign_form(g, "where >=", y)
    if kind == "Flatten":
        return g, g("Gemm", signed, g.constant(signs(288, 5)))
    return g, g("Conv", signed, g.constant(signs(6, 12 if kind == "Concat" else 8, 1, 1)))


@pytest.mark.parametrize("kind", ["none", "Neg", "MaxPool", "Flatten", "Identity", "Concat", "Mul"])
def test_the_note_of_a_tie_survives_what_keeps_zeros(kind: str, tmp_path: Path) -> None:
    g, y = ties(kind)
    report = convert(g.save(tmp_path / "s.onnx", y, 2 if kind == "Flatten" else 4), tmp_path / "t.onnx")
    assert [layer.form for layer in report.layers] == ["binary", "binary"]
    (note,) = report.layers[1].notes
    assert note.startswith("sums.out")
    assert "can be exactly 0 here" in note


@pytest.mark.parametrize("kind", ["none", "Neg", "MaxPool", "Flatten"])
def test_sums_that_are_never_zero_stay_so(kind: str, tmp_path: Path) -> None:
    """27 inputs an output give odd sums: their largest, or their negative, is not 0 either."""
    g = Source(["N", 3, 6, 6])
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(signs(5, 3, 3, 3)))
    y = y if kind == "none" else g(kind, y, **({"kernel_shape": [2, 2]} if kind == "MaxPool" else {}))
    signed = g("Sign", y)
    y = (
        g("Gemm", signed, g.constant(signs(80, 4)))
        if kind == "Flatten"
        else g("Conv", signed, g.constant(signs(4, 5, 1, 1)))
    )
    source = g.save(tmp_path / "s.onnx", y, 2 if kind == "Flatten" else 4)
    report = convert(source, tmp_path / "t.onnx")
    assert [layer.form for layer in report.layers] == ["binary", "binary"]
    x = RNG.standard_normal((2, 3, 6, 6)).astype(np.float32)
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", x), run(source, x))


@pytest.mark.parametrize("signed", [True, False])
def test_a_quantiser_behind_rounded_sums_is_noted(signed: bool, tmp_path: Path) -> None:
    """A sum that rounding moves over the border of two steps moves the quantiser by one."""
    g = image()
    x = sign_form(g, "where >=", "x") if signed else "x"
    y = g("Conv", x, g.constant(signs(3, 4, 3, 3) * np.float32(0.3)), name="sums")
    y = g("Relu", g("MaxPool", y, kernel_shape=[2, 2]))
    y = g("Mul", g("Round", g("Div", y, g.constant(0.1)), name="steps"), g.constant(0.1))
    (layer,) = convert(g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx").layers
    assert layer.notes == ("a rounding difference may move Round steps by one step",)
