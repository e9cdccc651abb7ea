"""Writing a file: names, checks, metadata, and refusals."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from latentbit.export import export_onnx
from latentbit.export.builder import GraphBuilder
from latentbit.runtime.errors import StorageError, UnsupportedError


def doubling() -> ir.Model:
    builder = GraphBuilder("doubling")
    x = builder.input("input", ["N", 3])
    two = builder.constant("two", np.array(2, np.float32))
    y = builder.node("Mul", [x, two], "double", ["N", 3])
    z = builder.node("Mul", [y, builder.constant("two", np.array(2, np.float32))], "double", ["N", 3])
    builder.output(z, "logits")
    builder.output(x, "same")
    return builder.model({"of": "test"})


def test_names_are_unique_and_constants_shared(tmp_path: Path) -> None:
    model = onnx.load(export_onnx(doubling(), None, tmp_path / "m.onnx"))
    assert [node.name for node in model.graph.node] == ["double", "double_2", "same"]
    assert [tensor.name for tensor in model.graph.initializer] == ["two"]
    assert [output.name for output in model.graph.output] == ["logits", "same"]


def test_constants_of_one_name_and_other_values_are_kept_apart() -> None:
    builder = GraphBuilder("g")
    first = builder.constant("c", np.zeros(2, np.float32))
    assert builder.constant("c", np.zeros(2, np.float32)) is first
    assert builder.constant("c", np.ones(2, np.float32)).name == "c_2"
    assert builder.constant("c", np.zeros(2, np.int64)).name == "c_3"


def test_metadata_is_json(tmp_path: Path) -> None:
    path = export_onnx(
        doubling(), None, tmp_path / "m.onnx", metadata={"labels": ["ä", "b"], "metrics": {"folded": 0.5}}
    )
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert properties["of"] == "test"
    assert json.loads(properties["latentbit.labels"]) == ["ä", "b"]
    assert json.loads(properties["latentbit.metrics"]) == {"folded": 0.5}
    assert json.loads(properties["latentbit.format_version"]) == 1


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    first = export_onnx(doubling(), None, tmp_path / "a.onnx").read_bytes()
    assert first == export_onnx(doubling(), None, tmp_path / "b.onnx").read_bytes()


def test_other_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"cannot export a builtins\.dict"):
        export_onnx({}, None, tmp_path / "m.onnx")


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="taken"):
        export_onnx(doubling(), None, tmp_path / "taken" / "m.onnx")
