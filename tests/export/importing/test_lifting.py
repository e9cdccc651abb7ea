"""Binary layers over sequences and frames: packed, next to each other, and the answers stay as they were."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from latentbit.export.graph.reading import to_graph, to_proto
from latentbit.export.importing.conversion import convert
from latentbit.export.importing.inspection import inspect
from latentbit.export.importing.lifting import lift_layers
from latentbit.runtime import InferenceSession
from latentbit.runtime.bits import DOMAIN

from ...support.import_graphs import SIGN_FORMS, Source, run, sign_form

CHANNELS = 4


def integers(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    """Small ones: sums and products of them are exact in any order."""
    return rng.integers(-2, 3, shape).astype(np.float32)


def signs(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.choice(np.array([-1, 1], np.float32), shape)


def elementwise(g: Source, data: Any, rng: np.random.Generator, y: str, others: list[str], channels: Any) -> str:
    """Write one operator that looks at each place alone; ``channels`` is the shape of one constant a channel."""
    name = data.draw(st.sampled_from(["Add", "Sub", "Mul", "PRelu", "Relu", "Max", "scalar", "Clip", "residual"]))
    if name == "residual":
        return g("Add", *data.draw(st.permutations([y, data.draw(st.sampled_from(others))])))
    if name == "Relu":
        return g("Relu", y)
    if name == "Clip":
        return g("Clip", y, g.constant(np.float32(-5)), g.constant(np.float32(4)))
    if name == "scalar":
        return g("Add", g.constant(integers(rng, *data.draw(st.sampled_from([(), (1,)])))), y)
    constant = g.constant(integers(rng, *data.draw(st.sampled_from(channels))))
    operands = [y, constant] if name == "PRelu" else data.draw(st.permutations([y, constant]))
    return g(name, *operands)


def over_sequences(data: Any, rng: np.random.Generator) -> tuple[Source, str, NDArray[np.float32]]:
    """Return convolutions over one axis and what may stand between them; every number is a small integer."""
    length = data.draw(st.integers(4, 9))
    g = Source(["N", CHANNELS, length])
    y, same = "x", ["x"]  # what has as many places as y
    columns = [(CHANNELS, 1), (1, CHANNELS, 1), (1,)]
    for _ in range(data.draw(st.integers(1, 3))):
        s = sign_form(g, "where >=", y)
        if data.draw(st.booleans()):
            s = g("Pad", s, g.constant(np.array([0, 0, 1, 0, 0, 1])), g.constant(np.float32(1)))
            y = g("Conv", s, g.constant(signs(rng, CHANNELS, CHANNELS, 3)))
        else:
            y = g("Conv", s, g.constant(signs(rng, CHANNELS, CHANNELS, 3)), pads=[1, 1])
        same.append(y)
        for _ in range(data.draw(st.integers(0, 3))):
            y = elementwise(g, data, rng, y, same, columns)
            same.append(y)
        kind = data.draw(st.sampled_from(["none", "pool", "real", "cat", "norm"]))
        if kind == "pool":
            y, same = g("MaxPool", y, kernel_shape=[3], pads=[1, 1], strides=[2]), []
        elif kind == "real":
            weight = integers(rng, CHANNELS, CHANNELS, 1)
            weight[0, 0], weight[:, 1] = 1, 2  # not ±scale
            y, same = g("Conv", y, g.constant(weight), strides=[1]), []
        elif kind == "cat":
            y = g("Concat", y, y, axis=data.draw(st.sampled_from([1, -2])))
            y, same = g("Slice", y, *(g.constant(np.array([n])) for n in (1, 1 + CHANNELS, 1))), []
        same.append(y)
    return g, y, integers(rng, data.draw(st.integers(1, 3)), CHANNELS, length)


def over_frames(data: Any, rng: np.random.Generator) -> tuple[Source, str, NDArray[np.float32]]:
    """Return matrix products over three axes or four."""
    middle = data.draw(st.sampled_from([(1,), (5,), (2, 3)]))
    g = Source(["N", *middle, CHANNELS])
    y, same = "x", ["x"]
    for _ in range(data.draw(st.integers(1, 3))):
        y = g("MatMul", sign_form(g, "where >=", y), g.constant(signs(rng, CHANNELS, CHANNELS)))
        for _ in range(data.draw(st.integers(0, 3))):
            y = elementwise(g, data, rng, y, [*same, y], [(CHANNELS,), (1, CHANNELS), (*middle, 1), (1, *middle, 1)])
        same.append(y)
    return g, y, integers(rng, data.draw(st.integers(1, 3)), *middle, CHANNELS)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), seed=st.integers(0, 999), build=st.sampled_from([over_sequences, over_frames]))
def test_the_answers_stay_bit_for_bit(data: Any, seed: int, build: Any, tmp_path_factory: Any) -> None:
    g, y, x = build(data, np.random.default_rng(seed))
    source = g.model(y, x.ndim)
    model = to_graph(onnx.shape_inference.infer_shapes(source, data_prop=True))
    before = [node.op_type for node in model.graph]
    lift_layers(model)
    lifted = to_proto(model)
    onnx.checker.check_model(lifted, full_check=True)
    assert [node.op_type for node in lifted.graph.node] != before
    assert [output.name for output in lifted.graph.output] == [y]
    expected = run(source, x)
    np.testing.assert_array_equal(run(lifted, x), expected)
    folder = tmp_path_factory.mktemp("lifting")
    onnx.save(source, folder / "source.onnx")
    report = convert(folder / "source.onnx", folder / "packed.onnx")
    assert len(report.layers) == sum(node.op_type in ("Conv", "MatMul") for node in source.graph.node)
    assert all("axes" not in layer.reason and "axis" not in layer.reason for layer in report.layers)
    assert report.layers[0].form == "binary"  # of others the sign may compare each place with a number of its own
    np.testing.assert_array_equal(run(folder / "packed.onnx", x), expected)
    (answer,) = InferenceSession(folder / "packed.onnx").run(None, {"x": x})
    np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("form", SIGN_FORMS)
@pytest.mark.parametrize("frames", [False, True])
def test_a_chain_runs_in_one_segment(form: str, frames: bool, tmp_path: Path) -> None:
    """Norms, residuals and slopes are the kernels' own stages, whatever made the signs."""
    rng = np.random.default_rng(0)
    shape = [5, CHANNELS] if frames else [CHANNELS, 7]
    per_channel = (CHANNELS,) if frames else (CHANNELS, 1)
    g = Source(["N", *shape])
    y = before = "x"
    for index in range(4):
        s = sign_form(g, form, y)
        if frames:
            y = g("MatMul", s, g.constant(signs(rng, CHANNELS, CHANNELS)))
        else:
            weight = g.constant(signs(rng, CHANNELS, CHANNELS, 3))
            y = g("Conv", s, weight, pads=[1, 1])
        y = g("Mul", y, g.constant(rng.uniform(0.5, 1, per_channel).astype(np.float32)))
        y = g("Add", y, g.constant(rng.standard_normal(per_channel).astype(np.float32)))
        y = g("Add", y, before) if index else y
        y = before = g("PRelu", y, g.constant(rng.uniform(0.1, 0.5, per_channel).astype(np.float32)))
    source = g.save(tmp_path / "source.onnx", y, 3)
    report = convert(source, tmp_path / "packed.onnx")
    assert [layer.form for layer in report.layers] == ["binary"] * 4
    assert all("convert" in layer.reason for layer in inspect(tmp_path / "source.onnx").layers)
    session = InferenceSession(tmp_path / "packed.onnx")
    kinds = "".join(step.kind[0] for step in session.get_steps())
    assert kinds.strip("f") == "bbbb"
    x = rng.standard_normal((3, *shape)).astype(np.float32)
    (answer,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(answer, run(tmp_path / "packed.onnx", x))
    np.testing.assert_allclose(answer, run(source, x), rtol=1e-5, atol=1e-5)


def test_a_graph_without_binary_layers_is_left_alone() -> None:
    g = Source(["N", 4, 9])
    y = g("Squeeze", g("Relu", g("Unsqueeze", "x", g.constant(np.array([2])))), g.constant(np.array([2])))
    y = g("Conv", g("Relu", y), g.constant(np.arange(48, dtype=np.float32).reshape(4, 4, 3)))
    y = g(
        "MatMul", g("Reshape", y, g.constant(np.array([0, 4, 7]))), g.constant(np.arange(14, dtype="f").reshape(7, 2))
    )
    source = onnx.shape_inference.infer_shapes(g.model(y, 3), data_prop=True)
    model = to_graph(source)
    lift_layers(model)
    assert [node.op_type for node in model.graph] == [node.op_type for node in source.graph.node]


def test_a_value_that_others_read_too_keeps_its_form(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    g = Source(["N", 4, 9])
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(signs(rng, 4, 4, 1)))
    seen = g("ReduceSum", y, g.constant(np.array([2])), keepdims=0)
    again = g("Conv", sign_form(g, "where >=", y), g.constant(signs(rng, 4, 4, 1)))
    out = g("Add", again, g("Unsqueeze", seen, g.constant(np.array([-1]))))
    source = g.save(tmp_path / "source.onnx", out, 3)
    report = convert(source, tmp_path / "packed.onnx")
    assert [layer.form for layer in report.layers] == ["binary", "binary"]
    x = integers(rng, 2, 4, 9)
    np.testing.assert_array_equal(run(tmp_path / "packed.onnx", x), run(source, x))


def test_constants_keep_their_names_where_only_their_shape_changes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    g = Source(["N", 4, 9])
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(signs(rng, 4, 4, 1)))
    slope = g.constant(rng.uniform(0.1, 0.5, (4, 1)).astype(np.float32))
    y = g("PRelu", y, slope)
    g.save(
        tmp_path / "source.onnx",
        g("Squeeze", g("Unsqueeze", y, g.constant(np.array([2]))), g.constant(np.array([2]))),
        3,
    )
    convert(tmp_path / "source.onnx", tmp_path / "packed.onnx")
    arrays = {
        entry.name: numpy_helper.to_array(entry) for entry in onnx.load(tmp_path / "packed.onnx").graph.initializer
    }
    assert arrays[slope].shape == (4, 1, 1)
    assert any(node.domain == DOMAIN for node in onnx.load(tmp_path / "packed.onnx").graph.node)


def test_what_stands_before_the_first_sign_is_the_layers(tmp_path: Path) -> None:
    """A float stem ends at its convolution: norm, activation and pool go into threshold and packing of the layer."""
    rng = np.random.default_rng(4)
    g = Source(["N", CHANNELS, 12])
    y = g("Conv", "x", g.constant(rng.standard_normal((CHANNELS, CHANNELS, 3)).astype(np.float32)))
    y = g("PRelu", y, g.constant(rng.uniform(0.1, 0.5, (CHANNELS, 1)).astype(np.float32)))
    y = g("Add", y, g.constant(rng.standard_normal((CHANNELS, 1)).astype(np.float32)))
    y = g("MaxPool", y, kernel_shape=[2], strides=[2])
    y = g("Conv", sign_form(g, "where >=", y), g.constant(signs(rng, CHANNELS, CHANNELS, 3)))
    convert(g.save(tmp_path / "source.onnx", y, 3), tmp_path / "packed.onnx")
    session = InferenceSession(tmp_path / "packed.onnx")
    left = [op for step in session.get_steps() if step.kernel == "onnxruntime" for op in step.ops]
    assert left == ["Conv", "Unsqueeze", "Squeeze"]
    x = rng.standard_normal((3, CHANNELS, 12)).astype(np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], run(tmp_path / "packed.onnx", x))
