"""A gate before a sign is multiplied by as the unit packs: the very bits of the file, and no float is stored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.session import InferenceSession

from ...support.graphs import USABLE, GraphMaker
from ...support.natives import STAGES, append, unit


def native_ops(session: InferenceSession) -> list[str]:
    return [op for step in session.get_steps() if step.kernel == "native" for op in step.ops]


@given(
    st.integers(0, 2**31),
    st.lists(st.sampled_from([stage for stage in STAGES if "gate" not in stage]), max_size=2),
    st.sampled_from([1, 7, 24, 40, 130]),
    st.sampled_from([1, 2]),
    st.sampled_from(["", *USABLE]),
    st.sampled_from(["", "Clip", "Sub", "Sub from"]),
    st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_a_gate_has_the_bits_of_the_file(
    seed: int, stages: list[str], channels: int, group: int, kernel: str, behind: str, batch: int
) -> None:
    """Gates of either sign and infinite ones; behind ``Sub from`` bits fall with the product, and the gate stays."""
    maker, group = GraphMaker(seed), group if channels % 2 == 0 else 1
    other, value = unit(maker, "input", 8, channels), unit(maker, "input", 8, channels)
    gate = maker.node("Div", [unit(maker, maker.node("GlobalMaxPool", ["input"]), 8, channels), "scale"])
    for stage in stages:
        value = append(maker, stage, value, channels, (other, gate))
    value = maker.node("Mul", [gate, value])
    if behind:
        value = append(maker, behind, value, channels, ("", ""))
    weight = maker.signs(16, channels // group, 3, 3)
    value = maker.conv(maker.binarize(value, channels), weight, pads=(1, 1, 1, 1), group=group)
    shape = (batch, 8, 5, 4)
    model = maker.model({"input": ["N", *shape[1:]], "scale": [channels, 1, 1]}, [value])
    scale = maker.rng.choice(np.array([1, 0.3, -2, 0, -0.0, np.inf], np.float32), (channels, 1, 1))
    feeds = {"input": maker.floats(*shape), "scale": scale}
    with np.errstate(all="ignore"):
        expected = ReferenceEvaluator(model).run(None, feeds)[0]
    for threads in (1, 2):
        session = InferenceSession(model.SerializeToString(), kernel=kernel or None, num_threads=threads)
        np.testing.assert_array_equal(session.run(None, feeds)[0], expected)


@pytest.mark.parametrize("read", ["alone", "twice", "as a residual", "by the caller"])
def test_a_gate_stays_where_somebody_reads_the_product(read: str) -> None:
    maker, channels = GraphMaker(7), 24
    start, gate = unit(maker, "input", 8, channels), unit(maker, maker.node("GlobalMaxPool", ["input"]), 8, channels)
    value = maker.node("Mul", [start, gate])
    outputs = [unit(maker, value, channels, channels)]
    if read == "twice":
        outputs.append(unit(maker, value, channels, channels))
    elif read == "as a residual":
        outputs = [maker.node("Add", [outputs[0], value])]
    elif read == "by the caller":
        outputs.append(value)
    model = maker.model({"input": [2, 8, 5, 4]}, outputs)
    session, x = InferenceSession(model.SerializeToString()), maker.floats(2, 8, 5, 4)
    assert ("Mul" in native_ops(session)) == (read != "alone")
    for found, wanted in zip(
        session.run(None, {"input": x}), ReferenceEvaluator(model).run(None, {"input": x}), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
