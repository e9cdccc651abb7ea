"""What files of all years and tools leave out or write otherwise: read as onnxruntime and qonnx read them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from latentbit.export.importing.conversion import convert
from latentbit.runtime import InferenceSession
from latentbit.runtime.bits import DOMAIN
from latentbit.runtime.errors import ModelError

from ...support.import_graphs import Source, run

GENERAL = "qonnx.custom_op.general"
RNG = np.random.default_rng(83)
WEIGHT = np.where(RNG.random((8, 4, 3, 3)) < 0.5, -1, 1).astype(np.float32)
X = RNG.standard_normal((1, 4, 6, 6)).astype(np.float32)


def bipolar(domain: str = GENERAL, **domains: int) -> onnx.ModelProto:
    """Return BipolarQuant, then a convolution, in a file that imports ``domains``."""
    g = Source([1, 4, 6, 6])
    signs = g("BipolarQuant", "x", g.constant(1.0), domain=domain, name="quantiser")
    y = g("Conv", signs, g.constant(WEIGHT, "W"), name="conv")
    return g.model(y, 4, **domains)


def plain() -> onnx.ModelProto:
    """Return the same in standard ONNX, for onnxruntime."""
    g = Source([1, 4, 6, 6])
    signs = g("Where", g("GreaterOrEqual", "x", g.constant(0.0)), g.constant(1.0), g.constant(-1.0))
    return g.model(g("Conv", signs, g.constant(WEIGHT, "W")), 4)


def packed(model: onnx.ModelProto, tmp_path: Path) -> Path:
    """Convert a model whose layers are all binary."""
    onnx.save(model, tmp_path / "source.onnx")
    report = convert(tmp_path / "source.onnx", tmp_path / "target.onnx")
    assert [layer.form for layer in report.layers] == ["binary"]
    return tmp_path / "target.onnx"


def refused(model: onnx.ModelProto, tmp_path: Path) -> str:
    (tmp_path / "source.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError) as caught:
        convert(tmp_path / "source.onnx", tmp_path / "target.onnx")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("domain", [GENERAL, "onnx.brevitas", "finn.custom_op.general", "qonnx", "finn", ""])
def test_a_known_domain_need_not_be_imported(domain: str, tmp_path: Path) -> None:
    """QKeras and qonnx's cleanup leave the import out; the oldest files have the operators in the default domain."""
    target = packed(bipolar(domain), tmp_path)
    np.testing.assert_array_equal(run(target, X), run(plain(), X))
    assert {entry.domain for entry in onnx.load(target).opset_import} == {"", DOMAIN}


def test_an_operator_of_another_domain_is_named_imported_or_not(tmp_path: Path) -> None:
    assert "no importer knows: acme.BipolarQuant (quantiser)" in refused(bipolar("acme"), tmp_path)
    assert "no importer knows: acme.BipolarQuant (quantiser)" in refused(bipolar("acme", acme=1), tmp_path)


@pytest.mark.parametrize("opset", range(7, 18))
def test_quantisers_in_old_opsets(opset: int, tmp_path: Path) -> None:
    model = bipolar()
    model.opset_import[0].version, model.ir_version = opset, 6
    np.testing.assert_array_equal(run(packed(model, tmp_path), X), run(plain(), X))


@pytest.mark.parametrize("opset", [7, 9, 11, 17, 18])
def test_initializers_that_are_inputs_as_ir_3_wants_them(opset: int, tmp_path: Path) -> None:
    model = bipolar()
    model.opset_import[0].version, model.ir_version = opset, 3
    for constant in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(constant.name, constant.data_type, constant.dims))
    target = packed(model, tmp_path)
    np.testing.assert_array_equal(run(target, X), run(plain(), X))
    assert [entry.name for entry in InferenceSession(target).get_inputs()] == ["x"]


@pytest.mark.parametrize("quantised", [True, False])
def test_an_output_without_a_shape(quantised: bool, tmp_path: Path) -> None:
    model = bipolar() if quantised else plain()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    target = packed(model, tmp_path)
    np.testing.assert_array_equal(run(target, X), run(plain(), X))
    assert [dim.dim_value for dim in onnx.load(target).graph.output[0].type.tensor_type.shape.dim] == [1, 8, 4, 4]


def unsorted(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


def sparse(model: onnx.ModelProto) -> None:
    values = onnx.numpy_helper.from_array(np.ones(1, np.float32), "holes")
    indices = onnx.numpy_helper.from_array(np.zeros(1, np.int64), "holes.at")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def twice(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(next(entry for entry in model.graph.initializer if entry.name == "W"))


def attribute(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute.append(helper.make_attribute("colour", "red"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (unsorted, "node conv reads quantiser.out before node quantiser makes it"),
        (sparse, "constant holes is a sparse initializer"),
        (twice, "constant W"),
        (attribute, "colour for operator Conv; Bad node spec for node. Name: conv"),
    ],
    ids=["unsorted", "sparse", "twice", "attribute"],
)
def test_faults_are_named(change: Callable[[onnx.ModelProto], None], words: str, tmp_path: Path) -> None:
    model = bipolar()
    change(model)
    text = refused(model, tmp_path)
    assert words in text
    assert len(text) < 500


def test_notes_of_the_exporter_do_not_survive(tmp_path: Path) -> None:
    """torch writes signatures and traces at the model, the graph, its nodes and values; the file's own notes stay."""
    model = bipolar()
    noted: tuple[Any, ...] = (model.graph, *model.graph.node, *model.graph.input, *model.graph.initializer, model)
    for place in noted:
        place.metadata_props.append(onnx.StringStringEntryProto(key="pkg.torch.export.signature", value="long" * 1000))
    model.metadata_props.append(onnx.StringStringEntryProto(key="author", value="me"))
    target = packed(model, tmp_path)
    assert b"longlong" not in target.read_bytes()
    assert {entry.key for entry in onnx.load(target).metadata_props} >= {"author"}


def channels_last(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def test_layers_with_the_channels_last(tmp_path: Path) -> None:
    """Convolution, batch norm and pool of ``qonnx.custom_op.channels_last``: as the standard's between Transposes."""
    last = "qonnx.custom_op.channels_last"
    norm = [RNG.uniform(0.5, 2, 8).astype(np.float32) for _ in range(4)]
    g = Source([1, 6, 6, 4])
    signs = g("BipolarQuant", "x", g.constant(1.0), domain=GENERAL)
    weight = g.constant(np.ascontiguousarray(WEIGHT.transpose(0, 2, 3, 1)))
    y = g("Conv", signs, weight, domain=last, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    y = g("BatchNormalization", y, *(g.constant(array) for array in norm), domain=last)
    y = g("MaxPool", y, domain=last, kernel_shape=[2, 2], strides=[2, 2])
    y = g("MaxPoolNHWC", y, domain=GENERAL, kernel_shape=[2, 2], strides=[1, 1])
    target = packed(g.model(y, 4), tmp_path)

    g = Source([1, 4, 6, 6])
    y = g("Conv", g("Sign", "x"), g.constant(WEIGHT), pads=[1, 1, 1, 1])
    y = g("BatchNormalization", y, *(g.constant(array) for array in norm))
    y = g("MaxPool", g("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), kernel_shape=[2, 2])
    expected = channels_last(run(g.model(y, 4), X, optimise=False))
    np.testing.assert_allclose(run(target, channels_last(X)), expected, atol=4e-6, rtol=0)


def test_a_weight_that_is_not_channels_last_is_named(tmp_path: Path) -> None:
    g = Source([1, 6, 6, 4])
    y = g("Conv", "x", g.constant(WEIGHT), domain="qonnx.custom_op.channels_last", kernel_shape=[3, 3], name="conv")
    assert "node conv: its weight 8x4x3x3 is not [O, 3, 3, C]" in refused(g.model(y, 4), tmp_path)


def reached(x: NDArray[np.float32], table: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    moved = np.moveaxis(x, axis, -1)[..., None]
    counts: NDArray[np.float32] = np.moveaxis((moved >= table).sum(axis=-1), -1, axis).astype(np.float32)
    return counts


@pytest.mark.parametrize(("shape", "layout", "axis"), [((1, 4, 6, 6), "", 1), ((1, 6, 6, 4), "NHWC", 3)])
@pytest.mark.parametrize(("channels", "steps"), [(4, 1), (1, 1), (4, 3), (4, 20), (1, 20)])
def test_thresholds(shape: tuple[int, ...], layout: str, axis: int, channels: int, steps: int, tmp_path: Path) -> None:
    """``MultiThreshold`` counts how many thresholds of its channel a value reaches."""
    table = np.sort(RNG.standard_normal((channels, steps)), axis=1).astype(np.float32)
    x = RNG.standard_normal(shape).astype(np.float32)
    x[0, 0] = table[0, 0]  # a value that is a threshold reaches it
    g = Source(list(shape))
    relu = g("Add", "x", g.constant(0.0))  # a value whose shape the file does not give
    y = g("MultiThreshold", relu, g.constant(table), domain=GENERAL, out_scale=0.5, out_bias=-1.0, data_layout=layout)
    convert(g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx")
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", x), reached(x, table, axis) * 0.5 - 1)


@pytest.mark.parametrize("form", ["computed", "input", "folded"])
def test_thresholds_that_are_no_constants(form: str, tmp_path: Path) -> None:
    """What the caller gives is compared as it comes; what is computed of constants is constant."""
    table = np.sort(RNG.standard_normal((4, 7)), axis=1).astype(np.float32)
    g = Source([2, 4, 6, 6])
    given = g.constant(table / 2)
    if form == "input":
        given = "thresholds"
    elif form == "computed":
        given = g("Mul", "thresholds", g.constant(1.0))
    elif form == "folded":
        given = g("Add", given, given)
    y = g("MultiThreshold", "x", given, domain=GENERAL)
    model = g.model(y, 4)
    if form != "folded":
        model.graph.input.append(helper.make_tensor_value_info("thresholds", TensorProto.FLOAT, [4, 7]))
    (tmp_path / "s.onnx").write_bytes(model.SerializeToString())
    convert(tmp_path / "s.onnx", tmp_path / "t.onnx")
    x = RNG.standard_normal((2, 4, 6, 6)).astype(np.float32)
    feeds = {"x": x} if form == "folded" else {"x": x, "thresholds": table}
    (found,) = InferenceSession(tmp_path / "t.onnx").run(None, feeds)
    np.testing.assert_array_equal(found, reached(x, table, 1))


def test_one_threshold_a_channel_is_a_sign(tmp_path: Path) -> None:
    table = RNG.standard_normal((4, 1)).astype(np.float32)
    g = Source([1, 4, 6, 6])
    signs = g("MultiThreshold", "x", g.constant(table), domain=GENERAL, out_scale=2.0, out_bias=-1.0)
    target = packed(g.model(g("Conv", signs, g.constant(WEIGHT)), 4), tmp_path)
    np.testing.assert_array_equal(run(target, X), run(plain(), X - table[:, :, None]))


def test_popcount_and_average(tmp_path: Path) -> None:
    """``XnorPopcountMatMul`` counts equal bits; ``QuantAvgPool2d`` shifts a sum of integers right."""
    weight = (RNG.random((16, 3)) < 0.5).astype(np.float32)
    g = Source(["N", 16])
    y = g("XnorPopcountMatMul", "x", g.constant(weight), domain="finn.custom_op.general")
    convert(g.save(tmp_path / "s.onnx", y, 2), tmp_path / "t.onnx")
    bits = (RNG.random((5, 16)) < 0.5).astype(np.float32)
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", bits), (bits[:, :, None] == weight).sum(axis=1))

    g = Source([1, 2, 4, 4])
    y = g("QuantAvgPool2d", "x", domain=GENERAL, kernel=2, stride=2, ibits=4, obits=4, signed=0)
    convert(g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx")
    x = RNG.integers(0, 16, (1, 2, 4, 4))
    expected = x.reshape(1, 2, 2, 2, 2, 2).sum(axis=(3, 5)) >> 2
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", x.astype(np.float32)), expected)


@pytest.mark.parametrize("elem", [TensorProto.DOUBLE, TensorProto.INT64])
def test_the_scale_of_a_bipolar_quantiser_in_another_type(elem: int, tmp_path: Path) -> None:
    g = Source([1, 4, 6, 6])
    g.constants.append(helper.make_tensor("s", elem, [], [2]))
    y = g("Conv", g("BipolarQuant", "x", "s", domain=GENERAL), g.constant(WEIGHT))
    np.testing.assert_array_equal(run(packed(g.model(y, 4), tmp_path), X), 2 * run(plain(), X))


def test_a_network_of_thousands_of_nodes(tmp_path: Path) -> None:
    """What is constant is found without recursion, however deep the graph."""
    g = Source([1, 4, 6, 6])
    y = "x"
    for _ in range(2000):
        y = g("Softmax", y, axis=1)
    y = g("Conv", y, g.constant(WEIGHT))
    (layer,) = convert(g.save(tmp_path / "s.onnx", y, 4), tmp_path / "t.onnx").layers
    assert layer.form == "weight-only"
