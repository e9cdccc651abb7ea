"""The float shortcut between binary layers: near to float64 everywhere, and the same bits however it is run."""

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentbit.runtime.intake.reading import load
from latentbit.runtime.kernels.registry import can_project
from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.plan import Shortcut, make_plan
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choice, choose_kernels

from ...support.graphs import GraphMaker

pytestmark = pytest.mark.skipif(
    not can_project(usable_features()), reason="this CPU has no fused multiply-add: onnxruntime does it"
)
POOL: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}


def shortcut_model(
    maker: GraphMaker,
    channels: int,
    outputs: int,
    size: tuple[int, int],
    pool: dict[str, Any] | None,
    bias: bool = True,
) -> onnx.ModelProto:
    """A binary layer, and behind it a strided one with a float shortcut around it; the sum is the output."""
    value = maker.conv(maker.binarize("input", channels), maker.signs(channels, channels, 1, 1))
    stride = 1 if pool is None else pool["strides"][0]
    total = maker.conv(
        maker.binarize(value, channels), maker.signs(outputs, channels, 1, 1), strides=(stride, stride), unit=True
    )
    short = value if pool is None else maker.node("AveragePool", [value], **pool)
    inputs = [short, maker.constant(maker.floats(outputs, channels, 1, 1))]
    inputs += [maker.constant(maker.floats(outputs))] if bias else []
    short = maker.node("Conv", inputs, kernel_shape=[1, 1])
    return maker.model({"input": ["N", channels, *size]}, [maker.node("Add", [total, short])])


def kernels(session: InferenceSession) -> list[str]:
    return [step.kernel for step in session.get_steps()]


@given(
    st.integers(0, 2**31),
    st.sampled_from([1, 3, 8, 20, 64]),
    st.sampled_from([16, 32, 48]),
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.sampled_from([None, (2, False), (2, True), (3, True)]),
    st.integers(1, 2),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_shortcut_is_as_near_as_its_sums_allow(
    seed: int, channels: int, outputs: int, size: tuple[int, int], pool: tuple[int, bool] | None, batch: int, bias: bool
) -> None:
    maker = GraphMaker(seed)
    window = None
    if pool is not None:
        side, up = pool
        size = (size[0] + side - 2, size[1] + side - 2)
        if not up:  # an odd size rounds down, where the strided layer rounds up
            size = (size[0] // side * side, size[1] // side * side)
        window = {"kernel_shape": [side] * 2, "strides": [side] * 2, "ceil_mode": int(up), "count_include_pad": 0}
    data = shortcut_model(maker, channels, outputs, size, window, bias).SerializeToString()
    session, x = InferenceSession(data), maker.floats(batch, channels, *size)
    assert "shortcut" in kernels(session)
    expected = ort.InferenceSession(data).run(None, {"input": x})[0]
    found = session.run(None, {"input": x})[0]
    # Two orders of a sum of C products and a mean differ by a rounding of every partial sum at most.
    bound = 1e-6 * (channels + 9) * max(1.0, float(np.abs(expected).max()), 4 * channels**0.5)
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)
    shared = InferenceSession(data, num_threads=2)
    for other in (session, shared, shared):
        np.testing.assert_array_equal(other.run(None, {"input": x})[0], found)


def exact(x: NDArray[Any], model: onnx.ModelProto) -> NDArray[np.float32]:
    """Return what stock onnxruntime answers."""
    result: NDArray[np.float32] = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})[0]
    return result


def test_both_tiles_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile for AVX-512 sums in the same order as the other, so a library of any class answers alike."""
    maker = GraphMaker(5)
    data, x = shortcut_model(maker, 64, 64, (14, 14), POOL).SerializeToString(), maker.floats(1, 64, 14, 14)
    here = InferenceSession(data).run(None, {"input": x})[0]
    monkeypatch.setattr(choice, "usable_features", lambda: usable_features() - {"avx512f"})
    np.testing.assert_array_equal(InferenceSession(data).run(None, {"input": x})[0], here)


@pytest.mark.parametrize("reason", ["pads", "odd outputs", "used elsewhere", "a made source", "pads counted"])
def test_what_is_no_plain_shortcut_stays_in_onnxruntime(reason: str) -> None:
    maker, pool, outputs, size = GraphMaker(1), dict(POOL), 16, (8, 8)
    if reason == "pads":
        pool |= {"pads": [1, 1, 1, 1]}
        size = (6, 6)
    elif reason == "pads counted":
        pool |= {"ceil_mode": 1, "count_include_pad": 1}
    elif reason == "odd outputs":
        outputs = 24
    model = shortcut_model(maker, 8, outputs, size, pool)
    if reason == "pads":
        model = shortcut_model(GraphMaker(1), 8, outputs, size, {**pool, "kernel_shape": [4, 4]})
    elif reason == "used elsewhere":
        conv = next(node for node in model.graph.node if node.op_type == "Conv")
        model.graph.output.append(onnx.helper.make_tensor_value_info(conv.output[0], onnx.TensorProto.FLOAT, None))
    elif reason == "a made source":
        pooled = next(node for node in model.graph.node if node.op_type == "AveragePool")
        pooled.input[0] = "input"
    loaded = load(model.SerializeToString())
    plan = make_plan(loaded, choose_kernels(loaded))
    assert not any(isinstance(planned.part, Shortcut) for planned in plan.parts)
    x = maker.floats(1, 8, *size)
    session = InferenceSession(model.SerializeToString())
    assert "shortcut" not in kernels(session)
    np.testing.assert_allclose(session.run(None, {"input": x})[0], exact(x, model), rtol=1e-5, atol=1e-4)
