"""Plain ONNX: no function, no operator of ours, the same bits in the answers, at the opset asked for."""

from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
import pytest
from onnx import TensorProto, helper, numpy_helper

from latentbit.export.importing.conversion import convert
from latentbit.export.inline import Weights, inline, inline_file
from latentbit.export.opset import functions
from latentbit.runtime import InferenceSession, zoo
from latentbit.runtime.bits import DOMAIN
from latentbit.runtime.errors import ConfigError, ModelError, UnsupportedError

from ..support.import_graphs import Source, run, sign_form

RNG = np.random.default_rng(19)
X = RNG.standard_normal((3, 9, 7, 7)).astype(np.float32)


def signs(*shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < 0.5, 1, -1).astype(np.float32)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """Two convolutions (padding 0 and −1), a weight-only one, a residual and a dense layer; named like modules."""
    g = Source(["N", 9, 7, 7])
    y = g(
        "Conv",
        sign_form(g, "where >=", "x"),
        g.constant(signs(16, 9, 3, 3) * np.float32(0.3)),
        pads=[1] * 4,
        name="a.conv",
    )
    y = g("Mul", y, g.constant(RNG.standard_normal((16, 1, 1))))
    y = g("Add", y, g.constant(RNG.standard_normal((16, 1, 1))))
    border = g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    s = g("Pad", sign_form(g, "where >", y), border, g.constant(-1.0))
    y = g("Add", g("Conv", s, g.constant(signs(16, 8, 3, 3)), group=2, name="b.conv"), y)
    y = g("Conv", g("Relu", y), g.constant(signs(4, 16, 1, 1)), name="c.conv")
    out = g("Gemm", g("Flatten", sign_form(g, "bitorch", y)), g.constant(signs(196, 5)), name="head")
    folder = tmp_path_factory.mktemp("inline")
    report = convert(g.save(folder / "source.onnx", out, 2), folder / "packed.onnx")
    assert [layer.form for layer in report.layers] == ["binary", "binary", "weight-only", "binary"]
    return onnx.load(folder / "packed.onnx")


@pytest.mark.parametrize("weights", ["float", "int8", "packed"])
@pytest.mark.parametrize("opset", [14, 15, 17, 18, 19, 21, 23])
def test_the_plain_model_gives_the_same_bits(packed: onnx.ModelProto, weights: Weights, opset: int) -> None:
    if weights == "packed" and opset < 18:
        with pytest.raises(UnsupportedError, match="BitwiseAnd"):
            inline(packed, opset=opset, weights=weights)
        return
    plain = inline(packed, opset=opset, weights=weights)
    onnx.checker.check_model(plain, full_check=True)
    assert not plain.functions
    assert {(entry.domain, entry.version) for entry in plain.opset_import} == {("", opset)}
    assert {node.domain for node in plain.graph.node} == {""}
    np.testing.assert_array_equal(run(plain, X), run(packed, X))


def test_weights_take_what_the_documentation_says(packed: onnx.ModelProto) -> None:
    count = 16 * 9 * 9 + 16 * 8 * 9 + 4 * 16 + 196 * 5
    sizes = {}
    for weights, dtype in (("float", np.float32), ("int8", np.int8), ("packed", np.uint8)):
        plain = inline(packed, weights=weights)  # type: ignore[arg-type]
        arrays = [numpy_helper.to_array(tensor) for tensor in plain.graph.initializer]
        stored = [
            a
            for a in arrays
            if a.dtype == dtype and a.ndim in (2, 4) and (dtype != np.float32 or np.all(np.abs(a) == 1))
        ]
        sizes[weights] = sum(array.nbytes for array in stored)
    assert sizes["float"] == 4 * count
    assert sizes["int8"] == count
    assert sizes["packed"] < count / 4  # channels are padded to whole bytes: 9 channels take two


def test_the_round_barrier_is_kept_and_zero_padding_costs_nothing(packed: onnx.ModelProto) -> None:
    plain = inline(packed)
    ops = [node.op_type for node in plain.graph.node]
    assert ops.count("Round") == 3  # one a binary layer: scales must not go into the float weights
    assert ops.count("Sub") == 1  # the layer padded with −1 alone
    assert not {"BitShift", "BitwiseAnd", "Constant", "Cast"} & set(ops)


def test_nodes_are_named_after_their_layer(packed: onnx.ModelProto) -> None:
    names = {node.op_type: node.name for node in inline(packed).graph.node if node.name.startswith("a.conv")}
    assert {
        "Conv": "a.conv",
        "Round": "a.conv.round",
        "Mul": "a.conv.mul",
        "Add": "a.conv.add",
    }.items() <= names.items()
    assert {f"a.conv.{role}" for role in ("weight", "scale", "bias")} < {
        t.name for t in inline(packed).graph.initializer
    }
    assert len({node.name for node in inline(packed).graph.node}) == len(inline(packed).graph.node)


def test_metadata_stays_and_the_model_is_left_alone(packed: onnx.ModelProto) -> None:
    before = packed.SerializeToString()
    model = onnx.ModelProto.FromString(before)
    helper.set_model_props(model, {"latentbit.labels": '["a"]'})
    model.doc_string = "of a test"
    for opset in (17, 18, 22):
        plain = inline(model, opset=opset)
        assert {entry.key for entry in plain.metadata_props} >= {"latentbit.labels"}
        assert (plain.doc_string, plain.producer_name) == ("of a test", "latentbit")
    assert packed.SerializeToString() == before


def test_a_plain_file_can_be_packed_again(packed: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(packed, tmp_path / "packed.onnx")
    inline_file(tmp_path / "packed.onnx", tmp_path / "plain.onnx")
    report = convert(tmp_path / "plain.onnx", tmp_path / "again.onnx")
    assert [layer.form for layer in report.layers] == ["binary", "binary", "weight-only", "binary"]
    assert all(layer.exact for layer in report.layers)  # restored, nothing is computed
    np.testing.assert_array_equal(run(tmp_path / "again.onnx", X), run(packed, X))


def test_packed_again_a_dense_layer_in_front_of_a_shift_gives_the_same_bits(tmp_path: Path) -> None:
    source = zoo.path("digits")  # an RPReLU behind its dense layer begins with a Sub
    inline_file(source, tmp_path / "plain.onnx")
    convert(tmp_path / "plain.onnx", tmp_path / "again.onnx")
    x = RNG.standard_normal((3, 1, 8, 8)).astype(np.float32)
    first, again = (InferenceSession(path).run(None, {"input": x})[0] for path in (source, tmp_path / "again.onnx"))
    np.testing.assert_array_equal(again, first)


def test_int8_weights_of_float_layers_stay_int8(tmp_path: Path) -> None:
    g = Source(["N", 9, 7, 7])
    int8 = g.constant(RNG.integers(-127, 128, (16, 9, 3, 3), np.int8), "stored")
    weight = g("Mul", g("Cast", int8, to=TensorProto.FLOAT), g.constant(np.full((16, 1, 1, 1), 0.01)))
    y = g("Conv", g("Conv", "x", weight), g.constant(RNG.standard_normal((2, 16, 1, 1))))
    plain = inline(g.model(y, 4), opset=16)
    assert {t.name: t.data_type for t in plain.graph.initializer}["stored"] == TensorProto.INT8
    np.testing.assert_array_equal(run(plain, X), run(g.model(y, 4), X))


def test_convert_can_write_the_plain_form_at_once(packed: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(packed, tmp_path / "packed.onnx")
    convert(tmp_path / "packed.onnx", tmp_path / "plain.onnx", inline=True, opset=16, weights="int8")
    plain = onnx.load(tmp_path / "plain.onnx")
    assert not plain.functions
    assert plain.opset_import[0].version == 16
    np.testing.assert_array_equal(run(plain, X), run(packed, X))


def test_the_trap_the_version_converter_drops_functions(packed: onnx.ModelProto) -> None:
    """Why inlining comes first: should this test fail, the converter has been mended, and the documentation can be."""
    broken = onnx.version_converter.convert_version(packed, 19)
    assert packed.functions
    assert not broken.functions
    assert any(node.domain == DOMAIN for node in broken.graph.node)
    with pytest.raises(Exception, match=DOMAIN):
        run(broken, X)


def test_attributes_that_an_older_opset_has_not_are_dropped_only_where_they_say_the_default() -> None:
    def model(noop: int) -> onnx.ModelProto:
        g = Source([2, 3])
        y = g("ReduceMean", "x", g.constant(np.array([1])), keepdims=1, noop_with_empty_axes=noop)
        return g.model(y, 2)

    plain = inline(model(0), opset=17)
    assert "noop_with_empty_axes" not in {entry.name for entry in plain.graph.node[0].attribute}
    x = RNG.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(plain, x), run(model(0), x))
    with pytest.raises(UnsupportedError, match="cannot be written at opset 17"):
        inline(model(1), opset=17)


@pytest.mark.parametrize(("opset", "words"), [(13, "older than 14"), (999, "cannot be written at opset 999")])
def test_opsets_out_of_reach(packed: onnx.ModelProto, opset: int, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        inline(packed, opset=opset)


def test_a_form_of_weights_that_does_not_exist(packed: onnx.ModelProto) -> None:
    with pytest.raises(ConfigError, match="weights is 'float', 'int8' or 'packed', not 'x'"):
        inline(packed, weights="x")  # type: ignore[arg-type]


def test_an_operator_without_a_body_is_named() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])
    t = numpy_helper.from_array(np.zeros(8, np.float32), "t")
    graph = helper.make_graph([helper.make_node("Binarize", ["x", "t"], ["y"], domain=DOMAIN)], "g", [x], [y], [t])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    with pytest.raises(ModelError, match=rf"cannot be inlined: {DOMAIN}\.Binarize"):
        inline(helper.make_model(graph, opset_imports=imports, ir_version=8))
    whole = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions())
    assert [node.op_type for node in inline(whole).graph.node] == ["GreaterOrEqual", "Where"]
