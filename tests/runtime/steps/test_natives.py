"""Float operators between packed layers, run by our kernels: the very bits of the file's float32 steps."""

import math

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.session import InferenceSession

from ...support.graphs import GraphMaker
from ...support.natives import STAGES, answers, append, float_steps, shuffled, unit


@given(
    st.integers(0, 2**31),
    st.lists(st.sampled_from(STAGES), min_size=1, max_size=5),
    st.sampled_from([1, 7, 16, 24, 40, 130]),
    st.tuples(st.integers(2, 9), st.integers(1, 9)),
    st.integers(1, 3),
)
@settings(max_examples=25, deadline=None)
def test_a_chain_has_the_bits_of_the_file(
    seed: int, stages: list[str], channels: int, size: tuple[int, int], batch: int
) -> None:
    maker = GraphMaker(seed)
    other = unit(maker, "input", 8, channels)
    gate = unit(maker, maker.node("GlobalMaxPool", ["input"]), 8, channels)
    value = unit(maker, "input", 8, channels)
    for stage in stages:
        value = append(maker, stage, value, channels, (other, gate))
    value = maker.conv(maker.binarize(value, channels), maker.signs(16, channels, 3, 3), pads=(1, 1, 1, 1))
    model = maker.model({"input": ["N", 8, *size]}, [value, maker.nodes[-2].input[0]])
    x = maker.floats(batch, 8, *size)
    expected = ReferenceEvaluator(model).run(None, {"input": x})
    for threads in (1, 2):
        for found, wanted in zip(answers(model, x, threads), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert set(float_steps(model)) <= {"GlobalMaxPool", "Transpose"}


@given(st.integers(0, 2**31), st.sampled_from(["Add value", "Relu"]), st.integers(1, 3))
@settings(max_examples=8, deadline=None)
def test_rows_that_the_caller_feeds_are_new_in_every_run(seed: int, stage: str, rows: int) -> None:
    maker = GraphMaker(seed)
    value = maker.dense(maker.binarize("input", 8, 2), maker.signs(24, 8))
    value = append(maker, stage, maker.node("Mul", [value, "side"]), 24, ("side", ""), rank=2)
    last = maker.dense(maker.binarize(value, 24, 2), maker.signs(16, 24))
    model = maker.model({"input": ["N", 8], "side": ["N", 24]}, [last, value])
    session = InferenceSession(model.SerializeToString())
    for _ in range(2):
        feeds = {"input": maker.floats(rows, 8), "side": maker.floats(rows, 24)}
        for found, wanted in zip(session.run(None, feeds), ReferenceEvaluator(model).run(None, feeds), strict=True):
            np.testing.assert_array_equal(found, wanted)


@given(st.integers(0, 2**31), st.sampled_from([8, 24, 40]), st.sampled_from(["Split", "Slice", "SplitToSequence"]))
@settings(max_examples=12, deadline=None)
def test_moves_of_channels_cost_one_step_and_no_bit(seed: int, channels: int, split: str) -> None:
    """Two blocks of a ShuffleNet: join, shuffle, part in two, one half through a layer, join again."""
    maker, size = GraphMaker(seed), (5, 3)
    halves = [unit(maker, "input", 8, channels), unit(maker, "input", 8, channels)]
    for _ in range(2):
        value = shuffled(maker, maker.node("Concat", halves, axis=1), 2 * channels, 2, size)
        if split == "Split":
            node = onnx.helper.make_node("Split", [value], [f"{value}.a", f"{value}.b"], axis=1, num_outputs=2)
            maker.nodes.append(node)
            halves = list(node.output)
        elif split == "Slice":
            ends = [(0, channels), (channels, 2 * channels)]
            halves = [
                maker.node("Slice", [value, *(maker.constant(np.array([at])) for at in (*pair, 1))]) for pair in ends
            ]
        else:
            sequence = maker.node("SplitToSequence", [value, maker.constant(np.array(channels))], axis=1)
            halves = [maker.node("SequenceAt", [sequence, maker.constant(np.array(at))]) for at in (0, -1)]
        halves[1] = unit(maker, halves[1], channels, channels)
    value = maker.node("Concat", halves, axis=1)
    last = unit(maker, value, 2 * channels, 8)
    model = maker.model({"input": [2, 8, *size]}, [value, last])
    x = maker.floats(2, 8, *size)
    for found, wanted in zip(answers(model, x), ReferenceEvaluator(model).run(None, {"input": x}), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert set(float_steps(model)) <= {"Transpose"}


@given(st.integers(0, 2**31), st.sampled_from([3, 16, 40]), st.tuples(st.integers(1, 20), st.integers(1, 20)))
@settings(max_examples=12, deadline=None)
def test_a_mean_for_a_gate_is_as_near_as_its_sums_allow(seed: int, channels: int, size: tuple[int, int]) -> None:
    maker = GraphMaker(seed)
    value = unit(maker, "input", 8, channels)
    if seed % 2:
        mean = maker.node("GlobalAveragePool", [value])
    else:
        mean = maker.node("ReduceMean", [value, maker.constant(np.array([2, -1]))], keepdims=1)
    gate = maker.node("Sigmoid", [maker.node("Mul", [mean, maker.per_channel(channels)])])
    value = unit(maker, maker.node("Mul", [value, gate]), channels, 8)
    model = maker.model({"input": ["N", 8, *size]}, [value, mean, gate])
    x = maker.floats(3, 8, *size)
    mine, theirs = answers(model, x), ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    np.testing.assert_allclose(mine[1], theirs[1], rtol=0, atol=4e-6 * max(1.0, float(np.abs(theirs[1]).max())))
    np.testing.assert_allclose(mine[2], theirs[2], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(answers(model, x, threads=2)[1], mine[1])
    assert "Mul" not in float_steps(model)


def test_the_sigmoid_is_within_four_units_of_the_last_place() -> None:
    maker = GraphMaker()
    value = maker.node("Sigmoid", [maker.node("Add", [unit(maker, "input", 1, 1), "shift"])])
    read = unit(maker, value, 1, 1)
    model = maker.model({"input": [1, 1, 64, 65], "shift": [1, 1, 64, 65]}, [value, read])
    x = np.linspace(-100, 100, 64 * 65, dtype=np.float32).reshape(1, 1, 64, 65)
    session = InferenceSession(model.SerializeToString())
    found = session.run(None, {"input": np.ones_like(x), "shift": x})[0]
    before = maker.model({"input": [1, 1, 64, 65], "shift": [1, 1, 64, 65]}, [maker.nodes[2].output[0]])
    exact = ort.InferenceSession(before.SerializeToString()).run(None, {"input": np.ones_like(x), "shift": x})[0]
    true = 1 / (1 + np.exp(-exact.astype(np.float64)))
    near = true > 1e-37
    assert np.abs(found[near] / true[near] - 1).max() < 4 * 2.0**-23
    assert np.abs(found[~near] - true[~near]).max() < 1e-37


def test_the_error_function_is_within_four_units_of_the_last_place() -> None:
    maker, shape = GraphMaker(), [1, 1, 64, 65]
    value = maker.node("Add", [maker.node("Add", [unit(maker, "input", 1, 1), "shift"]), "more"])
    summed, value = value, maker.node("Erf", [value])
    model = maker.model(dict.fromkeys(("input", "shift", "more"), shape), [summed, value, unit(maker, value, 1, 1)])
    assert "Erf" not in float_steps(model)
    x = np.linspace(-5, 5, 64 * 65, dtype=np.float32)
    x[:9] = np.inf, -np.inf, np.inf, 3e38, -3e38, 1e-6, -1e-6, 0.921875, -0.921875
    feeds = {"input": np.ones(x.shape, np.float32), "shift": x, "more": np.where(np.arange(x.size) == 2, -np.inf, 0)}
    feeds = {name: values.astype(np.float32).reshape(shape) for name, values in feeds.items()}
    given, found = (values.reshape(-1) for values in InferenceSession(model.SerializeToString()).run(None, feeds)[:2])
    true = np.array([math.erf(one) for one in given])
    assert np.isnan(true[2])
    assert np.isnan(found[2])
    assert np.all(found[:2] == [1, -1])
    near = np.arange(x.size) != 2
    assert np.all(np.abs(found[near] - true[near]) <= 4 * np.spacing(np.abs(true[near]).astype(np.float32)))


@given(
    st.integers(0, 2**31),
    st.lists(st.sampled_from([stage for stage in STAGES if "gate" not in stage]), min_size=1, max_size=5),
    st.sampled_from([1, 7, 24, 130, 1030]),
    st.sampled_from([1, 2, 33]),
)
@settings(max_examples=25, deadline=None)
def test_a_chain_over_rows_has_the_bits_of_the_file(seed: int, stages: list[str], channels: int, rows: int) -> None:
    maker = GraphMaker(seed)
    value, other = (maker.dense(maker.binarize("input", 8, 2), maker.signs(channels, 8)) for _ in range(2))
    for stage in stages:
        value = append(maker, stage, value, channels, (other, ""), rank=2)
    last = maker.dense(maker.binarize(value, channels, 2), maker.signs(16, channels))
    model = maker.model({"input": ["N", 8]}, [last, value, maker.node("Mul", [last, maker.per_channel(16, 2)])])
    x = maker.floats(rows, 8)
    expected = ReferenceEvaluator(model).run(None, {"input": x})
    for threads in (1, 2):
        for found, wanted in zip(answers(model, x, threads), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert float_steps(model) == []


def test_gelu_between_layers_over_rows_turns_few_signs() -> None:
    """The layer behind it reads the signs of the file's own steps, but for those that lie at the threshold itself."""
    maker = GraphMaker(7)
    value = maker.dense(maker.binarize("input", 64, 2), maker.signs(256, 64))
    inner = maker.node("Div", [value, maker.constant(np.float32(math.sqrt(2)))])
    inner = maker.node("Add", [maker.node("Erf", [inner]), maker.constant(np.float32(1))])
    value = maker.node("Mul", [value, maker.node("Mul", [maker.constant(np.float32(0.5)), inner])])
    model = maker.model({"input": ["N", 64]}, [value, maker.dense(maker.binarize(value, 256, 2), maker.signs(8, 256))])
    assert float_steps(model) == []
    x = maker.floats(200, 64)
    found, expected = answers(model, x), ReferenceEvaluator(model).run(None, {"input": x})
    np.testing.assert_allclose(found[0], expected[0], rtol=2e-6, atol=1e-6)
    assert np.count_nonzero(found[1] != expected[1]) <= 8  # a row is 8 numbers


@pytest.mark.parametrize("reason", ["an odd constant", "a float reader", "a convolution before it"])
def test_what_does_not_stand_between_parts_stays_with_onnxruntime(reason: str) -> None:
    maker = GraphMaker(3)
    if reason == "an odd constant":
        value = unit(maker, "input", 8, 8)
        value = maker.node("Add", [value, maker.constant(maker.floats(1, 1, 4, 4))])
        kept = "Add"
    elif reason == "a float reader":
        value = maker.node("Relu", [maker.node("Conv", ["input", maker.constant(maker.floats(8, 8, 1, 1))])])
        value = maker.node("Add", [value, maker.node("Exp", [value])])
        kept = "Relu"
    else:
        value = maker.node("Sigmoid", [maker.node("Conv", ["input", maker.constant(maker.floats(8, 8, 1, 1))])])
        kept = "Sigmoid"
    model = maker.model({"input": ["N", 8, 4, 4]}, [unit(maker, value, 8, 8)])
    assert kept in float_steps(model)
    x = maker.floats(2, 8, 4, 4)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})[0]
    np.testing.assert_array_equal(answers(model, x)[0], expected)


@pytest.mark.parametrize("move", ["split", "shuffle"])
@pytest.mark.parametrize("lie", [True, False])
def test_sizes_that_a_file_claims_move_no_channels(move: str, lie: bool) -> None:
    """Sizes that are computed are known to onnxruntime alone; what the file says of the values may be anything."""
    maker = GraphMaker(1)

    def sizes(*values: int) -> str:
        constant = maker.constant(np.array(values))
        return maker.node("Identity", [constant]) if lie else constant

    value = maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 1, 1), unit=True)
    value = maker.node("Mul", [maker.node("Add", [value, maker.per_channel(8)]), maker.per_channel(8)])
    claims: dict[str, list[str | int]]
    if move == "split":
        maker.nodes.append(onnx.helper.make_node("Split", [value, sizes(2, 6)], ["a", "b"], "split", axis=1))
        claims = {"a": ["N", 4, 6, 7], "b": ["N", 4, 6, 7]}
        value = maker.node("Concat", ["b", "a"], axis=1)
    else:
        wide = maker.node("Reshape", [value, sizes(-1, 4, 2, 6, 7)])
        turned = maker.node("Transpose", [wide], perm=[0, 2, 1, 3, 4])
        value = maker.node("Reshape", [turned, sizes(-1, 8, 6, 7)])
        claims = {wide: ["N", 2, 4, 6, 7], turned: ["N", 4, 2, 6, 7], value: ["N", 8, 6, 7]}
    maker.conv(maker.binarize(value, 8), maker.signs(8, 8, 3, 3), unit=True)
    maker.nodes[-1].output[0] = "y"
    model = maker.build({"input": ["N", 8, 6, 7]}, {"y": None})
    for name, shape in claims.items() if lie else ():
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    data, feeds = model.SerializeToString(), {"input": maker.floats(2, 8, 6, 7)}
    session = InferenceSession(data)
    wanted = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    np.testing.assert_array_equal(session.run(None, feeds)[0], wanted)


def _mixed(rng: np.random.Generator) -> onnx.ModelProto:
    """Return layers, and stages and moves between them that read any value that is there already."""
    maker = GraphMaker(int(rng.integers(2**31)))
    values = [maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 1, 1), unit=True)]
    one, bound = (
        maker.conv(maker.binarize("input", 8), maker.signs(1, 8, 1, 1), unit=True),
        maker.constant(np.float32(1)),
    )
    for _ in range(10):
        source, other = (values[int(rng.integers(len(values)))] for _ in range(2))
        choice = int(rng.integers(7))
        if choice == 0:
            value = maker.node("HardSwish", [source])
        elif choice == 1:
            value = maker.node("Add", [source, other])
        elif choice == 2:
            value = maker.node("Sub", [source, maker.per_channel(8)])
        elif choice == 3:
            weight = maker.signs(8, 8, 3, 3)
            value = maker.conv(maker.binarize(source, 8), weight, pads=(1, 1, 1, 1), unit=True)
        elif choice == 4:
            name = f"split{len(maker.nodes)}"
            halves = [f"{name}.a", f"{name}.b"]
            maker.nodes.append(onnx.helper.make_node("Split", [source], halves, name, axis=1, num_outputs=2))
            value = maker.node("Concat", halves[::-1], axis=1)
        elif choice == 5:
            value = maker.node("Mul", [source, maker.node("Clip", [other, "", bound])])
        else:
            value = maker.node("Add", [source, maker.node("Mul", [one, maker.per_channel(8)])])
        values.append(value)
    maker.conv(maker.binarize(values[-1], 8), maker.signs(8, 8, 3, 3), unit=True)
    maker.nodes[-1].output[0] = "y"
    return maker.model({"input": ["N", 8, 6, 7]}, ["y"])


@pytest.mark.parametrize("threads", [1, 2])
def test_graphs_of_stages_and_moves_answer_as_the_file(threads: int) -> None:
    """Values that several read, sums whose both sides could begin a chain, one channel that is spread over eight."""
    rng = np.random.default_rng(threads)
    for _ in range(12):
        model = _mixed(rng)
        data, feeds = model.SerializeToString(), {"input": rng.standard_normal((2, 8, 6, 7)).astype(np.float32)}
        session = InferenceSession(data, num_threads=threads, share="always" if threads > 1 else "auto")
        wanted = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)[0]
        for _ in range(2):
            np.testing.assert_array_equal(session.run(None, feeds)[0], wanted)
