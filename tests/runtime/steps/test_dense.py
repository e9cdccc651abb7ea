"""Dense layers of one bit a weight with real inputs: as near as their sums allow, and the same bits on every CPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.kernels.dense import SIGNED, SignedKernel
from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.plan import dense as plan_dense
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choice

from ...support.graphs import GraphMaker

USABLE = [kernel for kernel in SIGNED if kernel.features <= usable_features()]
ROUNDING = 2.0**-24
Chooses = Callable[[SignedKernel], None]


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Chooses:
    """Return what makes a kernel the only one; layers of every size are taken."""
    monkeypatch.setattr(plan_dense, "_LARGE", 1)
    return lambda kernel: monkeypatch.setattr(choice, "SIGNED", (kernel,))


def layer_model(
    maker: GraphMaker, outputs: int, inputs: int, rows: int | str = "N", unit: bool = False
) -> tuple[onnx.ModelProto, NDArray[np.int8]]:
    """A layer alone, and its weight; ``unit``: scale 1 and bias 0."""
    weight = maker.signs(outputs, inputs)
    scale = np.ones(outputs) if unit else maker.floats(outputs)
    bias = np.zeros(outputs) if unit else maker.floats(outputs)
    made = maker.binary("BinaryWeightGemm", "input", weight, scale, bias)
    return maker.model({"input": [rows, inputs]}, [made]), weight


def answer(data: bytes, x: NDArray[Any], kernel: SignedKernel, **options: Any) -> NDArray[np.float32]:
    session = InferenceSession(data, **options)
    assert [step.kernel for step in session.get_steps()] == [kernel.name]
    found: NDArray[np.float32] = session.run(None, {"input": x})[0]
    return found


@given(
    seed=st.integers(0, 2**31),
    inputs=st.one_of(st.integers(1, 140), st.sampled_from([255, 256, 1000, 4097])),
    outputs=st.one_of(st.integers(1, 80), st.sampled_from([511, 512, 513, 1030])),
    batch=st.integers(1, 3),
    spread=st.integers(0, 6),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_kernel_is_within_the_stated_bound(
    choose: Chooses, seed: int, inputs: int, outputs: int, batch: int, spread: int
) -> None:
    """The bound of kernels/signed_sums.py against the exact sum, and with its own one against onnx.reference."""
    assume(inputs * outputs < 600_000)
    maker = GraphMaker(seed)
    model, weight = layer_model(maker, outputs, inputs, unit=True)
    x = maker.floats(batch, inputs) * np.float32(10) ** maker.rng.integers(-spread, spread + 1, (batch, inputs))
    x = x.astype(np.float32)
    exact, size = x.astype(np.float64) @ weight.T.astype(np.float64), np.abs(x.astype(np.float64)).sum(1)[:, None]
    depth = 4 + -(-inputs // 32)
    answers = []
    for kernel in USABLE:
        choose(kernel)
        answers.append(answer(model.SerializeToString(), x, kernel))
        assert np.all(np.abs(answers[-1] - exact) <= 1.01 * depth * ROUNDING * size)
        np.testing.assert_array_equal(answers[-1].view(np.uint32), answers[0].view(np.uint32))
    reference = next(iter(ReferenceEvaluator(model).run(None, {"input": x})))
    assert np.all(np.abs(answers[0] - reference) <= 1.01 * (depth + inputs) * ROUNDING * size)


@pytest.mark.parametrize("kernel", USABLE, ids=lambda kernel: kernel.name)
@given(seed=st.integers(0, 2**31), inputs=st.integers(1, 200), outputs=st.integers(1, 70))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_of_integers_are_those_of_the_file(
    choose: Chooses, kernel: SignedKernel, seed: int, inputs: int, outputs: int
) -> None:
    """Where no addition rounds, scale and bias round as in the file: the same bits as onnx.reference."""
    choose(kernel)
    maker = GraphMaker(seed)
    model, _ = layer_model(maker, outputs, inputs)
    x = maker.rng.integers(-1000, 1000, (2, inputs)).astype(np.float32)
    reference = next(iter(ReferenceEvaluator(model).run(None, {"input": x})))
    np.testing.assert_array_equal(answer(model.SerializeToString(), x, kernel), reference)


@pytest.mark.parametrize("kernel", USABLE, ids=lambda kernel: kernel.name)
def test_infinite_and_tiny_inputs(choose: Chooses, kernel: SignedKernel) -> None:
    choose(kernel)
    maker = GraphMaker(3)
    model, weight = layer_model(maker, 40, 100, unit=True)
    x = maker.floats(6, 100)
    x[0, 7] = np.inf
    x[1, 99] = -np.inf
    x[2, [4, 5]] = np.inf  # two of one four: of one sign infinite, of two no number
    x[3, [0, 99]] = -np.inf, np.inf
    x[4] = np.float32(1e-45)
    x[5] = -0.0
    with np.errstate(invalid="ignore"):
        wanted = (x[:, None].astype(np.float64) * weight[None]).sum(-1).astype(np.float32)
    found = answer(model.SerializeToString(), x, kernel)
    np.testing.assert_array_equal(found[:4][~np.isfinite(wanted[:4])], wanted[:4][~np.isfinite(wanted[:4])])
    assert np.isnan(wanted[2:4]).any()
    assert np.isinf(wanted[2:4]).any()
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
    np.testing.assert_array_equal(found[4:], wanted[4:])


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("rows", "outputs"), [(1, 2100), (5, 1100), (7, 60)])
def test_threads_and_rows_change_no_bit(choose: Chooses, threads: int, rows: int, outputs: int) -> None:
    """Helpers share rows and blocks of outputs; a row has the bits that it has alone."""
    choose(USABLE[0])
    maker = GraphMaker(4)
    model, _ = layer_model(maker, outputs, 300)
    data, x = model.SerializeToString(), maker.floats(rows, 300)
    together = answer(data, x, USABLE[0])
    reference = next(iter(ReferenceEvaluator(model).run(None, {"input": x})))
    np.testing.assert_allclose(together, reference, rtol=0, atol=1e-3)
    for row in range(rows):
        np.testing.assert_array_equal(answer(data, x[row : row + 1], USABLE[0])[0], together[row])
    for _ in range(5):
        shared = answer(data, x, USABLE[0], num_threads=threads, share="always")
        np.testing.assert_array_equal(shared, together)


def test_what_stands_around_it(choose: Chooses) -> None:
    """Float operators before and behind, a packed layer behind, outputs of the model on the way, another batch."""
    choose(USABLE[0])
    maker = GraphMaker(5)
    first = maker.binary(
        "BinaryWeightGemm", maker.node("Relu", ["input"]), maker.signs(60, 50), np.ones(60), np.zeros(60)
    )
    second = maker.binary(
        "BinaryWeightGemm", maker.node("Exp", [first]), maker.signs(30, 60), np.ones(30), np.zeros(30)
    )
    packed = maker.dense(maker.binarize(second, 30, rank=2), maker.signs(20, 30))
    model = maker.model({"input": ["N", 50]}, [first, packed, second])
    session = InferenceSession(model.SerializeToString())
    assert [step.kernel for step in session.get_steps()].count(USABLE[0].name) == 2
    for batch in (1, 4):
        x = maker.floats(batch, 50) / 8
        found = session.run(None, {"input": x})
        for ours, theirs in zip(
            found, ort.InferenceSession(model.SerializeToString()).run(None, {"input": x}), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4 * np.abs(theirs).max())


def test_which_layers_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large ones; on a CPU without look-ups only few rows, if the file says how many."""

    def taken(outputs: int, inputs: int, rows: int | str) -> str:
        data = layer_model(GraphMaker(6), outputs, inputs, rows)[0].SerializeToString()
        return InferenceSession(data).get_steps()[0].kernel

    assert taken(512, 512, 1) == "onnxruntime"
    assert taken(1024, 512, 1) == taken(1024, 512, "N") == USABLE[0].name
    monkeypatch.setattr(choice, "SIGNED", SIGNED[-1:])
    assert [taken(1024, 512, rows) for rows in (8, "N", 9)] == ["bytes", "bytes", "onnxruntime"]
