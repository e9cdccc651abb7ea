"""The table of layers: forms, reasons, multiply-adds and bytes, counted by hand for a small network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from latentbit.export.importing.conversion import convert
from latentbit.export.importing.inspection import inspect
from latentbit.runtime.errors import InputError, ModelError

from ...support.import_graphs import Source, sign_form

RNG = np.random.default_rng(23)


def signs(*shape: int) -> np.ndarray:
    return np.where(RNG.random(shape) < 0.5, 1, -1).astype(np.float32)


def network(path: Path, size: tuple[int | str, int | str] = (8, 10)) -> Path:
    g = Source(["N", 3, *size])
    stem = g(
        "Conv", "x", g.constant(RNG.standard_normal((16, 3, 3, 3))), g.constant(np.zeros(16)), pads=[1] * 4, name="stem"
    )
    y = g(
        "Conv",
        sign_form(g, "where >=", stem),
        g.constant(signs(16, 8, 3, 3)),
        group=2,
        pads=[1] * 4,
        strides=[2, 2],
        name="a",
    )
    y = g("Conv", g("Relu", y), g.constant(signs(8, 16, 1, 1)), name="b")
    y = g("GlobalMaxPool", sign_form(g, "where >", y))
    y = g("Gemm", g("Flatten", y), g.constant(signs(8, 12)), name="c")
    return g.save(path, y, 2)


def test_layers_and_totals_of_a_packed_file(tmp_path: Path) -> None:
    convert(network(tmp_path / "source.onnx"), tmp_path / "packed.onnx")
    found = inspect(tmp_path / "packed.onnx")
    rows = [(r.name, r.op_type, r.form, r.pad_value, r.macs, r.bytes, r.float_bytes) for r in found.layers]
    assert rows == [
        ("stem", "Conv", "float", None, 16 * 27 * 80, 4 * (16 * 27 + 16), 4 * (16 * 27 + 16)),
        ("a", "BinaryConv2d", "binary", 0, 16 * 72 * 20, 16 * 9 + 128, 4 * 16 * 72 + 128),
        ("b", "BinaryWeightConv2d", "weight-only", None, 8 * 16 * 20, 8 * 2 + 64, 4 * 8 * 16 + 64),
        ("c", "BinaryGemm", "binary", None, 96, 12 + 96, 4 * 96 + 96),
    ]
    assert found.layers[0].reason == "its weights are real: 27 magnitudes in output channel 0, ±1 scale would be one"
    assert found.layers[1].output_shape == (1, 16, 4, 5)
    assert [r.reason for r in found.layers[1:]] == ["", "real activations", ""]
    assert found.macs == 16 * 27 * 80 + 16 * 72 * 20 + 8 * 16 * 20 + 96
    assert found.binary_macs == 16 * 72 * 20 + 96
    assert found.unknown_macs == 0
    assert found.file_bytes == (tmp_path / "packed.onnx").stat().st_size
    assert found.float_bytes - found.file_bytes == sum(r.float_bytes - r.bytes for r in found.layers)
    assert json.loads(json.dumps(found.to_json()))["layers"][1]["form"] == "binary"


def test_a_file_that_is_not_packed_says_what_convert_would_do(tmp_path: Path) -> None:
    found = inspect(network(tmp_path / "source.onnx"))
    assert {r.form for r in found.layers} == {"float"}
    assert [r.reason for r in found.layers[1:]] == [
        "convert would make it binary",
        "convert would make it weight-only",
        "convert would make it binary",
    ]
    assert found.float_bytes == found.file_bytes == (tmp_path / "source.onnx").stat().st_size


def test_sizes_of_a_symbolic_image_can_be_given(tmp_path: Path) -> None:
    convert(network(tmp_path / "source.onnx", ("H", "W")), tmp_path / "packed.onnx")
    unknown = inspect(tmp_path / "packed.onnx")
    assert [r.macs for r in unknown.layers] == [None, None, None, 96]
    assert (unknown.unknown_macs, unknown.macs) == (3, 96)
    known = inspect(tmp_path / "packed.onnx", shapes={"x": [1, 3, 8, 10]})
    assert known.unknown_macs == 0
    assert known.layers[1].macs == 16 * 72 * 20


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"image": [1, 3, 8, 8]}, "has no input image; its inputs are x"),
        ({"x": [1, 4, 8, 8]}, "does not fit"),
        ({"x": [1, 3, 8]}, "does not fit"),
        ({"x": [1, 3, 0, 8]}, "does not fit"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, list[int]], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        inspect(network(tmp_path / "source.onnx", ("H", "W")), shapes=shapes)


def test_other_layers_are_counted_too(tmp_path: Path) -> None:
    """ConvTranspose, a product of two activations, int8 weights behind DequantizeLinear."""
    g = Source([1, 4, 6, 6])
    y = g("ConvTranspose", "x", g.constant(RNG.standard_normal((4, 5, 2, 2))), strides=[2, 2], name="up")
    y = g("MatMul", y, g("Transpose", y, perm=[0, 1, 3, 2]), name="gram")
    int8 = g.constant(RNG.integers(-127, 128, (7, 5, 1, 1), np.int8))
    weight = g("DequantizeLinear", int8, g.constant(np.full(7, 0.5)), axis=0)
    y = g("Conv", y, weight, name="mix")
    found = inspect(g.save(tmp_path / "m.onnx", y, 4))
    macs = {r.name: r.macs for r in found.layers}
    assert macs == {"up": 4 * 5 * 4 * 36, "gram": 5 * 12 * 12 * 12, "mix": 7 * 5 * 144}
    sizes = {r.name: (r.bytes, r.float_bytes) for r in found.layers}
    assert sizes["mix"] == (35 + 28, 4 * 35)
    assert sizes["gram"] == (0, 0)
    assert [r.reason for r in found.layers][:2] == [
        "its weights are real: 16 magnitudes in output channel 0, ±1 scale would be one",
        "its second operand is no constant",
    ]


def test_a_model_without_layers(tmp_path: Path) -> None:
    g = Source([1, 4], TensorProto.FLOAT)
    found = inspect(g.save(tmp_path / "m.onnx", g("Relu", "x"), 2))
    assert found.layers == ()
    assert (found.macs, found.unknown_macs) == (0, 0)


def test_a_broken_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing of this kind")
    with pytest.raises(ModelError, match="is not an ONNX model"):
        inspect(tmp_path / "m.onnx")


def test_the_opset_is_that_of_the_file(tmp_path: Path) -> None:
    g = Source([1, 4])
    onnx.save(g.model(g("Relu", "x"), 2, opset=13), tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").opset == 13


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opener, opened = network(tmp_path / "a.onnx"), Path.open, []

    def noted(self: Path, *args: Any, **options: Any) -> Any:
        if self == path:
            opened.append(self.name)
        return opener(self, *args, **options)

    monkeypatch.setattr(Path, "open", noted)
    monkeypatch.delattr(onnx, "load")
    inspect(path)
    assert opened == ["a.onnx"]
    convert(path, tmp_path / "b.onnx")
    assert opened == ["a.onnx", "a.onnx"]


def acme() -> onnx.ModelProto:
    """An operator that nobody knows between two layers that everybody does."""
    g = Source([1, 3, 8, 8])
    y = g("Conv", "x", g.constant(signs(4, 3, 3, 3)), name="first")
    y = g("Mine", g("Relu", y), name="mine", domain="acme")
    return g.model(g("Conv", y, g.constant(signs(2, 4, 1, 1)), name="last"), 4, acme=1)


def test_a_file_that_convert_refuses_is_listed(tmp_path: Path) -> None:
    onnx.save(acme(), tmp_path / "acme.onnx")
    found = inspect(tmp_path / "acme.onnx")
    assert [(row.name, row.form, row.reason, row.macs, row.weight_shape) for row in found.layers] == [
        ("first", "float", "convert refuses the file", 4 * 27 * 36, (4, 3, 3, 3)),
        ("last", "float", "convert refuses the file", None, (2, 4, 1, 1)),
    ]
    assert "no importer knows: acme.Mine (mine)" in found.refusal
    assert found.to_json()["refusal"] == found.refusal


def test_a_file_that_onnx_calls_invalid_is_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = acme()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*reversed(nodes), onnx.helper.make_node("Relu", ["nobody"], ["z"])])
    (tmp_path / "unsorted.onnx").write_bytes(model.SerializeToString())
    found = inspect(tmp_path / "unsorted.onnx")
    assert {row.name for row in found.layers} == {"first", "last"}
    assert "node last reads mine.out before node mine makes it" in found.refusal
    assert not caplog.records


def test_a_file_that_convert_takes_has_no_refusal(tmp_path: Path) -> None:
    assert inspect(network(tmp_path / "source.onnx")).refusal == ""
