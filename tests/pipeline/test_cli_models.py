"""``pipeline convert`` and ``pipeline inspect``: tables, JSON, exit codes."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latentbit.pipeline.cli import main


def network(path: Path) -> Path:
    """A float stem, and a binary layer behind a sign."""
    rng = np.random.default_rng(1)
    tensors = {
        "stem.w": rng.standard_normal((8, 3, 3, 3)),
        "block.w": np.where(rng.random((16, 8, 3, 3)) < 0.5, 1, -1),
        "zero": np.zeros(()),
        "one": np.ones(()),
        "minus": -np.ones(()),
    }
    nodes = [
        helper.make_node("Conv", ["x", "stem.w"], ["a"], "stem"),
        helper.make_node("GreaterOrEqual", ["a", "zero"], ["b"], "ge"),
        helper.make_node("Where", ["b", "one", "minus"], ["c"], "sign"),
        helper.make_node("Conv", ["c", "block.w"], ["y"], "block", pads=[1, 1, 1, 1]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    stored = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in tensors.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def run(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    progress = ": at work, "  # a machine with other work takes its time, and the command says so
    err = "".join(line for line in captured.err.splitlines(keepends=True) if progress not in line)
    return ended.value.code, captured.out, err


def test_convert_lists_every_layer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = network(tmp_path / "in.onnx"), tmp_path / "out.onnx"
    code, out, err = run("convert", source, target, capsys=capsys)
    assert (code, err) == (0, "")
    assert "its weights are real: 27 magnitudes in output channel 0" in out
    assert "1 binary, 0 weight-only, 1 float; 5.6 KiB -> " in out
    assert "16x8x3x3" in out
    assert [node.op_type for node in onnx.load(target).graph.node] == ["Conv", "Binarize", "BinaryConv2d"]


def test_convert_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("convert", network(tmp_path / "in.onnx"), tmp_path / "out.onnx", "--json", capsys=capsys)
    report = json.loads(out)
    assert code == 0
    assert [layer["form"] for layer in report["layers"]] == ["float", "binary"]
    assert report["layers"][1]["pad_value"] == 0
    assert report["layers"][1]["exact"] is True
    assert report["bytes_after"] == (tmp_path / "out.onnx").stat().st_size


def test_convert_inline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = network(tmp_path / "in.onnx"), tmp_path / "plain.onnx"
    code, _, _ = run("convert", source, target, "--inline", "--opset", "16", "--weights", "int8", capsys=capsys)
    plain = onnx.load(target)
    assert code == 0
    assert not plain.functions
    assert plain.opset_import[0].version == 16


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("convert", network(tmp_path / "in.onnx"), tmp_path / "out.onnx", capsys=capsys)
    code, out, err = run("inspect", tmp_path / "out.onnx", capsys=capsys)
    assert (code, err) == (0, "")
    assert "multiply-adds for one image: 0, 2 layers of unknown size not counted" in out
    _, out, _ = run("inspect", tmp_path / "out.onnx", "--shape", "x=1,3,34,34", capsys=capsys)
    macs = 8 * 27 * 32**2, 16 * 72 * 32**2
    assert f"multiply-adds for one image: {sum(macs):,} ({100 * macs[1] / sum(macs):.1f} % binary)" in out
    _, out, _ = run("inspect", tmp_path / "out.onnx", "--shape", "x=1x3x34x34", "--json", capsys=capsys)
    found = json.loads(out)
    assert (found["macs"], found["binary_macs"], found["opset"]) == (sum(macs), macs[1], 20)
    assert found["layers"][1]["bytes"] == 16 * 9 + 2 * 64


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["convert", "nothing.onnx", "out.onnx"], 1, "cannot read model nothing.onnx"),
        (["convert", "text.onnx", "out.onnx"], 1, "text.onnx is not an ONNX model"),
        (["inspect", "text.onnx"], 1, "text.onnx is not an ONNX model"),
        (["convert", "in.onnx"], 2, "TARGET"),
        (["convert", "in.onnx", "out.onnx", "--sign-zero", "maybe"], 2, "maybe"),
        (["convert", "in.onnx", "out.onnx", "--opset", "18"], 2, "--opset and --weights belong to --inline"),
        (["convert", "in.onnx", "out.onnx", "--inline", "--opset", "9"], 2, "9"),
        (["convert", "in.onnx", "out.onnx", "--inline", "--opset", "15", "--weights", "packed"], 1, "BitwiseAnd"),
        (["inspect", "in.onnx", "--shape", "1,3,8,8"], 2, "is not INPUT=N,C,H,W"),
        (["inspect", "in.onnx", "--shape", "y=1,3,8,8"], 2, "the model has no input y"),
        (["inspect", "in.onnx", "--shape", "x=1,4,8,8"], 2, "does not fit"),
    ],
)
def test_failures_are_one_line_with_an_exit_code(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    network(tmp_path / "in.onnx")
    Path("text.onnx").write_text("no model at all, only words\n")
    got, out, err = run(*arguments, capsys=capsys)
    assert got == code
    assert words in err
    assert "Traceback" not in out + err
    assert code == 2 or len(err.splitlines()) == 1
    assert not Path("out.onnx").exists()


def undecided(path: Path, count: int = 2) -> Path:
    """Layers with long names behind ``Sign``, whose 0 is 0."""
    rng = np.random.default_rng(1)
    weights = {f"w{i}": np.where(rng.random((8, 8, 3, 3)) < 0.5, 1, -1) for i in range(count)}
    name = "/features/stage/block/branch/convolution_with_a_long_name/export_handler/Conv"
    nodes = []
    for i, x in enumerate(["x", *(f"y{i}" for i in range(count - 1))]):
        nodes.append(helper.make_node("Sign", [x], [f"s{i}"], f"sign{i}"))
        nodes.append(helper.make_node("Conv", [f"s{i}", f"w{i}"], [f"y{i}"], f"{name}{i}", pads=[1, 1, 1, 1]))
    ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, 8, 9, 9]) for end in ("x", f"y{count - 1}")]
    stored = [numpy_helper.from_array(array.astype(np.float32), key) for key, array in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def test_the_last_line_says_how_a_sign_of_zero_is_decided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = undecided(tmp_path / "in.onnx"), tmp_path / "out.onnx"
    _, out, _ = run("convert", source, target, capsys=capsys)
    assert out.splitlines()[-1] == (
        "2 more would be binary if Sign(0) were not 0: --sign-zero plus takes it as +1, --sign-zero minus as -1"
    )
    _, out, _ = run("convert", source, target, "--sign-zero", "plus", capsys=capsys)
    assert out.splitlines()[-1].startswith("2 binary, 0 weight-only, 0 float")


def test_a_note_of_many_layers_is_one_line_with_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments: list[str | Path] = [
        "convert",
        undecided(tmp_path / "in.onnx", 4),
        tmp_path / "out.onnx",
        "--sign-zero",
        "plus",
    ]
    _, out, _ = run(*arguments, capsys=capsys)
    assert [line for line in out.splitlines() if "sign_zero" in line] == [
        "4 layers: the activation 0 is taken as 1 (sign_zero)"
    ]
    _, out, _ = run(*arguments, "--json", capsys=capsys)
    assert all(layer["notes"] for layer in json.loads(out)["layers"]), "programs get them layer by layer"


def test_straight_through_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """hard − soft + soft before the layer: named where it is not allowed, and noted with its size where it is."""
    model = onnx.load(network(tmp_path / "in.onnx"))
    sign = next(node for node in model.graph.node if node.name == "sign")
    sign.output[0] = "hard"
    soft = helper.make_node("Clip", ["a", "minus", "one"], ["soft"], "soft")
    parts = [helper.make_node("Sub", ["hard", "soft"], ["d"]), helper.make_node("Add", ["d", "soft"], ["c"], "through")]
    for place, node in enumerate((soft, *parts), 3):
        model.graph.node.insert(place, node)
    onnx.save(model, tmp_path / "in.onnx")
    arguments: list[str | Path] = ["convert", tmp_path / "in.onnx", tmp_path / "out.onnx"]
    _, out, _ = run(*arguments, capsys=capsys)
    assert "in through is not ±1 in float32" in " ".join(out.split())
    assert "0 binary" in out.splitlines()[-1]
    _, out, _ = run(*arguments, "--straight-through", "--json", capsys=capsys)
    layer = json.loads(out)["layers"][1]
    assert (layer["form"], layer["exact"]) == ("binary", False)
    assert any("up to 1.2e-7" in note for note in layer["notes"])


@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_nothing_is_cut_off_in_80_columns(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setenv("COLUMNS", "80")
    source = undecided(tmp_path / "in.onnx")
    targets = [tmp_path / "out.onnx"] if command == "convert" else []
    _, out, _ = run(command, source, *targets, capsys=capsys)
    assert max(len(line) for line in out.splitlines()) <= 80
    body = [line for line in out.splitlines() if line.startswith(("/features", "    "))]
    assert len(body) < 20
    text = " ".join(" ".join(body).split())
    assert "Conv1" in text
    assert "8x8x3x3" in text
    assert "its input takes three values" in text or "convert would make it weight-only" in text
    assert "…" not in text


def test_inspect_says_why_convert_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(undecided(tmp_path / "in.onnx"))
    model.graph.node[0].domain = "acme"
    onnx.save(model, tmp_path / "acme.onnx")
    code, out, _ = run("inspect", tmp_path / "acme.onnx", capsys=capsys)
    assert code == 0
    assert "acme.Sign (sign0)" in out.splitlines()[-1]
