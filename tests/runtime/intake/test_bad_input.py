"""Whatever is wrong with a file or an array is one line that names the thing; never a wrong answer or a traceback."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from latentbit.runtime.__main__ import main
from latentbit.runtime.bits import DOMAIN
from latentbit.runtime.errors import InputError, LatentbitError, ModelError
from latentbit.runtime.session.float_model import open_session, plain_output
from latentbit.runtime.session.session import InferenceSession
from latentbit.runtime.steps.buffers import channel_last

from ...support.graphs import GraphMaker, chain

GOOD = np.zeros((1, 12, 8, 8), np.float32)


@pytest.fixture(scope="module")
def session() -> InferenceSession:
    return InferenceSession(chain().SerializeToString())


def with_nan() -> np.ndarray[Any, Any]:
    array = GOOD.copy()
    array[0, 3, 2, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "'input' is missing"),
        ({"image": GOOD}, "no input 'image'; feed input"),
        ({"input": GOOD[0]}, r"rank 3 \[12, 8, 8\], the model needs rank 4 \[N, 12, 8, 8\]; add the batch axis"),
        ({"input": GOOD.astype(np.float64)}, "dtype float64, the model needs float32"),
        ({"input": GOOD[:, :11]}, "axis 1 is 11, not 12"),
        ({"input": GOOD[:0]}, "axis 0 is empty"),
        ({"input": with_nan()}, "holds 1 NaN of 768 values"),
        ({"input": GOOD.tolist()}, "is a list; feed a numpy array"),
    ],
)
def test_wrong_arrays(session: InferenceSession, feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        session.run(None, feeds)
    assert "\n" not in str(caught.value)


def test_a_wrong_output_name(session: InferenceSession) -> None:
    with pytest.raises(InputError, match="no output 'probabilities'; it has logits"):
        session.run(["probabilities"], {"input": GOOD})


def test_after_an_error_a_session_goes_on(session: InferenceSession) -> None:
    with pytest.raises(InputError):
        session.run(None, {"input": with_nan()})
    assert session.run(None, {"input": GOOD})[0].shape == (1, 10)


def node(model: onnx.ModelProto, op_type: str) -> onnx.NodeProto:
    found: onnx.NodeProto = next(entry for entry in model.graph.node if entry.op_type == op_type)
    return found


def attribute(entry: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    found: onnx.AttributeProto = next(value for value in entry.attribute if value.name == name)
    return found


def other_version(model: onnx.ModelProto) -> None:
    model.opset_import[1].version = 2


def unknown_op(model: onnx.ModelProto) -> None:
    node(model, "BinaryConv2d").op_type = "BinaryConv3d"


def unknown_domain(model: onnx.ModelProto) -> None:
    node(model, "AveragePool").domain = "com.example"


def unknown_attribute(model: onnx.ModelProto) -> None:
    node(model, "BinaryConv2d").attribute.append(helper.make_attribute("winograd", 1))


def missing_attribute(model: onnx.ModelProto) -> None:
    conv = node(model, "BinaryConv2d")
    conv.attribute.remove(attribute(conv, "pad_value"))


def wrong_pad_value(model: onnx.ModelProto) -> None:
    attribute(node(model, "BinaryConv2d"), "pad_value").f = 0.5


def short_weight(model: onnx.ModelProto) -> None:
    name = node(model, "BinaryConv2d").input[1]
    tensor = next(entry for entry in model.graph.initializer if entry.name == name)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[:, :2], name))


def wrong_scale(model: onnx.ModelProto) -> None:
    name = node(model, "BinaryConv2d").input[2]
    tensor = next(entry for entry in model.graph.initializer if entry.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.ones(3, np.float32), name))


def computed_weight(model: onnx.ModelProto) -> None:
    conv = node(model, "BinaryConv2d")
    model.graph.node.insert(0, helper.make_node("Identity", [conv.input[1]], ["moved"]))
    conv.input[1] = "moved"


def unsorted(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (other_version, "ai.latentbit version 2, this runtime knows version 1"),
        (unknown_op, "ai.latentbit has no operator BinaryConv3d in version 1"),
        (unknown_domain, "operator domain com.example is not known"),
        (unknown_attribute, "BinaryConv2d has no attribute winograd"),
        (missing_attribute, "attribute pad_value of BinaryConv2d is missing"),
        (wrong_pad_value, "pad_value is 0.5"),
        (
            short_weight,
            r"packed weight is uint8\[12, 2, 3, 2\], weight_shape \[12, 12, 3, 3\] needs uint8\[12, 3, 3, 2\]",
        ),
        (wrong_scale, r"scale is float32\[3\], needs float32\[12\]"),
        (computed_weight, "input moved must be a constant of the file"),
        (unsorted, "contradicts itself|must be sorted"),
    ],
)
def test_wrong_models(break_it: Callable[[onnx.ModelProto], None], message: str) -> None:
    model = chain()
    break_it(model)
    with pytest.raises(ModelError, match=message) as caught:
        InferenceSession(model.SerializeToString())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a zip file", b"\x00" * 64, chain().SerializeToString()[:-400]])
def test_files_that_are_no_models(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.onnx"):
        InferenceSession(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read model .*nowhere\.onnx: No such file"):
        InferenceSession(tmp_path / "nowhere.onnx")
    with pytest.raises(ModelError, match="Is a directory"):
        InferenceSession(tmp_path)


def test_a_kernel_that_does_not_exist() -> None:
    with pytest.raises(ModelError, match="there is no kernel gpu; there are "):
        InferenceSession(chain().SerializeToString(), kernel="gpu")


def test_a_kernel_that_does_not_exist_where_nothing_is_packed() -> None:
    nothing = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "nothing",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(nothing, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    with pytest.raises(ModelError, match="there is no kernel gpu"):
        InferenceSession(model.SerializeToString(), kernel="gpu")


def test_a_damaged_name_that_is_no_text() -> None:
    """onnxruntime quotes the name in its message, which then cannot be decoded."""
    data = chain().SerializeToString()
    assert b"AveragePool" in data
    with pytest.raises(LatentbitError):
        InferenceSession(data.replace(b"AveragePool", b"AveragePo\x8al"))


def test_random_damage_is_an_error_or_a_model(tmp_path: Path) -> None:
    data = chain().SerializeToString()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(0, 256)
        with contextlib.suppress(LatentbitError):
            session = InferenceSession(bytes(damaged))
            session.run(None, {info.name: np.zeros((1, 12, 8, 8), np.float32) for info in session.get_inputs()})


def test_the_command_line_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "nowhere.onnx")]) == 1
    assert capsys.readouterr().err.startswith("error: cannot read model")
    model = tmp_path / "model.onnx"
    model.write_bytes(chain().SerializeToString())
    np.save(tmp_path / "wrong.npy", GOOD[0])
    assert main(["run", str(model), str(tmp_path / "wrong.npy")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as caught:
        main(["run"])
    assert caught.value.code == 2


def test_no_node_reads_a_value_of_an_unknown_maker() -> None:
    maker = GraphMaker()
    out = maker.conv(maker.binarize("ghost", 4), maker.signs(4, 4, 1, 1))
    model = maker.model({"input": [1, 4, 2, 2]}, [out])
    with pytest.raises(ModelError):
        InferenceSession(model.SerializeToString())


def test_weights_in_another_file_are_refused_by_name(tmp_path: Path) -> None:
    onnx.save(chain(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    with pytest.raises(ModelError, match=r"m\.onnx keeps weights in other files"):
        InferenceSession(tmp_path / "m.onnx")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="the system has no /dev/zero")
def test_a_device_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBIT_LIMITS", "file_bytes=100000")
    with pytest.raises(ModelError, match="/dev/zero has more bytes than the limit file_bytes of 100000"):
        InferenceSession("/dev/zero")


def prelu_takes_a_side() -> bool:
    """Tell whether onnxruntime's PRelu leaves alone what is above 0, whatever the slope: 1.19 does not."""
    maker = GraphMaker(0)
    maker.node("PRelu", ["x", maker.constant(np.full(1, np.nan, np.float32))])
    maker.nodes[-1].output[0] = "y"
    data = maker.model({"x": [4]}, ["y"]).SerializeToString()
    answers = open_session(data, 1).run(None, {"x": np.full(4, 2, np.float32)})[0]
    return bool((answers == 2).all())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, 1e-45])
@pytest.mark.parametrize("place", ["threshold", "scale", "bias", "shift", "slope"])
def test_a_constant_that_is_no_ordinary_number_means_what_it_means_to_onnxruntime(place: str, value: float) -> None:
    maker = GraphMaker(2)
    arrays = {name: np.ones(8, np.float32) for name in ("threshold", "scale", "bias", "shift", "slope")}
    arrays[place][3] = value
    signs = maker.node("Binarize", ["input", maker.constant(arrays["threshold"][:, None, None])], DOMAIN)
    weight = maker.signs(8, 8, 1, 1)
    geometry: dict[str, Any] = {"strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1, "pad_value": 0.0}
    result = maker.binary("BinaryConv2d", signs, weight, arrays["scale"], arrays["bias"], **geometry)
    result = maker.node("Sub", [result, maker.constant(arrays["shift"][:, None, None])])
    result = maker.node("PRelu", [result, maker.constant(arrays["slope"][:, None, None])])
    maker.node("Relu", [result])
    maker.nodes[-1].output[0] = "y"
    data = maker.model({"input": ["N", 8, "H", "W"]}, ["y"]).SerializeToString()
    feeds = {"input": maker.floats(1, 8, 5, 5)}
    if place in ("shift", "slope") and not np.isfinite(value) and not prelu_takes_a_side():
        pytest.skip("this onnxruntime multiplies 0 by the slope of values above 0, against the specification of PRelu")
    found, wanted = InferenceSession(data).run(None, feeds)[0], open_session(data, 1).run(None, feeds)[0]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", [channel_last("input"), plain_output("input")])
def test_a_value_of_a_name_that_the_runtime_makes(name: str) -> None:
    """An input that nothing reads, named like the packed layer's own: the layer would have read it."""
    maker = GraphMaker(1)
    maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 1, 1), unit=True)
    maker.nodes[-1].output[0] = "y"
    data = maker.model({"input": ["N", 8, "H", "W"], name: ["N", "H", "W", 8]}, ["y"]).SerializeToString()
    with pytest.raises(ModelError, match="a name that the runtime keeps for itself"):
        InferenceSession(data)


def test_two_layers_of_one_name() -> None:
    """Onnxruntime refuses them too; the self-test and the check would have compared one of the two."""
    model = chain()
    for node in model.graph.node:
        node.name = "layer" if node.op_type == "BinaryConv2d" else node.name
    with pytest.raises(ModelError, match="2 nodes are named layer; names must be unique"):
        InferenceSession(model.SerializeToString())


def test_a_text_that_is_none() -> None:
    maker = GraphMaker(1)
    value = maker.node("MaxPool", [maker.binarize("input", 8)], kernel_shape=[1, 1])
    maker.conv(value, maker.signs(8, 8, 1, 1), unit=True)
    maker.nodes[-1].output[0] = "y"
    model = maker.model({"input": ["N", 8, "H", "W"]}, ["y"])
    entry = onnx.AttributeProto(name="auto_pad", type=onnx.AttributeProto.STRING, s=b"\xff")
    next(node for node in model.graph.node if node.op_type == "MaxPool").attribute.append(entry)
    with pytest.raises(ModelError, match="onnxruntime refuses a float part"):
        InferenceSession(model.SerializeToString())
