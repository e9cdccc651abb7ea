"""Networks whose channels lie last: Transposes that turn a value and back vanish, and the answers stay bit for bit."""

from pathlib import Path

import numpy as np
import onnx

from latentbit.export.importing.conversion import convert
from latentbit.runtime import InferenceSession

from ...support.import_graphs import Source, run, sign_form

RNG = np.random.default_rng(23)
LAST, FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def conv(g: Source, value: str, outputs: int, channels: int) -> str:
    """Return a convolution of a value with its channels last: NHWC in and out."""
    weight = np.where(RNG.random((outputs, channels, 3, 3)) < 0.5, 1, -1).astype(np.float32)
    inner = g("Conv", g("Transpose", value, perm=FIRST), g.constant(weight), pads=[1] * 4)
    return g("Transpose", inner, perm=LAST)


def numbers(channels: int) -> np.ndarray:
    """Return powers of two, one per channel: a product with them rounds nothing."""
    return np.asarray(2.0 ** RNG.integers(-1, 2, channels), np.float32)


def residual(g: Source, value: str, channels: int) -> str:
    scaled = g("Add", g("Mul", value, g.constant(numbers(channels))), g.constant(numbers(channels)))
    padded = sign_form(g, "where >=", g("PRelu", scaled, g.constant(numbers(channels))))
    return g("Add", value, conv(g, padded, channels, channels))


def kinds(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_no_transpose_is_left_between_layers_whose_channels_lie_last(tmp_path: Path) -> None:
    """Residuals, a concatenation, numbers per channel: one Transpose at the beginning and one at the end stay."""
    g = Source(["N", 5, 7, 4])
    value = conv(g, sign_form(g, "where >=", "x"), 4, 4)
    value = residual(g, residual(g, value, 4), 4)
    value = g("Concat", value, residual(g, value, 4), axis=-1)
    y = residual(g, value, 8)
    source, target = g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx"
    layers = convert(source, target).layers
    assert [layer.form for layer in layers] == ["binary"] * 5
    assert kinds(target).count("Transpose") == 2
    x = RNG.standard_normal((2, 5, 7, 4)).astype(np.float32)
    expected = run(source, x, optimise=False)
    np.testing.assert_array_equal(InferenceSession(target).run(None, {"x": x})[0], expected)
    np.testing.assert_array_equal(run(target, x, optimise=False), expected)


def test_a_transpose_that_nobody_turns_back_stays_where_it_is(tmp_path: Path) -> None:
    g = Source(["N", 4, 5, 7])
    value = g("Conv", sign_form(g, "where >=", "x"), g.constant(np.ones((4, 4, 3, 3))), pads=[1] * 4)
    y = g("Relu", g("Mul", g("Transpose", value, perm=LAST), g.constant(numbers(4))))
    source, target = g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx"
    convert(source, target)
    assert kinds(target) == ["Binarize", "BinaryConv2d", "Transpose", "Mul", "Relu"]
    x = RNG.standard_normal((2, 4, 5, 7)).astype(np.float32)
    np.testing.assert_array_equal(run(target, x), run(source, x, optimise=False))


def test_a_value_between_that_somebody_else_reads_keeps_its_order(tmp_path: Path) -> None:
    """The value in the middle is added to one whose channels lie last from the beginning, and is the output."""
    g = Source(["N", 5, 7, 4])
    value = conv(g, sign_form(g, "where >=", "x"), 4, 4)
    y = g("Add", residual(g, value, 4), "x")
    source, target = g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx"
    convert(source, target)
    x = RNG.standard_normal((2, 5, 7, 4)).astype(np.float32)
    np.testing.assert_array_equal(run(target, x, optimise=False), run(source, x, optimise=False))


def test_a_layer_whose_channels_lie_last_keeps_its_name(tmp_path: Path) -> None:
    g = Source([1, 5, 7, 4])
    weight = np.where(RNG.random((3, 3, 3, 4)) < 0.5, 1, -1).astype(np.float32)
    last = "qonnx.custom_op.channels_last"
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(weight), domain=last, name="stem", kernel_shape=[3, 3])
    (layer,) = convert(g.save(tmp_path / "s.onnx", y, 4, **{last: 1}), tmp_path / "t.onnx").layers
    assert (layer.name, layer.form) == ("stem", "binary")
