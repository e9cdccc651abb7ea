"""Activations of few levels and weights with zeros are sums of signs: the packed layer gives the source's integers."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.export.importing.conversion import convert
from latentbit.runtime import InferenceSession

from ...support.import_graphs import Source, run

RNG = np.random.default_rng(11)


def quantised(g: Source, x: str, low: float, high: float, scale: float = 1.0) -> str:
    """Write ``Round(Clip(x / scale, low, high)) · scale``, as quantisers are lowered."""
    whole = g("Round", g("Clip", g("Div", x, g.constant(scale)), g.constant(float(low)), g.constant(float(high))))
    return g("Mul", whole, g.constant(scale)) if scale != 1.0 else whole


def signs(*shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < 0.5, 1, -1).astype(np.float32)


def packed(g: Source, y: str, x: np.ndarray, folder: Path, **options: Any) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return the answers of our session on the converted file and of onnxruntime on the source, and the report."""
    source = g.save(folder / "source.onnx", y, x.ndim)
    report = convert(source, folder / "target.onnx", **options)
    (found,) = InferenceSession(folder / "target.onnx").run(None, {"x": x})
    return found, run(source, x, optimise=False), report


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    return {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "levels": draw(st.sampled_from([(0, 1), (0, 2), (0, 3), (-1, 1), (-2, 1), (-1, 2), (1, 3)])),
        "scale": draw(st.sampled_from([1.0, 0.25, 0.3])),
        "weights": draw(st.sampled_from(["binary", "ternary"])),
        "groups": draw(st.sampled_from([1, 2, 3])),
        "channels": draw(st.integers(1, 9)),
        "pad": draw(st.integers(0, 1)),
        "pool": draw(st.booleans()),
        "norm": draw(st.booleans()),
    }


@settings(max_examples=60, deadline=None)
@given(cases())
def test_few_levels_are_sums_of_signs(case: dict[str, Any]) -> None:
    rng = np.random.default_rng(case["seed"])
    groups, (low, high), pad = case["groups"], case["levels"], case["pad"]
    channels, outputs = groups * case["channels"], groups * int(rng.integers(1, 4))
    g = Source(["N", channels, 6, 7])
    value = "x"
    if case["norm"]:
        numbers = rng.uniform(0.5, 2, (4, channels)) * np.array([[1], [1], [-1], [1]])
        numbers[0, 1:] *= rng.choice([-1, 0, 1], channels - 1)
        value = g("BatchNormalization", value, *(g.constant(row) for row in numbers))
    value = quantised(g, value, low, high, case["scale"])
    if case["pool"]:
        value = g("MaxPool", value, kernel_shape=[2, 2])
    kinds = [-1, 1] if case["weights"] == "binary" else [-1, 0, 1]
    weight = rng.choice(kinds, (outputs, case["channels"], 3, 3)).astype(np.float32)
    y = g("Conv", value, g.constant(weight), group=groups, pads=[pad] * 4)
    x = (rng.standard_normal((2, channels, 6, 7)) * 3).astype(np.float32)
    x[0, :, 0] = np.round(x[0, :, 0] * 2) / 2 * np.float32(case["scale"])  # where a quantiser decides ties
    with TemporaryDirectory() as folder:
        found, expected, report = packed(g, y, x, Path(folder))
    (layer,) = report.layers
    outside = low == 0 or low == -high or not pad  # the 0 outside the image is the lowest level, or the middle
    outside |= low < 0 and not case["pool"]  # or a level between, for which some planes are turned round
    if outside:
        assert layer.form == "binary", layer
    elif case["weights"] == "ternary":
        assert layer.form == "float", layer
    if layer.form == "binary" and layer.exact:
        np.testing.assert_array_equal(found, expected)
        assert case["scale"] != 0.3
    else:  # a scale that is no power of two is multiplied with the sum here, with each summand there
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-4)


def test_zeros_outside_the_image_of_a_signed_quantiser(tmp_path: Path) -> None:
    """Of −2, −1, 0 and 1 the 0 is no end and no middle. A second layer reads the same value without pads."""
    g = Source(["N", 5, 6, 6])
    value = quantised(g, "x", -2, 1)
    padded = g("Conv", value, g.constant(signs(4, 5, 3, 3)), pads=[1] * 4)
    y = g("Add", padded, g("Conv", value, g.constant(signs(4, 5, 1, 1))))
    x = (RNG.standard_normal((2, 5, 6, 6)) * 3).astype(np.float32)
    found, expected, report = packed(g, y, x, tmp_path)
    assert [(layer.form, layer.exact, layer.pad_value) for layer in report.layers] == [
        ("binary", True, 1),
        ("binary", True, None),
    ]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("weights", [[-1, 1], [-1, 0, 1]])
def test_dense_layers_of_two_bits(weights: list[int], tmp_path: Path) -> None:
    g = Source(["N", 21])
    weight = RNG.choice(weights, (21, 6)).astype(np.float32)
    y = g("MatMul", quantised(g, "x", 0, 3), g.constant(weight))
    x = (RNG.standard_normal((3, 21)) * 3).astype(np.float32)
    found, expected, report = packed(g, y, x, tmp_path)
    assert [(layer.form, layer.exact) for layer in report.layers] == [("binary", True)]
    assert report.layers[0].notes[0].startswith(f"{3 * (len(weights) - 1)} signs stand for a product")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("frames", [True, False])
def test_sequences_and_frames_of_two_bits(frames: bool, tmp_path: Path) -> None:
    """Ternary weights too are lifted to rows and images."""
    g = Source(["N", 8, 16])
    value = quantised(g, "x", 0, 3)
    if frames:
        y = g("MatMul", value, g.constant(RNG.choice([-1, 0, 1], (16, 6)).astype(np.float32)))
    else:
        y = g("Conv", value, g.constant(RNG.choice([-1, 0, 1], (6, 8, 3)).astype(np.float32)), pads=[1, 1])
    found, expected, report = packed(g, y, (RNG.standard_normal((2, 8, 16)) * 3).astype(np.float32), tmp_path)
    assert [(layer.form, layer.exact) for layer in report.layers] == [("binary", True)]
    np.testing.assert_array_equal(found, expected)


def test_planes_behind_operators_that_mix_channels(tmp_path: Path) -> None:
    """A channel shuffle and a join of quantised values: the planes go through one by one."""
    g = Source([2, 6, 4, 4])
    value = quantised(g, "x", 0, 3)
    wide = g("Reshape", value, g.constant(np.array([2, 2, 3, 4, 4])))
    mixed = g("Reshape", g("Transpose", wide, perm=[0, 2, 1, 3, 4]), g.constant(np.array([2, 6, 4, 4])))
    y = g("Conv", g("Concat", mixed, value, axis=1), g.constant(signs(4, 6, 3, 3)), group=2)
    x = (RNG.standard_normal((2, 6, 4, 4)) * 3).astype(np.float32)
    found, expected, report = packed(g, y, x, tmp_path)
    assert [(layer.form, layer.exact) for layer in report.layers] == [("binary", True)]
    np.testing.assert_array_equal(found, expected)


def test_more_than_four_levels_stay_as_they_are(tmp_path: Path) -> None:
    g = Source(["N", 3, 5, 5])
    y = g("Conv", quantised(g, "x", 0, 7), g.constant(signs(4, 3, 3, 3)))
    found, expected, report = packed(g, y, RNG.standard_normal((1, 3, 5, 5)).astype(np.float32) * 4, tmp_path)
    assert report.layers[0].form == "weight-only"
    assert report.layers[0].reason == "its input takes 8 levels; up to 4 are packed, as sums of signs"
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_uneven_levels_stay_as_they_are(tmp_path: Path) -> None:
    g = Source(["N", 3, 5, 5])
    steps = [g("Cast", g("Greater", "x", g.constant(t)), to=onnx.TensorProto.FLOAT) for t in (0.0, 1.0)]
    y = g("Add", steps[0], g("Mul", steps[1], g.constant(np.pi)))
    y = g("Conv", y, g.constant(signs(4, 3, 3, 3)))
    _, _, report = packed(g, y, RNG.standard_normal((1, 3, 5, 5)).astype(np.float32), tmp_path)
    assert report.layers[0].reason == "its input takes 3 values that are not evenly spaced"


def test_a_sum_of_comparisons_is_a_level(tmp_path: Path) -> None:
    """FINN writes a quantiser as a number of thresholds that are reached (MultiThreshold)."""
    g = Source(["N", 5, 6, 6])
    limits = np.sort(RNG.standard_normal((3, 5, 1, 1)), axis=0).astype(np.float32)
    steps = [g("Cast", g("GreaterOrEqual", "x", g.constant(t)), to=onnx.TensorProto.FLOAT) for t in limits]
    y = g("Add", g("Add", steps[0], steps[1]), steps[2])
    y = g("Conv", y, g.constant(signs(4, 5, 3, 3)), pads=[1] * 4)
    found, expected, report = packed(g, y, RNG.standard_normal((2, 5, 6, 6)).astype(np.float32), tmp_path)
    assert [(layer.form, layer.exact, layer.pad_value) for layer in report.layers] == [("binary", True, -1)]
    np.testing.assert_array_equal(found, expected)
