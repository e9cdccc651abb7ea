"""Files of all kinds: broken ones are one line, old ones are read, nothing of a dialect stays behind."""

import contextlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from latentbit.export.importing.conversion import convert
from latentbit.export.importing.inspection import inspect
from latentbit.export.inline import inline_file
from latentbit.runtime.bits import DOMAIN
from latentbit.runtime.errors import ConfigError, LatentbitError, ModelError, StorageError

from ...support.import_graphs import Source, run, sign_form

QONNX = "qonnx.custom_op.general"
RNG = np.random.default_rng(3)


def signs(*shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < 0.5, 1, -1).astype(np.float32)


def network() -> tuple[Source, str]:
    g = Source(["N", 8, 5, 5])
    y = g("Conv", sign_form(g, "where >=", "x"), g.constant(signs(6, 8, 3, 3), "w"), name="conv")
    return g, y


def message(source: Path, tmp_path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        convert(source, tmp_path / "target.onnx")
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert not (tmp_path / "target.onnx").exists()
    return text


def test_missing_and_folder(tmp_path: Path) -> None:
    assert "give the path of an .onnx file" in message(tmp_path / "nothing.onnx", tmp_path)
    assert "cannot read" in message(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"a text about something else entirely\n", "is not an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is not an ONNX model"),
        (b"PK\x03\x04" + bytes(100), "is not an ONNX model"),
    ],
)
def test_other_files_are_no_models(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "file.onnx").write_bytes(content)
    assert words in message(tmp_path / "file.onnx", tmp_path)


def test_a_file_cut_short_at_any_place_is_one_line(tmp_path: Path) -> None:
    g, y = network()
    whole = g.save(tmp_path / "whole.onnx", y, 4).read_bytes()
    for length in range(1, len(whole), len(whole) // 25):
        (tmp_path / "cut.onnx").write_bytes(whole[:length])
        message(tmp_path / "cut.onnx", tmp_path)


def test_external_data(tmp_path: Path) -> None:
    g, y = network()
    path = tmp_path / "model.onnx"
    onnx.save(g.model(y, 4), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    report = convert(path, tmp_path / "packed.onnx")
    assert report.layers[0].form == "binary"
    assert report.bytes_before == path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    (tmp_path / "weights.bin").write_bytes(b"abc")
    assert "weights.bin" in message(path, tmp_path)
    (tmp_path / "weights.bin").unlink()
    assert "weights.bin, which is missing; put it beside the file" in message(path, tmp_path)


def test_invalid_graphs_are_named(tmp_path: Path) -> None:
    g, y = network()
    model = g.model(y, 4)
    del model.graph.initializer[:]
    onnx.save(model, tmp_path / "dangling.onnx")
    assert "is not a valid ONNX model: node greaterorequal0 reads c0" in message(tmp_path / "dangling.onnx", tmp_path)
    g, y = network()
    y = g("Add", y, g.constant(np.zeros((7, 1, 1))))
    g.save(tmp_path / "sizes.onnx", y, 4)
    assert "contradict each other" in message(tmp_path / "sizes.onnx", tmp_path)


def test_operators_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    g, y = network()
    y = g("Im2Col", y, name="left", domain=QONNX)
    source = g.save(tmp_path / "source.onnx", y, 4, **{QONNX: 1})
    assert f"no importer knows: {QONNX}.Im2Col (left)" in message(source, tmp_path)
    g, y = network()
    source = g.save(tmp_path / "source.onnx", g("Mine", y, name="n", domain="my.domain"), 4, **{"my.domain": 1})
    assert "my.domain.Mine (n)" in message(source, tmp_path)


def test_a_quantiser_inside_a_branch_is_read_too(tmp_path: Path) -> None:
    g = Source(["N", 3])
    scale = g.constant(0.5)
    flag = g("Greater", g("ReduceMax", "x", keepdims=0), g.constant(0.0))
    bodies = []
    for name in ("then", "else"):
        node = helper.make_node("BipolarQuant", ["x", scale], [f"{name}.y"], f"{name}.q", domain=QONNX)
        info = helper.make_tensor_value_info(f"{name}.y", TensorProto.FLOAT, ["N", 3])
        bodies.append(helper.make_graph([node], name, [], [info]))
    y = g("If", flag, then_branch=bodies[0], else_branch=bodies[1])
    convert(g.save(tmp_path / "s.onnx", y, 2, **{QONNX: 1}), tmp_path / "t.onnx")
    x = np.array([[1, -2, 0]], np.float32)
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", x), [[0.5, -0.5, 0.5]])


@pytest.mark.parametrize("opset", [9, 11, 13, 16, 17])
def test_older_opsets_are_brought_up(opset: int, tmp_path: Path) -> None:
    g = Source([2, 8, 5, 5])
    y = g("Where", g("Not", g("Less", "x", g.constant(0.0))), g.constant(1.0), g.constant(-1.0))
    y = g("Relu", g("Conv", y, g.constant(signs(6, 8, 3, 3))))
    model = g.model(y, 4, opset=opset)
    model.producer_name, model.doc_string = "someone", "kept"
    helper.set_model_props(model, {"mine": "kept too"})
    onnx.save(model, tmp_path / "source.onnx")
    assert convert(tmp_path / "source.onnx", tmp_path / "target.onnx").layers[0].form == "binary"
    made = onnx.load(tmp_path / "target.onnx")
    assert {entry.domain: entry.version for entry in made.opset_import} == {"": 18, DOMAIN: 1}
    assert made.doc_string == "kept"
    properties = {entry.key: entry.value for entry in made.metadata_props}
    assert properties["mine"] == "kept too"
    assert json.loads(properties["latentbit.format_version"]) == 1
    x = RNG.standard_normal((2, 8, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(tmp_path / "target.onnx", x), run(model, x))


@pytest.mark.parametrize("opset", [18, 19, 20, 21, 22, 23])
def test_newer_opsets_are_kept(opset: int, tmp_path: Path) -> None:
    """The operators' bodies mean the same in every later opset; the checker wants one version in a file."""
    g, y = network()
    source = g.save(tmp_path / "source.onnx", y, 4, opset=opset)
    convert(source, tmp_path / "target.onnx")
    made = onnx.load(tmp_path / "target.onnx")
    assert {entry.domain: entry.version for entry in made.opset_import} == {"": opset, DOMAIN: 1}
    assert {entry.version for function in made.functions for entry in function.opset_import} == {opset}
    x = RNG.standard_normal((2, 8, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(tmp_path / "target.onnx", x), run(source, x))


def test_weights_listed_as_inputs_become_constants(tmp_path: Path) -> None:
    g, y = network()
    model = g.model(y, 4)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [6, 8, 3, 3]))
    onnx.save(model, tmp_path / "source.onnx")
    assert convert(tmp_path / "source.onnx", tmp_path / "target.onnx").layers[0].form == "binary"
    assert [entry.name for entry in onnx.load(tmp_path / "target.onnx").graph.input] == ["x"]


def test_a_weight_that_is_an_input_alone_stays_one(tmp_path: Path) -> None:
    g, y = network()
    del g.constants[-1]
    model = g.model(y, 4)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [6, 8, 3, 3]))
    onnx.save(model, tmp_path / "source.onnx")
    (layer,) = convert(tmp_path / "source.onnx", tmp_path / "target.onnx").layers
    assert layer.reason == "its weight w is an input of the graph: a caller may change it"


def test_functions_of_others_are_inlined_and_ours_are_kept(tmp_path: Path) -> None:
    g, y = network()
    y = g("Twice", y, name="twice", domain="my.functions")
    model = g.model(y, 4, **{"my.functions": 1})
    body = helper.make_node("Add", ["a", "a"], ["b"])
    function = helper.make_function("my.functions", "Twice", ["a"], ["b"], [body], [helper.make_opsetid("", 18)])
    model.functions.append(function)
    onnx.save(model, tmp_path / "source.onnx")
    convert(tmp_path / "source.onnx", tmp_path / "once.onnx")
    again = convert(tmp_path / "once.onnx", tmp_path / "again.onnx")
    assert again.layers[0].notes == ("packed in the source",)
    once, twice = onnx.load(tmp_path / "once.onnx"), onnx.load(tmp_path / "again.onnx")
    assert sorted(f.name for f in twice.functions) == ["Binarize", "BinaryConv2d"]
    assert list(once.graph.node) == list(twice.graph.node)


@pytest.mark.parametrize(
    ("op_type", "version", "words"),
    [("Binarize", 2, "version 2, this latentbit knows version 1"), ("Binarise", 1, r"is no ai\.latentbit\.Binarise")],
)
def test_other_versions_of_our_operators_are_refused(op_type: str, version: int, words: str, tmp_path: Path) -> None:
    g = Source(["N", 4, 6, 6])
    y = g(op_type, "x", g.constant(np.zeros((4, 1, 1))), domain=DOMAIN)
    with pytest.raises(ModelError, match=words):
        convert(g.save(tmp_path / "s.onnx", y, 4, **{DOMAIN: version}), tmp_path / "t.onnx")


def test_operators_of_onnxruntime_are_left_in_place(tmp_path: Path) -> None:
    g = Source(["N", 8, 5, 5])
    y = sign_form(g, "where >=", g("Gelu", "x", domain="com.microsoft"))
    y = g("Conv", y, g.constant(signs(6, 8, 3, 3)))
    source = g.save(tmp_path / "s.onnx", y, 4, **{"com.microsoft": 1})
    assert convert(source, tmp_path / "t.onnx").layers[0].form == "binary"
    x = RNG.standard_normal((2, 8, 5, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", x), run(source, x))


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    g, y = network()
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="taken"):
        convert(g.save(tmp_path / "s.onnx", y, 4), tmp_path / "taken" / "t.onnx")


def test_words_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    g, y = network()
    source = g.save(tmp_path / "a.onnx", y, 4)
    with pytest.raises(ConfigError, match="sign_zero is 'keep', 'plus' or 'minus', not 'x'"):
        convert(source, tmp_path / "b.onnx", sign_zero="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="weights is 'float', 'int8' or 'packed', not 'x'"):
        convert(source, tmp_path / "b.onnx", inline=True, weights="x")  # type: ignore[arg-type]
    assert not (tmp_path / "b.onnx").exists()


@pytest.mark.filterwarnings("ignore")
def test_random_damage_is_one_line_or_a_file(tmp_path: Path) -> None:
    """As the runtime's own test of damaged files, for those who read a file to write another."""
    whole, path = (Path(__file__).parents[2] / "data" / "operators.onnx").read_bytes(), tmp_path / "damaged.onnx"
    rng = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(LatentbitError):
            convert(path, tmp_path / "target.onnx")
        with contextlib.suppress(LatentbitError):
            inspect(path)
        with contextlib.suppress(LatentbitError):
            inline_file(path, tmp_path / "target.onnx", opset=17)
