"""Forms in which other programs write signs, weights and padding: each becomes a packed layer of the same answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from latentbit.export.importing.conversion import convert
from latentbit.runtime import InferenceSession

from ...support.import_graphs import Source, run, sign_form

RNG = np.random.default_rng(17)
QONNX = "qonnx.custom_op.general"


def signs(*shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < 0.5, 1, -1).astype(np.float32)


def image(batch: int | str = "N") -> Source:
    return Source([batch, 4, 6, 6])


def larq_padding() -> tuple[Source, str]:
    """Pixels of +1 around an image whose channels lie last, as tf2onnx writes pad_values=1."""
    g = image()
    last = sign_form(g, "sign(sign + 0.1)", g("Transpose", "x", perm=[0, 2, 3, 1]))
    padded = g("Pad", last, g.constant(np.array([0, 1, 2, 0, 0, 1, 1, 0])), g.constant(1.0))
    return g, g("Conv", g("Transpose", padded, perm=[0, 3, 1, 2]), g.constant(signs(3, 4, 3, 3)))


def padding_before_identity() -> tuple[Source, str]:
    g = image()
    sizes = g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    padded = g("Pad", sign_form(g, "where >=", "x"), sizes, g.constant(1.0))
    return g, g("Conv", g("Identity", padded), g.constant(signs(3, 4, 3, 3)))


def thresholds_of_channels_that_lie_last() -> tuple[Source, str]:
    g = image()
    last = g("Transpose", "x", perm=[0, 2, 3, 1])
    flags = g("GreaterOrEqual", g("Mul", last, g.constant(RNG.standard_normal(4))), g.constant(0.3))
    value = g("Where", flags, g.constant(1.0), g.constant(-1.0))
    return g, g("Conv", g("Transpose", value, perm=[0, 3, 1, 2]), g.constant(signs(3, 4, 3, 3)))


def ones_like() -> tuple[Source, str]:
    g = image()
    one = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1.0])
    ones = g("ConstantOfShape", g("Shape", "x"), value=one)
    value = g("Where", g("GreaterOrEqual", "x", g.constant(0.0)), ones, g("Neg", ones))
    return g, g("Conv", value, g.constant(signs(3, 4, 3, 3)), pads=[1] * 4)


def ones_expanded() -> tuple[Source, str]:
    g = image()
    ones = g("Expand", g.constant(np.ones(1, np.float32)), g("Shape", "x"))
    value = g("Where", g("Greater", "x", g.constant(0.0)), ones, g("Neg", ones))
    return g, g("Conv", value, g.constant(signs(3, 4, 3, 3)))


def constants_as_large_as_the_image() -> tuple[Source, str]:
    g = image(2)
    full = np.ones((2, 4, 6, 6), np.float32)
    limits = np.broadcast_to(RNG.standard_normal((4, 1, 1)), (4, 6, 6)).astype(np.float32)
    value = g("Where", g("GreaterOrEqual", "x", g.constant(limits)), g.constant(full), g.constant(-full))
    return g, g("Conv", value, g.constant(signs(3, 4, 3, 3)))


def clamp_of_where() -> tuple[Source, str]:
    """Bi-Real's clamp around its sign: it changes no sign."""
    g = image()
    one, minus = g.constant(1.0), g.constant(-1.0)
    bounded = g("Where", g("Less", "x", minus), minus, "x")
    bounded = g("Where", g("Greater", "x", one), one, bounded)
    return g, g("Conv", sign_form(g, "where >=", bounded), g.constant(signs(3, 4, 3, 3)))


def clip_and_round() -> tuple[Source, str]:
    """DoReFa with one bit: 0 and 1."""
    g = image()
    value = g("Round", g("Clip", "x", g.constant(0.0), g.constant(1.0)))
    return g, g("Conv", value, g.constant(signs(3, 4, 3, 3)), pads=[1] * 4)


def unsigned_quantiser() -> tuple[Source, str]:
    g = image()
    parameters = [g.constant(number) for number in (0.25, 0.0, 1.0)]
    value = g("Quant", "x", *parameters, domain=QONNX, signed=0, narrow=0, rounding_mode="ROUND")
    return g, g("Conv", value, g.constant(signs(3, 4, 3, 3)), pads=[1] * 4)


def reshape_to_its_own_size() -> tuple[Source, str]:
    g = image()
    value = g("Reshape", sign_form(g, "where >=", "x"), g("Shape", "x"))
    return g, g("Conv", value, g.constant(signs(3, 4, 3, 3)), pads=[1] * 4)


def channel_shuffle() -> tuple[Source, str]:
    """Split in two, shuffled as ShuffleNet does, joined, enlarged."""
    g = image()
    first, second = "first", "second"
    sizes = g.constant(np.array([2, 2]))
    value = sign_form(g, "where >=", "x")
    g.nodes.append(onnx.helper.make_node("Split", [value, sizes], [first, second], axis=1))
    value = g("Concat", second, first, axis=1)
    value = g("Reshape", value, g.constant(np.array([0, 2, 2, 6, 6])))
    value = g("Reshape", g("Transpose", value, perm=[0, 2, 1, 3, 4]), g.constant(np.array([0, 4, 6, 6])))
    scales = g.constant(np.array([1, 1, 2, 2], np.float32))
    value = g("Resize", value, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric")
    return g, g("Conv", value, g.constant(signs(3, 4, 3, 3)), pads=[1] * 4)


def falling_channels_in_pieces() -> tuple[Source, str]:
    """0 and 1 behind a norm of which some scales are negative, split: the pieces are cut out of the turned signs."""
    g = image()
    numbers = RNG.uniform(0.5, 2, (4, 4)) * np.array([[1], [1], [-1], [1]]) * np.array([[1, -1, 1, -1], *[[1] * 4] * 3])
    value = sign_form(g, "bool", g("BatchNormalization", "x", *(g.constant(row) for row in numbers)))
    sizes = g.constant(np.array([1, 3]))
    g.nodes.append(onnx.helper.make_node("Split", [value, sizes], ["one", "three"], axis=1))
    return g, g("Conv", g("Concat", "three", "one", axis=1), g.constant(signs(3, 4, 3, 3)), pads=[1] * 4)


FORMS = [
    larq_padding, padding_before_identity, thresholds_of_channels_that_lie_last, ones_like, ones_expanded,
    constants_as_large_as_the_image, clamp_of_where, clip_and_round, unsigned_quantiser, reshape_to_its_own_size,
    channel_shuffle, falling_channels_in_pieces,
]  # fmt: skip


@pytest.mark.parametrize("build", FORMS, ids=lambda build: build.__name__)
def test_forms_of_other_programs_are_packed(build: Callable[[], tuple[Source, str]], tmp_path: Path) -> None:
    g, y = build()
    domains: Any = {QONNX: 1} if build is unsigned_quantiser else {}
    source, target = g.save(tmp_path / "s.onnx", y, 4, **domains), tmp_path / "t.onnx"
    (layer,) = convert(source, target).layers
    assert (layer.form, layer.exact) == ("binary", True), layer
    x = np.where(RNG.random((2, 4, 6, 6)) < 0.3, 0.5, RNG.standard_normal((2, 4, 6, 6)))
    x = np.where(RNG.random(x.shape) < 0.1, 0.125, x).astype(np.float32)
    session = InferenceSession(target)
    assert [step.kind for step in session.get_steps()].count("binary") == 1
    (found,) = session.run(None, {"x": x})
    if build is unsigned_quantiser:  # stock onnxruntime has no such operator
        levels = (np.round(np.clip(x / np.float32(0.25), 0, 1)) * np.float32(0.25)).astype(np.float32)
        g = image()
        expected = run(g.model(g("Conv", "x", g.constant(weight_of(target)), pads=[1] * 4), 4), levels)
    else:
        expected = run(source, x, optimise=False)
    np.testing.assert_array_equal(found, expected)


def weight_of(path: Path) -> np.ndarray:
    """Return the ±1 weights of the one layer of a packed file, by what stock onnxruntime gives for unit images."""
    model = onnx.load(path)
    (node,) = (node for node in model.graph.node if node.op_type == "BinaryConv2d")
    packed = next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name == node.input[1])
    shape = next(entry.ints for entry in node.attribute if entry.name == "weight_shape")
    bits = np.unpackbits(packed, axis=-1, bitorder="little")[..., : shape[1]]
    return np.asarray(bits.transpose(0, 3, 1, 2) * 2.0 - 1.0, np.float32)


def test_layers_behind_larq_padding_run_side_by_side(tmp_path: Path) -> None:
    g, y = larq_padding()
    convert(g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx")
    nodes = onnx.load(tmp_path / "t.onnx").graph.node
    assert [node.op_type for node in nodes] == ["Binarize", "BinaryConv2d"]


def straight_through(hard_first: bool) -> tuple[Source, str]:
    """ReActNet's activation and Bi-Real's weights: hard − soft + soft, with the soft part cut off its gradient."""
    g = image()
    hard, soft = sign_form(g, "where >=", "x"), g("Clip", "x", g.constant(-1.0), g.constant(1.0))
    first, last = ("Sub", "Add") if hard_first else ("Add", "Sub")
    value = g(last, g(first, hard, g("Identity", soft)), soft)
    latent = RNG.uniform(-1, 1, (3, 4, 3, 3)).astype(np.float32)
    scale = np.abs(latent).mean(axis=(1, 2, 3), keepdims=True) * np.float32(0.37)
    weight = (np.sign(latent) * scale - latent) + latent
    return g, g("Conv", value, g.constant(weight.astype(np.float32)))


@pytest.mark.parametrize("hard_first", [True, False])
def test_straight_through_arithmetic_is_taken_as_its_sign_where_that_is_allowed(
    hard_first: bool, tmp_path: Path
) -> None:
    g, y = straight_through(hard_first)
    source, target = g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx"
    (kept,) = convert(source, target).layers
    assert kept.form != "binary"
    (layer,) = convert(source, target, straight_through=True).layers
    assert (layer.form, layer.exact) == ("binary", False)
    assert len([note for note in layer.notes if "straight_through" in note]) == 2, "activation and weights"
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    (found,) = InferenceSession(target).run(None, {"x": x})
    expected = run(source, x, optimise=False)
    np.testing.assert_allclose(found, expected, atol=36 * 3e-7)  # 36 summands, each with the errors that are noted
    assert not np.array_equal(found, expected), "float32 rounds hard − soft + soft"


def test_ones_of_another_size_are_no_constants(tmp_path: Path) -> None:
    """What would make the activation larger than what it is computed of stays as it is."""
    g = Source(["N", 1, 6, 6])
    wide = g("Concat", "x", "x", "x", "x", axis=1)
    one = onnx.helper.make_tensor("one", onnx.TensorProto.FLOAT, [1], [1.0])
    ones = g("ConstantOfShape", g("Shape", wide), value=one)
    value = g("Where", g("GreaterOrEqual", "x", g.constant(0.0)), ones, g("Neg", ones))
    y = g("Conv", value, g.constant(signs(3, 4, 3, 3)))
    source = g.save(tmp_path / "s.onnx", y, 4)
    (layer,) = convert(source, tmp_path / "t.onnx").layers
    assert layer.form == "weight-only"
    x = RNG.standard_normal((2, 1, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "t.onnx", x), run(source, x), atol=1e-5)
