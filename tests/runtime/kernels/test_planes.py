"""Activations of two bits over two planes: the same integers as three copies of signs, and when they are chosen."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.kernels import registry
from latentbit.runtime.kernels.two_planes import PLANES
from latentbit.runtime.layout.tables import strip_order
from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.session.info import StepInfo
from latentbit.runtime.steps import choice

from ...support.graphs import GraphMaker

HERE = usable_features() | {"asimd"}
"""What this CPU has, and NEON: what is no instruction here runs in its portable form."""

KERNELS = [kernel.name for kernel in PLANES if kernel.features <= HERE]


@pytest.fixture(scope="module", autouse=True)
def neon() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (registry, choice):
            patch.setattr(module, "usable_features", lambda: HERE)
        yield


@given(height=st.integers(1, 40), width=st.integers(1, 40), pixels=st.integers(1, 9))
@example(7, 7, 7)
def test_a_tile_is_neighbours_of_a_row(height: int, width: int, pixels: int) -> None:
    tiles = strip_order(pixels)(height, width).reshape(-1, pixels)
    assert sorted(tiles[tiles >= 0]) == list(range(height * width))
    for tile in tiles:
        assert tile[0] >= 0, "a tile begins with a pixel, which empty places repeat"
        live = tile >= 0
        assert (tile[live] == tile[0] + np.arange(pixels)[live]).all()
        assert tile[live][-1] // width == tile[0] // width


@dataclass(frozen=True)
class Layer:
    """A convolution over three copies of a value, each with thresholds of its own, and what may stand around it."""

    seed: int
    channels: int
    outputs: int
    size: tuple[int, int]
    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int, int, int]
    pad_value: int
    before: str = ""
    behind: str = ""

    def model(self) -> onnx.ModelProto:
        maker, channels = GraphMaker(self.seed), self.channels
        value = "input"
        if self.before == "norm":  # whose factors are of both signs: bits rise or fall
            value = maker.node("Mul", [value, maker.per_channel(channels)])
            value = maker.node("Add", [value, maker.per_channel(channels)])
        limits = maker.rng.choice(
            np.array([-np.inf, -1, -0.5, 0, 0.25, 0.5, 1, 2], np.float32), (3 * channels, 1, 1)
        )  # in any order, and some twice
        value = maker.node("Concat", [value] * 3, axis=1)
        value = maker.node("Binarize", [value, maker.constant(limits)], "ai.latentbit")
        weight = np.tile(maker.signs(self.outputs, channels, self.kernel, self.kernel), (1, 3, 1, 1))
        value = maker.conv(
            value,
            weight,
            strides=(self.stride, self.stride),
            pads=self.pads,
            dilations=(self.dilation, self.dilation),
            pad_value=self.pad_value,
            unit=self.behind != "scale",
        )
        if self.behind == "rprelu":
            value = maker.rprelu(value, self.outputs)
        if self.behind == "sign":
            value = maker.conv(maker.binarize(value, self.outputs), maker.signs(9, self.outputs, 1, 1), unit=True)
        return maker.model({"input": ["N", channels, *self.size]}, [value])

    def input(self, batch: int) -> NDArray[np.float32]:
        rng = np.random.default_rng(self.seed + 1)
        x = rng.standard_normal((batch, self.channels, *self.size)).astype(np.float32)
        odd = rng.choice(np.array([-np.inf, -1, -0.0, 0, 0.25, 0.5, 1, 2, np.inf], np.float32), x.shape)
        return np.where(rng.random(x.shape) < (0.0 if self.before else 0.3), odd, x)


@st.composite
def layers(draw: Any) -> Layer:
    kernel, dilation = draw(st.sampled_from([1, 2, 3])), draw(st.integers(1, 2))
    least = (kernel - 1) * dilation + 1
    return Layer(
        seed=draw(st.integers(0, 2**31)),
        channels=draw(st.sampled_from([8, 16, 24, 64, 104])),
        outputs=draw(st.sampled_from([1, 8, 33, 64, 70])),
        size=(draw(st.integers(least, 9)), draw(st.integers(least, 16))),
        kernel=kernel,
        stride=draw(st.integers(1, 2)),
        dilation=dilation,
        pads=tuple(draw(st.integers(0, 2)) for _ in range(4)),  # type: ignore[arg-type]
        pad_value=draw(st.sampled_from([-1, 0, 1])),
        before=draw(st.sampled_from(["", "norm"])),
        behind=draw(st.sampled_from(["", "scale", "rprelu", "sign"])),
    )


def planes_of(session: InferenceSession) -> list[StepInfo]:
    return [step for step in session.get_steps() if "; two planes" in step.reason]


def check(layer: Layer, kernel: str, threads: int) -> None:
    """Hold answers, signs and accumulators to onnx.reference on the very file, and to three copies."""
    model, x = layer.model(), layer.input(2)
    session = InferenceSession(model.SerializeToString(), kernel=kernel, num_threads=threads)
    (step,) = planes_of(session)
    assert step.kernel == kernel
    (expected,) = ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_array_equal(session.run(None, {"input": x})[0], expected)
    copies = InferenceSession(model.SerializeToString(), kernel="slice")  # takes no such layer, and has no planes
    assert not planes_of(copies)
    for found, wanted in zip(session.trace({"input": x}), copies.trace({"input": x}), strict=True):
        np.testing.assert_array_equal(found.signs, wanted.signs)
        np.testing.assert_array_equal(found.accumulators, wanted.accumulators)


@given(layers(), st.sampled_from([name for name in KERNELS if name != "perm"]), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_two_planes_count_what_three_copies_count(layer: Layer, kernel: str, threads: int) -> None:
    check(layer, kernel, threads)


@pytest.mark.skipif("perm" not in KERNELS, reason="this CPU has no byte permutes of AVX-512")
@given(layers().map(lambda layer: Layer(**{**vars(layer), "kernel": 3, "stride": 1, "dilation": 1})))
@settings(max_examples=40, deadline=None)
def test_byte_permutes_over_two_planes(layer: Layer) -> None:
    check(Layer(**{**vars(layer), "size": (max(3, layer.size[0]), max(3, layer.size[1]))}), "perm", 1)


def test_no_counter_overflows() -> None:
    """All bits of both planes differ from all weights, or none does, in the widest window that accumulators hold."""
    channels = 65535 // 27 // 8 * 8
    maker = GraphMaker()
    value = maker.node("Concat", ["input"] * 3, axis=1)
    value = maker.node("Binarize", [value, maker.constant(np.zeros((1, 1, 1), np.float32))], "ai.latentbit")
    value = maker.conv(value, np.ones((64, 3 * channels, 3, 3), np.int8), unit=True)
    data = maker.model({"input": [1, channels, 3, 16]}, [value]).SerializeToString()
    for kernel in KERNELS:
        session = InferenceSession(data, kernel=kernel)
        assert planes_of(session)
        for sign in (-1, 1):
            (answer,) = session.run(None, {"input": np.full((1, channels, 3, 16), 9.0 * sign, np.float32)})
            assert (answer == sign * 27 * channels).all()


def two_bits(differs: str) -> InferenceSession:
    """Return a session on a layer over three copies that differs in one thing from one over levels."""
    maker = GraphMaker(3)
    shape = (3 * 16, 1, 1)
    value = maker.node("Concat", ["input"] * 3, axis=1)
    if differs == "turn":  # the bits of one copy fall where those of the others rise
        turn = np.where(np.arange(48) < 16, -1, 1).astype(np.float32).reshape(shape)
        value = maker.node("Mul", [value, maker.constant(turn)])
    limits = maker.constant(np.repeat(np.array([0, 1, 2], np.float32), 16).reshape(shape))
    value = maker.node("Binarize", [value, limits], "ai.latentbit")
    if differs == "pool":
        value = maker.node("MaxPool", [value], kernel_shape=[2, 2])
    weight = np.tile(maker.signs(8, 16, 1, 1), (1, 3, 1, 1))
    if differs == "weight":
        weight[5, 40] *= -1
    model = maker.model({"input": [1, 16, 4, 4]}, [maker.conv(value, weight, unit=True)])
    session, x = InferenceSession(model.SerializeToString()), maker.floats(1, 16, 4, 4)
    (expected,) = ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_array_equal(session.run(None, {"input": x})[0], expected)
    return session


def test_copies_that_are_one_level_are_two_planes() -> None:
    (step,) = planes_of(two_bits(""))
    assert step.kernel in KERNELS


@pytest.mark.parametrize("differs", ["weight", "turn", "pool"])
def test_copies_that_are_no_level_stay_three(differs: str) -> None:
    assert not planes_of(two_bits(differs))


@pytest.mark.skipif("avx2" not in HERE, reason="this CPU cannot run lut")
def test_a_kernel_that_is_asked_for_runs_over_three_copies_where_it_knows_no_planes() -> None:
    session = InferenceSession(
        Layer(7, 16, 8, (5, 5), 3, 1, 1, (1, 1, 1, 1), 0).model().SerializeToString(), kernel="lut"
    )
    assert [step.kernel for step in session.get_steps() if step.kind == "binary"] == ["lut"]
    assert not planes_of(session)


@pytest.mark.parametrize("kernel", [name for name in KERNELS if name in ("csa", "ctp")])
def test_dense_layers(kernel: str) -> None:
    maker = GraphMaker(5)
    value = maker.node("Concat", ["input"] * 3, axis=1)
    value = maker.node("Binarize", [value, maker.per_channel(3 * 40, 2)], "ai.latentbit")
    value = maker.dense(value, np.tile(maker.signs(70, 40), (1, 3)), unit=True)
    model, x = maker.model({"input": ["N", 40]}, [value]), maker.floats(5, 40)
    session = InferenceSession(model.SerializeToString(), kernel=kernel)
    assert planes_of(session)
    (expected,) = ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_array_equal(session.run(None, {"input": x})[0], expected)
