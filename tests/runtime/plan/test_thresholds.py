"""Integer thresholds equal the float32 graph on every accumulator, and are used only where they may be."""

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.intake.reading import load
from latentbit.runtime.plan import Planned, Unit, make_plan
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choose_kernels

from ...support.graphs import GraphMaker

CHANNELS = 40


def chained(seed: int, inputs: int, rprelu: bool, slope: float) -> GraphMaker:
    """Two layers, between them scale, bias and perhaps RPReLU with constants that make ties likely."""
    maker = GraphMaker(seed)
    value = maker.conv(maker.binarize("input", inputs), maker.signs(CHANNELS, inputs, 1, 1))
    maker.nodes[-1].name = "first"
    rng = maker.rng
    scale, bias = maker.constants[-2], maker.constants[-1]
    scale.raw_data = rng.choice([0, 0.1, -0.1, 0.5, -3, 1e-30, 1 / 3], CHANNELS).astype(np.float32).tobytes()
    bias.raw_data = rng.choice([0, 0.1, -0.3, 7, -1e9, 1 / 3], CHANNELS).astype(np.float32).tobytes()
    if rprelu:
        value = maker.node("Sub", [value, maker.per_channel(CHANNELS)])
        value = maker.node("PRelu", [value, maker.per_channel(CHANNELS, 4, slope, 0.5)])
        value = maker.node("Add", [value, maker.per_channel(CHANNELS)])
    threshold = rng.choice([0, 0.1, -0.2, 1, 1 / 3], CHANNELS).astype(np.float32).reshape(-1, 1, 1)
    signs = maker.node("Binarize", [value, maker.constant(threshold)], "ai.latentbit")
    maker.conv(signs, maker.signs(CHANNELS, CHANNELS, 1, 1), unit=True)
    maker.nodes[-1].output[0] = "out"
    return maker


def first_unit(data: bytes) -> Planned[Unit]:
    model = load(data)
    return make_plan(model, choose_kernels(model)).parts[0]


@given(st.integers(0, 2**31), st.integers(1, 50), st.booleans())
@settings(max_examples=60, deadline=None)
def test_equal_on_every_accumulator(seed: int, inputs: int, rprelu: bool) -> None:
    data = chained(seed, inputs, rprelu, 0.0).model({"input": [1, inputs, 1, 1]}, ["out"]).SerializeToString()
    planned = first_unit(data)
    assert planned.thresholds is not None
    sums = np.arange(-inputs, inputs + 1)
    first, layer = planned.part, planned.part.layer
    y = sums.astype(np.float32)[:, None] * layer.scale + layer.bias
    if rprelu:
        assert first.shift_in is not None
        assert first.slope is not None
        y = y - first.shift_in
        y = np.where(y < 0, y * first.slope, y) + first.shift_out
    assert planned.bits_for is not None
    expected = y >= planned.bits_for.part.threshold.value
    found = np.where(planned.thresholds.falling, -1, 1) * sums[:, None] >= planned.thresholds.values
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3)])
@pytest.mark.parametrize("pad_value", [-1, 0, 1])
def test_a_chain_with_borders_equals_onnxruntime(pads: tuple[int, int, int, int], pad_value: int) -> None:
    maker = GraphMaker(1)
    value = maker.conv(maker.binarize("input", 13), maker.signs(CHANNELS, 13, 3, 3), pads=pads, pad_value=pad_value)
    value = maker.conv(maker.binarize(value, CHANNELS), maker.signs(9, CHANNELS, 1, 1))
    data = maker.model({"input": ["N", 13, 6, 7]}, [value]).SerializeToString()
    session, x = InferenceSession(data), maker.floats(2, 13, 6, 7)
    assert "integer thresholds" in session.get_steps()[1].reason
    np.testing.assert_array_equal(
        session.run(None, {"input": x})[0], ort.InferenceSession(data).run(None, {"input": x})[0]
    )
    traced = session.trace({"input": x})  # falling channels are stored negated, and traced as they are
    plain = maker.nodes[1].output[0]
    model = maker.model({"input": ["N", 13, 6, 7]}, [plain])
    (scaled,) = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    layer = load(data).layers[1]
    ours = traced[0].accumulators.astype(np.float32) * layer.scale[:, None, None] + layer.bias[:, None, None]
    np.testing.assert_array_equal(ours, scaled)


def test_a_negative_slope_is_not_folded() -> None:
    maker = chained(3, 20, rprelu=True, slope=-0.5)
    data = maker.model({"input": ["N", 20, 2, 2]}, ["out"]).SerializeToString()
    assert first_unit(data).thresholds is None
    x = maker.floats(3, 20, 2, 2)
    ours, theirs = InferenceSession(data), ort.InferenceSession(data)
    np.testing.assert_array_equal(ours.run(None, {"input": x})[0], theirs.run(None, {"input": x})[0])
