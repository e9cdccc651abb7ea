"""Groups of few channels: the bit-sliced kernel against integers and onnx.reference, and the layers around it."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.layout import SLICES
from latentbit.runtime.session import InferenceSession

from .graphs import USABLE, GraphMaker
from .test_operators import Case, integers


@st.composite
def cases(draw: Any) -> Case:
    """Draw groups with as many outputs as inputs: all numbers of cells a pixel, several vectors, odd channel counts."""
    inputs = draw(st.sampled_from([1, 1, 1, 2, 4, 8, 16]))
    length = draw(st.sampled_from([1, 2, 3, 3, 5, 7] if inputs <= 4 else [1, 2, 3]))
    kernel = draw(st.sampled_from([(length, length), (1, length), (length, 1)]))
    dilations = draw(st.tuples(*[st.integers(1, 2)] * 2))
    strides = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (2, 1), (1, 3)]))
    spans = [dilation * (taps - 1) + 1 for dilation, taps in zip(dilations, kernel, strict=True)]
    channels = draw(st.sampled_from([2, 5, 9, 16, 24, 63, 64, 65, 96, 128, 200, 256, 300, 512, 513, 600]))
    room = 12 if channels <= 65 else 5
    return Case(
        batch=draw(st.integers(1, 2)),
        group=max(2, channels // inputs),
        inputs=inputs,
        outputs=inputs,
        kernel=kernel,
        strides=strides,
        pads=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        dilations=dilations,
        size=(spans[0] + draw(st.integers(0, 5)), spans[1] + draw(st.integers(0, room))),
        pad_value=draw(st.sampled_from([-1, 0, 1])),
    )


def geometry(case: Case) -> dict[str, Any]:
    return {name: getattr(case, name) for name in ("strides", "pads", "dilations", "group", "pad_value")}


@given(cases(), st.integers(0, 2**31), st.integers(1, 2))
@settings(max_examples=150, deadline=None)
def test_convolution(case: Case, seed: int, threads: int) -> None:
    maker = GraphMaker(seed)
    channels = case.group * case.inputs
    w = maker.signs(channels, case.inputs, *case.kernel)
    signs = maker.node("Binarize", ["input", maker.constant(np.zeros((1, 1, 1), np.float32))], "ai.latentbit")
    sums, scaled = maker.conv(signs, w, unit=True, **geometry(case)), maker.conv(signs, w, **geometry(case))
    model = maker.model({"input": ["N", channels, *case.size]}, [sums, scaled])
    x = maker.signs(case.batch, channels, *case.size)
    feeds = {"input": x.astype(np.float32)}
    session = InferenceSession(model.SerializeToString(), num_threads=threads)
    assert {step.kernel for step in session.get_steps() if step.kind == "binary"} == {"slice"}
    for _ in range(2 * threads):  # threads take turns with one alone
        found = session.run(None, feeds)
        np.testing.assert_array_equal(found[0], integers(case, x, w))
    for ours, theirs in zip(found, ReferenceEvaluator(model).run(None, feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    trace = session.trace(feeds)[0]
    np.testing.assert_array_equal(trace.signs, x)
    np.testing.assert_array_equal(trace.accumulators, integers(case, x, w))


@given(cases(), st.integers(0, 2**31), st.integers(1, 2), st.booleans())
@settings(max_examples=150, deadline=None)
def test_thresholds_in_bit_planes(case: Case, seed: int, threads: int, residual: bool) -> None:
    """Bits leave a layer by limits in planes, or with a residual by the epilogue; a depthwise layer reads them."""
    maker = GraphMaker(seed)
    channels = case.group * case.inputs
    signs = maker.binarize("input", channels)
    value = maker.conv(signs, maker.signs(channels, case.inputs, *case.kernel), **geometry(case))
    if residual:
        value = maker.node("Add", [value, value])
    again = maker.binarize(value, channels)
    outputs = [maker.conv(again, maker.signs(channels, 1, 1, 1), group=channels, unit=True)]
    data = maker.model({"input": ["N", channels, *case.size]}, outputs).SerializeToString()
    x = maker.floats(case.batch, channels, *case.size)
    session = InferenceSession(data, num_threads=threads)
    expected = ort.InferenceSession(data).run(None, {"input": x})[0]
    for _ in range(2 * threads):
        np.testing.assert_array_equal(session.run(None, {"input": x})[0], expected)


LAYERS = {  # name -> channels a group, side of the window
    "pointwise": (None, 1),
    "depthwise": (1, 3),
    "small groups": (4, 3),
    "wide groups": (24, 3),
}


@pytest.mark.parametrize("kernel", [None, *USABLE])
@given(
    st.integers(0, 2**31),
    st.sampled_from([48, 96, 144, 528, 576]),
    st.lists(st.sampled_from(list(LAYERS)), min_size=2, max_size=4),
    st.sampled_from([-1, 0, 1]),
)
@settings(max_examples=25, deadline=None)
def test_bits_pass_between_all_kinds(
    kernel: str | None, seed: int, channels: int, names: list[str], pad_value: int
) -> None:
    maker = GraphMaker(seed)
    value = "input"
    for name in names:
        inputs, side = LAYERS[name]
        weight = maker.signs(channels, inputs or channels, side, side)
        options: dict[str, Any] = {"group": channels // (inputs or channels), "pads": (side // 2,) * 4}
        value = maker.conv(maker.binarize(value, channels), weight, pad_value=pad_value, **options)
    data = maker.model({"input": ["N", channels, 5, 7]}, [value]).SerializeToString()
    x = maker.floats(2, channels, 5, 7)
    session = InferenceSession(data, kernel=kernel)
    np.testing.assert_array_equal(
        session.run(None, {"input": x})[0], ort.InferenceSession(data).run(None, {"input": x})[0]
    )
    if kernel in (None, "slice"):  # others leave gaps between groups of one and four channels
        handed = [step.ops[-1] == "Binarize" for step in session.get_steps() if step.kind == "binary"]
        assert handed == [True] * (len(names) - 1) + [False], "every layer but the last gives bits"


@pytest.mark.parametrize(("channels", "pixel"), [(1, 8), (64, 8), (65, 16), (129, 32), (257, 64), (513, 128)])
def test_a_pixel_is_a_part_of_a_vector_or_whole_ones(channels: int, pixel: int) -> None:
    assert SLICES.group_bytes(channels) == pixel


def test_other_groups_are_refused_with_a_reason() -> None:
    maker = GraphMaker()
    signs = maker.binarize("input", 12)
    sums = [
        maker.conv(signs, maker.signs(24, 1, 3, 3), group=12),  # two outputs a channel
        maker.conv(signs, maker.signs(12, 3, 3, 3), group=4),  # groups of three
        maker.conv(signs, maker.signs(12, 1, 17, 15), group=12),  # 255 taps do not fit in a byte with their limit
        maker.conv(signs, maker.signs(12, 12, 3, 3)),
    ]
    session = InferenceSession(maker.model({"input": [1, 12, 17, 15]}, sums).SerializeToString(), kernel="slice")
    steps = [step for step in session.get_steps() if step.kind == "binary"]
    assert len(steps) == 4
    assert all(step.kernel != "slice" and "not slice: " in step.reason for step in steps)
