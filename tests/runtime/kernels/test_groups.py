"""Groups of few channels: the bit-sliced kernels against integers and onnx.reference, and the layers around them."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.layout.images import SLICES
from latentbit.runtime.session.session import InferenceSession

from ...support.convolutions import Case
from ...support.graphs import USABLE, GraphMaker


@st.composite
def cases(draw: Any) -> Case:
    """Draw small groups: all numbers of cells a pixel, several vectors, odd channel counts, groups cut by a cell."""
    inputs = draw(st.sampled_from([1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 27, 28]))
    length = draw(st.sampled_from([1, 2, 3, 3, 5, 7] if inputs <= 4 else [1, 2, 3]))
    kernel = draw(st.sampled_from([(length, length), (1, length), (length, 1)]))
    outputs = inputs
    if draw(st.booleans()) and inputs <= 8:  # so few and so alike that spread takes them
        outputs = draw(st.integers(-(-inputs // 3), 16 * (kernel[0] * kernel[1] + 1) // inputs))
    dilations = draw(st.tuples(*[st.integers(1, 2)] * 2))
    strides = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (2, 1), (1, 3)]))
    spans = [dilation * (taps - 1) + 1 for dilation, taps in zip(dilations, kernel, strict=True)]
    channels = draw(st.sampled_from([2, 5, 9, 16, 24, 63, 64, 65, 96, 128, 200, 256, 300, 512, 513, 600]))
    room = 12 if channels <= 65 else 5
    return Case(
        batch=draw(st.integers(1, 2)),
        group=max(2, channels // max(inputs, outputs)),
        inputs=inputs,
        outputs=outputs,
        kernel=kernel,
        strides=strides,
        pads=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        dilations=dilations,
        size=(spans[0] + draw(st.integers(0, 5)), spans[1] + draw(st.integers(0, room))),
        pad_value=draw(st.sampled_from([-1, 0, 1])),
    )


def kernel_for(case: Case) -> str:
    return "slice" if case.inputs == case.outputs else "spread"


@given(cases(), st.integers(0, 2**31), st.integers(1, 2), st.booleans())
@settings(max_examples=200, deadline=None)
def test_convolution(case: Case, seed: int, threads: int, spread: bool) -> None:
    layer = case.layer(seed)
    even = case.inputs == case.outputs
    asked = "spread" if spread and even and case.inputs <= 5 else None  # it takes what slice does, and is slower
    session = InferenceSession(layer.model.SerializeToString(), num_threads=threads, kernel=asked)
    assert {step.kernel for step in session.get_steps() if step.kind == "binary"} == {asked or kernel_for(case)}
    for _ in range(2 * threads):  # threads take turns with one alone
        found = session.run(None, layer.feeds)
        np.testing.assert_array_equal(found[0], layer.sums)
    layer.check(found)
    trace = session.trace(layer.feeds)[0]
    np.testing.assert_array_equal(trace.signs, layer.x)
    np.testing.assert_array_equal(trace.accumulators, layer.sums)


@given(cases(), st.integers(0, 2**31), st.integers(1, 2), st.booleans())
@settings(max_examples=150, deadline=None)
def test_thresholds_in_bit_planes(case: Case, seed: int, threads: int, residual: bool) -> None:
    """Bits leave a layer by limits in planes, or with a residual by the epilogue; a depthwise layer reads them."""
    maker = GraphMaker(seed)
    channels = case.group * case.inputs
    signs = maker.binarize("input", channels)
    outputs = case.group * case.outputs
    value = maker.conv(signs, maker.signs(outputs, case.inputs, *case.kernel), **case.geometry)
    if residual:
        value = maker.node("Add", [value, value])
    again = maker.binarize(value, outputs)
    results = [maker.conv(again, maker.signs(outputs, 1, 1, 1), group=outputs, unit=True)]
    data = maker.model({"input": ["N", channels, *case.size]}, results).SerializeToString()
    x = maker.floats(case.batch, channels, *case.size)
    session = InferenceSession(data, num_threads=threads)
    expected = ort.InferenceSession(data).run(None, {"input": x})[0]
    for _ in range(2 * threads):
        np.testing.assert_array_equal(session.run(None, {"input": x})[0], expected)


LAYERS = {  # name -> channels a group, side of the window
    "pointwise": (None, 1),
    "depthwise": (1, 3),
    "small groups": (4, 3),
    "groups cut by a cell": (24, 3),
    "wide groups": (48, 3),
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
    if kernel in (None, "slice", "spread"):  # others leave gaps between groups of one and four channels
        handed = [step.ops[-1] == "Binarize" for step in session.get_steps() if step.kind == "binary"]
        assert handed == [True] * (len(names) - 1) + [False], "every layer but the last gives bits"


@pytest.mark.parametrize(("channels", "pixel"), [(1, 8), (64, 8), (65, 16), (129, 32), (257, 64), (513, 128)])
def test_a_pixel_is_a_part_of_a_vector_or_whole_ones(channels: int, pixel: int) -> None:
    assert SLICES.group_bytes(channels) == pixel


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs", "side", "kernel"),
    [
        (12, 1, 1, 3, "slice"),
        (12, 1, 2, 3, "spread"),  # a depth multiplier
        (12, 2, 1, 3, "spread"),
        (4, 3, 3, 3, "slice"),
        (4, 28, 28, 3, "slice"),
        (4, 29, 29, 1, None),
        (4, 8, 20, 3, "spread"),
        (4, 8, 21, 3, None),  # the copies cost more than the look-ups of lut2
        (4, 8, 4, 1, "spread"),
        (4, 8, 5, 1, None),
        (12, 10, 1, 3, None),  # eight outputs reach over 80 inputs
        (12, 1, 1, 15, "slice"),
        (12, 1, 1, 16, None),  # 256 taps do not fit in a byte with their limit
    ],
)
def test_which_groups_are_sliced(groups: int, inputs: int, outputs: int, side: int, kernel: str | None) -> None:
    maker = GraphMaker()
    channels = groups * inputs
    signs = maker.binarize("input", channels)
    value = maker.conv(signs, maker.signs(groups * outputs, inputs, side, side), group=groups)
    model = maker.model({"input": [1, channels, 16, 16]}, [value])
    step = next(step for step in InferenceSession(model.SerializeToString()).get_steps() if step.kind == "binary")
    if kernel is None:
        assert step.kernel not in ("slice", "spread")
        assert "not slice: it has no small groups" in step.reason
        assert "not spread: it has no small groups" in step.reason
    else:
        assert step.kernel == kernel
