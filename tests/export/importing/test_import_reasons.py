"""What cannot be packed stays as it is, and is listed with its reason; what it answers does not change."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from latentbit.export.importing.conversion import ConversionReport, convert
from latentbit.runtime.bits import DOMAIN

from ...support.import_graphs import Source, run, sign_form

RNG = np.random.default_rng(7)


def signs(*shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < 0.5, 1, -1).astype(np.float32)


def image() -> Source:
    return Source(["N", 4, 6, 6])


def real_weights() -> tuple[Source, str]:
    g = image()
    return g, g("Conv", sign_form(g, "where >=", "x"), g.constant(RNG.standard_normal((3, 4, 3, 3))))


def ternary_weights() -> tuple[Source, str]:
    g, w = image(), signs(3, 4, 3, 3)
    w[1, 2, 0, 0] = 0
    return g, g("Conv", "x", g.constant(w))


def nan_weights() -> tuple[Source, str]:
    g, w = image(), signs(3, 4, 3, 3)
    w[0, 0, 0, 0] = np.nan
    return g, g("Conv", sign_form(g, "where >=", "x"), g.constant(w))


def computed_weights() -> tuple[Source, str]:
    g = image()
    w = g("Reshape", g("ReduceMax", "x", keepdims=0), g.constant(np.array([1, 1, 1, 1])))
    w = g("Expand", w, g.constant(np.array([3, 4, 1, 1])))
    return g, g("Conv", sign_form(g, "where >=", "x"), w)


def transposed() -> tuple[Source, str]:
    g = image()
    return g, g("ConvTranspose", sign_form(g, "where >=", "x"), g.constant(signs(4, 3, 3, 3)), dilations=[2, 2])


def three_dimensional() -> tuple[Source, str]:
    g = image()
    volume = g("Unsqueeze", sign_form(g, "where >=", "x"), g.constant(np.array([2])))
    y = g("Conv", volume, g.constant(signs(3, 4, 1, 3, 3)))
    return g, g("Squeeze", y, g.constant(np.array([2])))


def frames_of_unknown_number() -> tuple[Source, str]:
    g = Source(["N", 4, "T", 6])
    return g, g("MatMul", sign_form(g, "where >=", "x"), g.constant(signs(6, 5)))


def same_padding_of_unknown_size() -> tuple[Source, str]:
    g = Source(["N", 4, "H", "W"])
    w = g.constant(signs(3, 4, 3, 3))
    return g, g("Conv", sign_form(g, "where >=", "x"), w, auto_pad="SAME_UPPER", strides=[2, 2])


def half_precision() -> tuple[Source, str]:
    g = image()
    y = g("Cast", sign_form(g, "where >=", "x"), to=TensorProto.FLOAT16)
    y = g("Conv", y, g.constant(signs(3, 4, 3, 3).astype(np.float16)))
    return g, g("Cast", y, to=TensorProto.FLOAT)


UNPACKED = [
    (half_precision, r"its weights are float16, not float32"),
    (real_weights, r"its weights are real: 36 magnitudes in output channel 0"),
    (ternary_weights, r"zeros besides ±scale, and its input is real: x is an input of the graph"),
    (nan_weights, r"NaN or infinity"),
    (computed_weights, r"its second operand is no constant"),
    (transposed, r"a ConvTranspose is packed only with one stride for both axes, no dilations and given pads"),
    (three_dimensional, r"a 3-D convolution has no packed form"),
    (frames_of_unknown_number, r"its input has 4 axes, of which only the first may be symbolic: .* takes \[N, K\]"),
    (same_padding_of_unknown_size, r"auto_pad=SAME_UPPER with a stride depends on the image size"),
]


def real_input() -> tuple[Source, str]:
    g = image()
    return g, g("Conv", g("Relu", "x", name="act"), g.constant(signs(3, 4, 3, 3)))


def graph_input() -> tuple[Source, str]:
    g = image()
    return g, g("Conv", "x", g.constant(signs(3, 4, 3, 3)))


def sign_of_zero() -> tuple[Source, str]:
    g = image()
    return g, g("Conv", g("Sign", "x"), g.constant(signs(3, 4, 3, 3)))


def straight_through() -> tuple[Source, str]:
    g = image()
    y = g("Add", g("Sub", sign_form(g, "where >=", "x"), "x"), "x", name="ste")
    return g, g("Conv", y, g.constant(signs(3, 4, 3, 3)))


def scale_per_channel() -> tuple[Source, str]:
    g = image()
    y = g("Mul", sign_form(g, "where >=", "x"), g.constant(np.array([1, 2, 3, 4.0]).reshape(4, 1, 1)))
    return g, g("Conv", y, g.constant(signs(3, 4, 3, 3)))


def two_scales() -> tuple[Source, str]:
    g = image()
    s = sign_form(g, "where >=", "x")
    y = g("Concat", s, g("Mul", s, g.constant(2.0)), axis=1, name="join")
    return g, g("Conv", y, g.constant(signs(3, 8, 3, 3)))


def mirrored_border() -> tuple[Source, str]:
    g = image()
    y = g(
        "Pad", sign_form(g, "where >=", "x"), g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), mode="reflect", name="p"
    )
    return g, g("Conv", y, g.constant(signs(3, 4, 3, 3)))


def odd_border() -> tuple[Source, str]:
    g = image()
    sizes = g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    y = g("Pad", sign_form(g, "where >=", "x"), sizes, g.constant(0.5), name="p")
    return g, g("Conv", y, g.constant(signs(3, 4, 3, 3)))


def zero_border_without_a_sign() -> tuple[Source, str]:
    """Activations 1 and 2: no sign stands for the 0 outside the image."""
    g = image()
    y = g("Add", sign_form(g, "bool", "x"), g.constant(1.0))
    return g, g("Conv", y, g.constant(signs(3, 4, 3, 3)), pads=[1, 1, 1, 1])


def average() -> tuple[Source, str]:
    g = image()
    y = g("AveragePool", sign_form(g, "where >=", "x"), kernel_shape=[2, 2], name="mean")
    return g, g("Conv", y, g.constant(signs(3, 4, 3, 3)))


def more_channels_than_the_source() -> tuple[Source, str]:
    """One channel compared with four thresholds gives four channels: no Binarize does that."""
    g = Source(["N", 4, 6, 6])
    first = g("Slice", "x", *(g.constant(np.array([v])) for v in (0, 1, 1)))
    flags = g("GreaterOrEqual", first, g.constant(np.arange(4.0).reshape(4, 1, 1)))
    y = g("Where", flags, g.constant(1.0), g.constant(-1.0))
    return g, g("Conv", y, g.constant(signs(3, 4, 3, 3)))


def of_integers() -> tuple[Source, str]:
    g = image()
    whole = g("Cast", "x", to=TensorProto.INT32)
    flags = g("Greater", whole, g.constant(np.array(0, np.int32)))
    y = g("Where", flags, g.constant(1.0), g.constant(-1.0), name="where")
    return g, g("Conv", y, g.constant(signs(3, 4, 3, 3)))


WEIGHT_ONLY = [
    (more_channels_than_the_source, r"constants of shape \[1, 4, 1, 1\] beside .+ are not one per channel"),
    (of_integers, r"it comes from Where where"),
    (real_input, r"its input is real: it comes from Relu act"),
    (graph_input, r"x is an input of the graph"),
    (sign_of_zero, r"takes three values, -1, 0 and 1: 0 where x is the threshold itself \(Sign\(0\) = 0\)"),
    (straight_through, r"x \+ \(sign\(x\) − x\) in ste is not ±1 in float32"),
    (scale_per_channel, r"different scales per channel"),
    (two_scales, r"joins activations of different scales in join"),
    (mirrored_border, r"p pads with copies of the image"),
    (odd_border, r"p pads with 0.5, which is none of −1, 0 and \+1 of its activation"),
    (zero_border_without_a_sign, r"it pads with 0, which its activation has no sign for"),
    (average, r"it comes from AveragePool mean"),
]


def converted(build: Callable[[], tuple[Source, str]], tmp_path: Path, **options: bool) -> ConversionReport:
    g, y = build()
    source = g.save(tmp_path / "source.onnx", y, 4)
    report = convert(source, tmp_path / "target.onnx", **options)  # type: ignore[arg-type]
    x = RNG.standard_normal((3, 4, 6, 6)).astype(np.float32)
    x[:, :, ::2] = 0
    np.testing.assert_allclose(
        run(tmp_path / "target.onnx", x), run(source, x), rtol=1e-6, atol=1e-5, equal_nan=True
    )  # float sums in another order
    return report


@pytest.mark.parametrize(("build", "reason"), UNPACKED, ids=lambda v: getattr(v, "__name__", ""))
def test_a_layer_that_stays_float_says_why(
    build: Callable[[], tuple[Source, str]], reason: str, tmp_path: Path
) -> None:
    (layer,) = converted(build, tmp_path).layers
    assert layer.form == "float"
    assert re.search(reason, layer.reason), layer.reason
    assert not any(node.domain == DOMAIN for node in onnx.load(tmp_path / "target.onnx").graph.node)


@pytest.mark.parametrize(("build", "reason"), WEIGHT_ONLY, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("weight_only", [True, False])
def test_a_layer_whose_input_is_no_sign_says_why(
    build: Callable[[], tuple[Source, str]], reason: str, weight_only: bool, tmp_path: Path
) -> None:
    (layer,) = converted(build, tmp_path, weight_only=weight_only).layers
    assert layer.form == ("weight-only" if weight_only else "float")
    assert re.search(reason, layer.reason), layer.reason
    ops = {node.op_type for node in onnx.load(tmp_path / "target.onnx").graph.node if node.domain == DOMAIN}
    assert ops == ({"BinaryWeightConv2d"} if weight_only else set())


def test_a_layer_in_the_body_of_a_branch_is_listed(tmp_path: Path) -> None:
    g = image()
    y = sign_form(g, "where >=", "x")
    w = g.constant(signs(3, 4, 3, 3))
    flag = g("Greater", g("ReduceMax", "x", keepdims=0), g.constant(0.0))
    branches = []
    for name in ("then", "else"):
        node = onnx.helper.make_node("Conv", [y, w], [f"{name}.y"], f"{name}.conv")
        info = onnx.helper.make_tensor_value_info(f"{name}.y", onnx.TensorProto.FLOAT, ["N", 3, 4, 4])
        branches.append(onnx.helper.make_graph([node], name, [], [info]))
    out = g("If", flag, then_branch=branches[0], else_branch=branches[1])
    report = converted(lambda: (g, out), tmp_path)
    assert {layer.form for layer in report.layers} == {"float"}
    assert {layer.reason for layer in report.layers} == {"it lies inside the body of a control-flow operator"}
    assert len(report.layers) == 2
