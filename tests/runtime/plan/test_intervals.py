"""Chains between two units that keep no order: the bits that the first unit writes are those of the floats."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.intake.reading import load
from latentbit.runtime.layout.intervals import circular
from latentbit.runtime.plan import Unit, make_plan
from latentbit.runtime.plan.intervals import find_intervals
from latentbit.runtime.plan.monotone import Threshold
from latentbit.runtime.plan.thresholds import accumulated
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choose_kernels

from ...support.graphs import USABLE, GraphMaker
from ...support.natives import append

CURVES = ("HardSwish", "Mul itself", "SiLU", "GELU", "Sigmoid", "Sub from", "PRelu", "Clip")
ARITHMETIC = ("HardSwish", "Mul itself", "Sub from", "PRelu", "Clip")


def curved(maker: GraphMaker, stage: str, value: str, channels: int, rank: int) -> str:
    if stage == "SiLU":
        return maker.node("Mul", [value, maker.node("Sigmoid", [value])])
    if stage == "GELU":
        half = maker.node("Mul", [value, maker.constant(np.float32(0.5))])
        error = maker.node("Erf", [maker.node("Mul", [value, maker.constant(np.float32(0.7071))])])
        return maker.node("Mul", [half, maker.node("Add", [error, maker.constant(np.float32(1))])])
    if stage == "Sigmoid":
        return maker.node("Sigmoid", [value])
    return append(maker, stage, value, channels, ("", ""), rank)


def two_ways(maker: GraphMaker, value: str, between: str, shape: tuple[int | str, ...]) -> tuple[bytes, bytes]:
    """Return the model, and the one that answers with what is between the layers too, so that its floats are made."""
    outputs = [[value], [value, between]]
    return tuple(maker.model({"input": shape}, names).SerializeToString() for names in outputs)  # type: ignore[return-value]


def reasons(session: InferenceSession) -> str:
    return " ".join(step.reason for step in session.get_steps())


@given(
    st.integers(0, 2**31),
    st.lists(st.sampled_from(CURVES), min_size=1, max_size=3),
    st.sampled_from(["plain", "depthwise", "strided"]),
    st.sampled_from([1, 3, 5]),
    st.sampled_from([3, 8, 40, 130]),
    st.sampled_from([-1, 0, 1]),
    st.sampled_from(["", *USABLE]),
    st.integers(1, 2),
)
@settings(max_examples=40, deadline=None)
def test_bits_are_those_of_the_floats(
    seed: int, stages: list[str], kind: str, size: int, channels: int, pad_value: int, kernel: str, threads: int
) -> None:
    maker = GraphMaker(seed)
    group, stride = (channels if kind == "depthwise" else 1), (2 if kind == "strided" else 1)
    weight = maker.signs(channels, channels // group, size, size)
    value = maker.binarize("input", channels)
    value = maker.conv(value, weight, pads=(1, 1, 1, 0), group=group, strides=(stride, stride), pad_value=pad_value)
    for stage in stages:
        value = curved(maker, stage, value, channels, 4)
    weight = maker.signs(channels, 1, 3, 3)
    last = maker.conv(maker.binarize(value, channels), weight, pads=(1, 1, 1, 1), group=channels, unit=True)
    shape = (2, channels, 7, 6)
    model, with_floats = two_ways(maker, last, value, shape)
    x = maker.floats(*shape)
    session = InferenceSession(model, kernel=kernel or None, num_threads=threads)
    found = session.run(None, {"input": x})[0]
    np.testing.assert_array_equal(found, InferenceSession(with_floats).run(None, {"input": x})[0])
    if set(stages) <= set(ARITHMETIC):
        evaluator = ReferenceEvaluator(onnx.load_from_string(model))
        np.testing.assert_array_equal(found, evaluator.run(None, {"input": x})[0])


@pytest.mark.parametrize("stage", ["HardSwish", "SiLU", "GELU"])
@pytest.mark.parametrize("rank", [2, 4])
def test_a_curve_between_two_layers_vanishes(stage: str, rank: int) -> None:
    maker, channels, value = GraphMaker(5), 64, "input"
    for last in (False, True):
        value = maker.binarize(value, channels, rank)
        weight = maker.signs(channels, channels, *(1,) * (rank - 2))
        value = maker.dense(value, weight) if rank == 2 else maker.conv(value, weight)
        if not last:
            value = between = curved(maker, stage, value, channels, rank)
    shape = (3, channels, 4, 4)[:rank]
    model, with_floats = two_ways(maker, value, between, shape)
    session, other = InferenceSession(model), InferenceSession(with_floats)
    assert "integer intervals" in reasons(session)
    assert "native" not in {step.kernel for step in session.get_steps()}
    assert "native" in {step.kernel for step in other.get_steps()}
    x = maker.floats(*shape)
    np.testing.assert_array_equal(session.run(None, {"input": x})[0], other.run(None, {"input": x})[0])
    if rank == 4:
        for mine, theirs in zip(session.trace({"input": x}), other.trace({"input": x}), strict=True):
            np.testing.assert_array_equal(mine.accumulators, theirs.accumulators)


def test_a_curve_stays_where_somebody_reads_floats() -> None:
    """Two layers behind the curve; a layer that adds what is before it; a gate from another value."""
    for case in ("twice", "residual", "value"):
        maker, channels = GraphMaker(6), 16
        start = maker.conv(maker.binarize("input", channels), maker.signs(channels, channels, 1, 1))
        value = maker.node("HardSwish", [start])
        outputs = list[str]()
        if case == "value":
            side = maker.conv(maker.binarize("input", channels), maker.signs(channels, channels, 1, 1))
            value = maker.node("Mul", [value, side])
        for _ in range(2 if case == "twice" else 1):
            weight = maker.signs(channels, channels, 3, 3)
            last = maker.conv(maker.binarize(value, channels), weight, pads=(1, 1, 1, 1), unit=True)
            outputs.append(maker.node("Add", [last, start]) if case == "residual" else last)
        model = maker.model({"input": [1, channels, 5, 5]}, outputs)
        x = maker.floats(1, channels, 5, 5)
        session = InferenceSession(model.SerializeToString())
        assert "native" in {step.kernel for step in session.get_steps()}, case
        for found, wanted in zip(
            session.run(None, {"input": x}), ReferenceEvaluator(model).run(None, {"input": x}), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


def first_unit(seed: int, inputs: int, outputs: int, pads: int) -> Unit:
    maker = GraphMaker(seed)
    value = maker.conv(maker.binarize("input", inputs), maker.signs(outputs, inputs, 1, 1), pads=(pads,) * 4)
    model = load(maker.model({"input": [1, inputs, 4, 4]}, [value]).SerializeToString())
    unit = make_plan(model, choose_kernels(model)).parts[0].part
    assert isinstance(unit, Unit)
    return unit


@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(0, 1), st.sampled_from([-1.0, 1.0]), st.floats(0.1, 3))
@settings(max_examples=60, deadline=None)
def test_equal_on_every_accumulator(seed: int, inputs: int, pads: int, turn: float, speed: float) -> None:
    """A wave changes often or seldom: where it is more than twice there are no intervals."""
    outputs = 5
    unit = first_unit(seed, inputs, outputs, pads)
    behind = np.random.default_rng(seed).uniform(-1.2, 1.2, outputs).astype(np.float32)
    threshold = Threshold(behind, np.full(outputs, turn, np.float32))

    def curve(y: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.sin(np.float32(speed) * y)

    sums = np.arange(-inputs, inputs + 1, 1 if pads else 2)[:, None]
    expected = curve(accumulated(unit, sums)) * threshold.turn >= threshold.value
    found = find_intervals(unit, curve, threshold)
    if found is None:
        assert np.count_nonzero(expected[1:] != expected[:-1], axis=0).max() > 2
        return
    bits = ((found.first <= sums) & (sums < found.behind)) == found.inside
    np.testing.assert_array_equal(bits, expected)
    assert np.all((-inputs <= found.first) & (found.first <= found.behind) & (found.behind <= inputs + 1))


@pytest.mark.parametrize("inside", [False, True])
def test_a_difference_and_a_comparison_tell_an_interval(inside: bool) -> None:
    """In 32 bits with signs, as the kernels have it: for every pair of limits, equal ones and those at the ends too."""
    lower, upper = (side.reshape(1, -1) for side in np.triu_indices(7))
    starts, widths = circular(lower, upper, np.full(lower.size, inside))
    counts = np.arange(7, dtype=np.int32)[:, None]
    np.testing.assert_array_equal(counts - starts < widths, ((lower <= counts) & (counts < upper)) == inside)
