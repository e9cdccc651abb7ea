"""Writing a file: names, checks, metadata, and refusals."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest
from onnx import helper

from latentbit.export import convert, export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import ConfigError, ModelError, StorageError, UnsupportedError
from latentbit.runtime.session.self_test import KEY

from ..support import fuzz_bases
from ..support.graph import Graph


def doubling() -> ir.Model:
    graph = Graph()
    value = graph.node("Mul", ["input", graph.constant(2.0)], name="double")
    model = graph.build({"input": ["N", 3]}, {value: ["N", 3]})
    helper.set_model_props(model, {"of": "test"})
    return ir.from_proto(model)


def test_metadata_is_json(tmp_path: Path) -> None:
    path = export_onnx(
        doubling(), None, tmp_path / "m.onnx", metadata={"labels": ["ä", "b"], "metrics": {"folded": 0.5}}
    )
    properties = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert properties["of"] == "test"
    assert json.loads(properties["latentbit.labels"]) == ["ä", "b"]
    assert json.loads(properties["latentbit.metrics"]) == {"folded": 0.5}
    assert json.loads(properties["latentbit.format_version"]) == 1


def test_a_file_with_packed_layers_carries_a_self_test_and_keeps_no_old_one(tmp_path: Path) -> None:
    model = fuzz_bases.plain()
    helper.set_model_props(model, {KEY: "of another file"})
    path = export_onnx(ir.from_proto(model), None, tmp_path / "packed.onnx")
    found = InferenceSession(path).self_test()
    assert found is not None
    assert (found.layers, found.outputs) == (4, 1)
    plain = export_onnx(ir.from_proto(model), None, tmp_path / "plain.onnx", plain=True)
    assert KEY not in {p.key for p in onnx.load(plain).metadata_props}
    again = tmp_path / "again.onnx"
    convert(plain, again)
    assert InferenceSession(again).self_test() == found


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


@pytest.mark.parametrize(
    "options",
    [
        {"pixels": "nonsense"},
        {"exact_stem": True},
        {"int8_weights": True},
        {"dynamic_spatial": True},
        {"output_name": "y"},
        {"top_k": 3},
        {"labels": []},
        {"labels": ["a"], "top_k": 1},
    ],
)
def test_a_finished_model_takes_no_options(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=f"written as it is: leave out .*{next(iter(options))}"):
        export_onnx(doubling(), None, tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_an_option_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        export_onnx(doubling(), None, tmp_path / "m.onnx", no_such_option=1)  # type: ignore[call-arg]


def test_options_that_ask_for_nothing_are_taken(tmp_path: Path) -> None:
    export_onnx(doubling(), None, tmp_path / "m.onnx", pixels=None, exact_stem=False, top_k=0, labels=None)


def test_metadata_that_is_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metadata 'where' cannot be written as JSON: .*Path"):
        export_onnx(doubling(), None, tmp_path / "m.onnx", metadata={"where": tmp_path})


def test_what_the_check_of_onnx_refuses_is_not_written(tmp_path: Path) -> None:
    model = doubling()
    model.graph[0].op_type = "Multiply"
    with pytest.raises(ModelError, match=r"m\.onnx would be no valid ONNX file and is not written: No Op registered"):
        export_onnx(model, None, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_torch_networks_are_read_by_whoever_imports_export_alone(tmp_path: Path) -> None:
    program = (
        "import sys, torch; from latentbit.export import export_onnx\n"
        "assert 'latentbit.training' not in sys.modules\n"
        "export_onnx(torch.nn.Sequential(torch.nn.ReLU()), torch.zeros(1, 3), sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "m.onnx")], check=True)
    assert [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node] == ["Relu"]
