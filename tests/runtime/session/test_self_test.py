"""The self-test of a file: passed by every kernel, failed by whatever computes otherwise, and no crash of a bad one."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from latentbit.runtime import InferenceSession, zoo
from latentbit.runtime.__main__ import main
from latentbit.runtime.errors import CheckFailed, LatentbitError
from latentbit.runtime.proof.self_test import make_self_test
from latentbit.runtime.session.self_test import KEY, digest, layer_signs, made_inputs, read_record

from ...support import fuzz_bases
from ...support.graphs import USABLE

DIGITS = zoo.path("digits").read_bytes()
WANTED = {entry.key: entry.value for entry in onnx.load_from_string(DIGITS).metadata_props}[KEY]


def altered(change: Callable[[onnx.ModelProto], Any]) -> InferenceSession:
    model = onnx.load_from_string(DIGITS)
    change(model)
    return InferenceSession(model.SerializeToString())


def saying(text: str) -> InferenceSession:
    return altered(
        lambda model: next(entry for entry in model.metadata_props if entry.key == KEY).__setattr__("value", text)
    )


def constant_of(model: onnx.ModelProto, node: onnx.NodeProto, place: int) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == node.input[place])


def put(tensor: onnx.TensorProto, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), tensor.name))


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.parametrize("kernel", USABLE)
def test_every_model_of_the_zoo_passes_on_every_kernel(name: str, kernel: str) -> None:
    found = InferenceSession(zoo.path(name), kernel=kernel).self_test()
    assert found is not None
    assert (found.outputs, found.turned) == (1, None)
    assert found.layers == len(read_record(WANTED).layers) or name != "digits"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_session_answers_as_before_after_its_self_test(threads: int) -> None:
    session = InferenceSession(DIGITS, num_threads=threads)
    feeds = made_inputs({"input": np.dtype(np.float32)}, {"input": [1, 1, 8, 8]})
    before = session.run(None, feeds)[0]
    session.self_test()
    assert np.array_equal(session.run(None, feeds)[0], before)


@pytest.mark.parametrize("layer", read_record(WANTED).layers)
def test_one_wrong_weight_bit_is_named(layer: str) -> None:
    def turn(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.name == layer)
        put(constant_of(model, node, 1), lambda packed: packed ^ (np.arange(packed.size).reshape(packed.shape) == 5))

    with pytest.raises(CheckFailed, match=f"layer {layer} gives other integers"):
        altered(turn).self_test()


def test_a_wrong_threshold_and_a_wrong_float_weight_are_found() -> None:
    def threshold(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == "Binarize")
        put(constant_of(model, node, 1), lambda values: values + np.float32(1))

    def head(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == "Gemm")
        put(constant_of(model, node, 2), lambda values: values * np.float32(1.1))

    with pytest.raises(CheckFailed, match="reads other signs"):
        altered(threshold).self_test()
    with pytest.raises(CheckFailed, match="the output logits is another"):
        altered(head).self_test()


def test_a_sign_that_rounding_turned_is_no_failure_and_is_told() -> None:
    stated = json.loads(WANTED)
    layer = list(stated["layers"])[1]
    stated["layers"][layer]["signs"] = "0" * 32
    stated["layers"][layer]["positive"] += 1
    stated["outputs"]["logits"][0] += 100
    found = saying(json.dumps(stated)).self_test()
    assert found is not None
    assert (found.turned, found.outputs) == (layer, 0)
    stated["layers"][layer]["positive"] += 1000
    with pytest.raises(CheckFailed, match="more than rounding turns"):
        saying(json.dumps(stated)).self_test()


def test_a_file_without_one_says_so() -> None:
    def drop(model: onnx.ModelProto) -> None:
        del model.metadata_props[:]

    assert altered(drop).self_test() is None


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "7", '{"version": 2}', '{"version": 1}', "[" * 100_000, WANTED.replace("[1,1,8,8]", "[1,1,8]"),
        WANTED.replace("[1,1,8,8]", "[0,1,8,8]"), WANTED.replace("[1,1,8,8]", "[true,1,8,8]"),
        WANTED.replace('"input"', '"other"'),
        WANTED.replace("[1,1,8,8]", "[2000000000,2000000000,8,8]"), WANTED.replace('"sums":', '"some":'),
    ],
)  # fmt: skip
def test_a_self_test_that_cannot_be_read_is_one_line(text: str) -> None:
    with pytest.raises(LatentbitError) as caught:
        saying(text).self_test()
    assert "\n" not in str(caught.value)


def test_inputs_are_the_same_on_every_machine_and_in_every_version() -> None:
    """If this changes, every file that was ever written fails its self-test."""
    made = made_inputs({"x": np.dtype(np.float32), "p": np.dtype(np.uint8)}, {"x": [3, 5], "p": [2, 4]})
    assert digest(made["x"] * 64) == "7cd535d848dab9936d3065160c01296a"
    assert made["p"].tolist() == [[171, 183, 204, 137], [62, 40, 161, 87]]
    assert digest(layer_signs("conv", (1, 3, 5, 7))) == "5469723b10faa873cd80882bd460bba5"


def test_what_is_made_fits_the_file() -> None:
    assert make_self_test(DIGITS) == WANTED
    for base in fuzz_bases.BASES:  # free sizes; exact pixels
        model = base()
        text = make_self_test(model.SerializeToString())
        assert text is not None
        model.metadata_props.add(key=KEY, value=text)
        found = InferenceSession(model.SerializeToString()).self_test()
        assert found is not None
        assert found.integers > 100


def test_the_device_serves_nobody_from_a_file_that_fails(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stated = json.loads(WANTED)
    layer = next(iter(stated["layers"]))
    stated["layers"][layer]["integers"] = "0" * 32
    model = onnx.load_from_string(DIGITS)
    next(entry for entry in model.metadata_props if entry.key == KEY).value = json.dumps(stated)
    path, array = tmp_path / "model.onnx", tmp_path / "array.npy"
    path.write_bytes(model.SerializeToString())
    np.save(array, np.zeros((1, 1, 8, 8), np.float32))
    for arguments in (
        ["run", path, array],
        ["classify", path, "nothing.png"],
        ["info", path],
        ["info", "--json", path],
    ):
        code = main([str(word) for word in arguments])
        said = capsys.readouterr()
        assert code == 1
        assert f"error: self-test: layer {layer} gives other integers" in said.err
    assert json.loads(said.out)["self_test"] == "failed"
