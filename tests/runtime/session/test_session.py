"""Whole graphs: small random networks against stock onnxruntime on the same file, threads, memory, description."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.errors import InputError, LatentbitError
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.session.binary_segment import BoundBinarySegment
from latentbit.runtime.session.float_segment import BoundFloatSegment

from ...support.graphs import STORED, USABLE, GraphMaker, chain


def same(model: onnx.ModelProto, feeds: dict[str, Any], **options: Any) -> InferenceSession:
    """Assert equal bits from our session, twice, and from onnxruntime; return the session."""
    data = model.SerializeToString()
    session = InferenceSession(data, **options)
    expected = ort.InferenceSession(data).run(None, feeds)
    for _ in range(2):  # the second run uses the bound buffers
        for ours, theirs in zip(session.run(None, feeds), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    return session


@pytest.mark.parametrize("kernel", USABLE)
@given(st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([3, 8, 12, 64, 72]), st.sampled_from([-1, 0, 1]))
@settings(max_examples=12, deadline=None)
def test_residual_network(kernel: str, seed: int, batch: int, channels: int, pad_value: int) -> None:
    model = chain(seed, channels=channels, pad_value=pad_value)
    x = np.random.default_rng(seed).standard_normal((batch, channels, 8, 8)).astype(np.float32)
    session = same(model, {"input": x}, kernel=kernel)
    binary = [step for step in session.get_steps() if step.kind == "binary"]
    assert [step.ops for step in binary[:2]] == [
        ("BinaryConv2d", "Add", "Sub", "PRelu", "Add", "Binarize"),
        ("BinaryConv2d", "Add", "Sub", "PRelu", "Add"),
    ]
    assert binary[2].ops == ("BinaryGemm",)


@st.composite
def random_graphs(draw: Any) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """Draw layers with everything that may stand between them, fused or not."""
    maker = GraphMaker(draw(st.integers(0, 2**31)))
    channels, size = draw(st.sampled_from([4, 7, 16, 40])), draw(st.integers(5, 9))
    value, shape, width, outputs = "input", (channels, size, size), channels, []
    for _ in range(draw(st.integers(1, 4))):
        signs = maker.binarize(value, width)
        if draw(st.booleans()):
            signs = maker.node("MaxPool", [signs], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
        if draw(st.booleans()):
            signs, fed = maker.node("Concat", [signs, signs], axis=1), 2 * width
        else:
            fed = width
        group = draw(st.sampled_from([g for g in (1, 2, 4) if fed % g == 0 and width % g == 0]))
        weight = maker.signs(width, fed // group, 3, 3)
        total = maker.conv(signs, weight, pads=(1, 1, 1, 1), group=group, pad_value=draw(st.sampled_from([-1, 0, 1])))
        for stage in draw(st.lists(st.sampled_from(["residual", "rprelu", "relu", "clip", "mul"]), max_size=3)):
            if stage == "residual":
                total = maker.node("Add", [value, total])
            elif stage == "rprelu":
                total = maker.rprelu(total, width)
            elif stage == "relu":
                total = maker.node("Relu", [total])
            elif stage == "clip":
                total = maker.node(
                    "Clip", [total, maker.constant(np.array(-1, np.float32)), maker.constant(np.array(1, np.float32))]
                )
            else:
                total = maker.node("Mul", [total, maker.per_channel(width)])
        if draw(st.booleans()):
            outputs.append(total)
        value = total
    return maker.model({"input": ["N", *shape]}, list(dict.fromkeys([*outputs, value]))), shape


@given(random_graphs(), st.integers(1, 2))
@settings(max_examples=60, deadline=None)
def test_random_graphs(graph: tuple[onnx.ModelProto, tuple[int, ...]], batch: int) -> None:
    model, shape = graph
    session = same(model, {"input": np.random.default_rng(0).standard_normal((batch, *shape)).astype(np.float32)})
    layers = sum(node.op_type == "BinaryConv2d" for node in model.graph.node)
    assert sum(step.kind == "binary" for step in session.get_steps()) == layers, "every layer runs packed"


def test_symbolic_height_and_width() -> None:
    maker = GraphMaker()
    value = maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    value = maker.conv(maker.binarize(value, 8), maker.signs(5, 8, 1, 1))
    model = maker.model({"input": ["N", 8, "H", "W"]}, [value])
    for size in ((5, 9), (8, 8), (1, 3)):
        same(model, {"input": maker.floats(2, 8, *size)})


def test_a_dense_layer_behind_a_flatten_of_signs() -> None:
    model = onnx.load(STORED)
    session = same(model, {"input": GraphMaker().floats(3, 5, 6, 6)})
    assert [step.kind for step in session.get_steps() if step.name in ("conv", "dense")] == ["binary", "binary"]


def test_what_is_not_packed_says_why() -> None:
    maker = GraphMaker()
    sums = maker.conv("input", maker.signs(4, 4, 1, 1))
    signs = maker.binarize(sums, 4)
    session = same(maker.model({"input": [1, 4, 5, 5]}, [signs]), {"input": maker.floats(1, 4, 5, 5)})
    (step,) = session.get_steps()
    assert step.kind == "float"
    assert "not provably ±1" in step.reason
    assert "its signs are used by float operators" in step.reason


def test_trace_is_what_the_layers_read_and_summed() -> None:
    model = chain(channels=8)
    conv = next(node for node in model.graph.node if node.op_type == "BinaryConv2d")
    x = GraphMaker().floats(2, 8, 8, 8)
    layers = InferenceSession(model.SerializeToString()).trace({"input": x})
    assert [layer.op_type for layer in layers] == ["BinaryConv2d", "BinaryConv2d", "BinaryGemm"]
    assert [layer.signs.shape for layer in layers] == [(2, 8, 8, 8), (2, 8, 8, 8), (2, 16)]
    assert [layer.accumulators.shape for layer in layers] == [(2, 8, 8, 8), (2, 16, 4, 4), (2, 10)]
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info(conv.input[0], onnx.TensorProto.FLOAT, None))
    (signs,) = ort.InferenceSession(model.SerializeToString()).run(None, {"input": x})
    np.testing.assert_array_equal(layers[0].signs, signs)


@pytest.mark.parametrize("first", ["run", "trace", "profile"])
def test_the_first_call_runs_every_segment_once(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers are made in the first pass, whatever it does: nothing runs before it, and nothing twice."""
    calls: list[str] = []

    def note(kind: type[Any], name: str) -> None:
        plain = getattr(kind, name)

        def call(self: Any, *arguments: Any) -> Any:
            calls.append(kind.__name__)
            before = len(calls)
            result = plain(self, *arguments)
            del calls[before:]  # float segments are traced by a run
            return result

        monkeypatch.setattr(kind, name, call)

    for kind in (BoundFloatSegment, BoundBinarySegment):
        for name in ("run", "trace", "profile"):
            note(kind, name)
    maker, value = GraphMaker(), "input"
    for _ in range(2):
        value = maker.node("Tanh", [maker.conv(maker.binarize(value, 12), maker.signs(12, 12, 1, 1))])
    session = InferenceSession(maker.model({"input": ["N", 12, 8, 8]}, [value]).SerializeToString())
    x = maker.floats(2, 12, 8, 8)
    if first == "run":
        session.run(None, {"input": x})
    else:
        getattr(session, first)({"input": x})
    assert calls == [*["BoundFloatSegment", "BoundBinarySegment"] * 2, "BoundFloatSegment"]
    assert sum(step.kernel == "onnxruntime" for step in session.get_steps()) == 3


def test_profile_names_every_step_and_counting_only_the_layers() -> None:
    session, x = InferenceSession(chain().SerializeToString()), GraphMaker().floats(2, 12, 8, 8)
    steps = [step for step in session.get_steps() if step.kind == "binary"]
    layers = [step.name for step in steps]
    counted = session.profile({"input": x}, counting_only=True)
    wanted = [step.name for step in steps for _ in range(1 if "BinaryGemm" in step.ops else 2)]
    assert len(layers) < len(wanted) < 2 * len(layers)
    assert sorted(step.name for step in counted) == sorted(wanted), "layers on both images, rows at once"
    assert all(step.kind == "kernel" and step.duration > 0 for step in counted)
    before = session.run(None, {"input": x})[0]
    names = {step.name for step in session.profile({"input": x})}
    assert names > set(layers)
    session.profile({"input": x}, counting_only=True)
    np.testing.assert_array_equal(session.run(None, {"input": x})[0], before)


def test_a_failed_call_spoils_no_later_one() -> None:
    maker = GraphMaker()
    value = maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 3, 3))
    session = InferenceSession(maker.model({"input": ["N", 8, "H", "W"]}, [value]).SerializeToString())
    for _ in range(2):
        with pytest.raises(LatentbitError, match="smaller than its window"):
            session.run(None, {"input": maker.floats(1, 8, 2, 2)})
    assert session.run(None, {"input": maker.floats(1, 8, 4, 4)})[0].shape == (1, 8, 2, 2)


def test_threads_may_share_a_session() -> None:
    session = InferenceSession(chain().SerializeToString())
    inputs = [GraphMaker(seed).floats(1 + seed % 3, 12, 8, 8) for seed in range(24)]
    expected = [session.run(None, {"input": x})[0] for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: session.run(None, {"input": x})[0], inputs * 4))
    for index, result in enumerate(found):
        np.testing.assert_array_equal(result, expected[index % len(inputs)])


def test_results_are_the_callers_own() -> None:
    session = InferenceSession(chain().SerializeToString())
    first = session.run(["logits"], {"input": GraphMaker(1).floats(1, 12, 8, 8)})[0]
    before = first.copy()
    session.run(None, {"input": GraphMaker(2).floats(1, 12, 8, 8)})
    np.testing.assert_array_equal(first, before)


def test_description() -> None:
    model = chain()
    entry = model.metadata_props.add()
    entry.key, entry.value = "latentbit.metrics", '{"training": 0.5}'
    session = InferenceSession(model.SerializeToString())
    (given_,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given_.name, given_.type, given_.shape) == ("input", "tensor(float)", ["N", 12, 8, 8])
    assert (result.name, result.type, result.shape) == ("logits", "tensor(float)", ["N", 10])
    assert session.get_modelmeta().custom_metadata_map == {"latentbit.metrics": '{"training": 0.5}'}
    assert session.get_metrics() == {"test_accuracy": 0.5}, "the name of before is read as that of today"


@pytest.mark.slow
def test_a_thousand_loads_and_runs_leave_memory_where_it_was() -> None:
    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * 4096

    data, x = chain().SerializeToString(), GraphMaker().floats(2, 12, 8, 8)

    def load_and_run() -> None:
        session = InferenceSession(data)
        session.run(None, {"input": x})
        session.run(None, {"input": x[:1]})

    for _ in range(100):
        load_and_run()
    before = resident()
    for _ in range(1000):
        load_and_run()
    assert resident() - before < 16 * 2**20


def test_strings_and_scores_pass_through() -> None:
    model = chain()
    values: list[Any] = [str(index) for index in range(10)]
    labels = onnx.helper.make_tensor("labels", onnx.TensorProto.STRING, [10], values)
    model.graph.initializer.append(labels)
    model.graph.node.append(onnx.helper.make_node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0))
    model.graph.node.append(onnx.helper.make_node("Gather", ["labels", "best"], ["label"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("label", onnx.TensorProto.STRING, ["N"]))
    session = InferenceSession(model.SerializeToString())
    for seed in range(3):
        logits, label = session.run(None, {"input": GraphMaker(seed).floats(2, 12, 8, 8)})
        assert label.tolist() == [str(index) for index in logits.argmax(axis=1)]


def test_a_single_number_and_an_array_of_one_are_told_apart_after_a_run_too() -> None:
    """Shapes that were right before are not looked at again: those of one must not stand for those of the other."""
    maker = GraphMaker()
    value = maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 1, 1), unit=True)
    model = maker.model({"input": ["N", 8, 3, 3], "factor": []}, [maker.node("Mul", [value, "factor"])])
    session, x = InferenceSession(model.SerializeToString()), maker.floats(1, 8, 3, 3)
    for _ in range(2):
        (found,) = session.run(None, {"input": x, "factor": np.array(2, np.float32)})
        assert found.shape == x.shape
        with pytest.raises(InputError, match="has rank 1"):
            session.run(None, {"input": x, "factor": np.array([2], np.float32)})
