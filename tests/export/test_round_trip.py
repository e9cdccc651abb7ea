"""Packed, written plainly, packed again: the same operators with the same bits under the same names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from latentbit.export import convert, inline_file
from latentbit.export.inline import Weights
from latentbit.runtime import zoo
from latentbit.runtime.bits import DOMAIN
from latentbit.runtime.operators import WRITTEN_OUT

from ..support.graph import Graph
from ..support.import_graphs import run


def described(model: onnx.ModelProto) -> list[tuple[Any, ...]]:
    """Every node with its attributes, and what it reads: values by name, constants by their bits."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [
        (
            *(node.domain, node.op_type, node.name, list(node.output)),
            sorted((entry.name, str(onnx.helper.get_attribute_value(entry))) for entry in node.attribute),
            [_bits(constants[name]) if name in constants else name for name in node.input],
        )
        for node in model.graph.node
    ]


def _bits(array: NDArray[Any]) -> tuple[Any, ...]:
    return array.dtype.str, array.shape, array.tobytes()


def there_and_back(packed: Path, folder: Path, **options: Any) -> onnx.ModelProto:
    inline_file(packed, folder / "plain.onnx", **options)
    assert DOMAIN not in {node.domain for node in onnx.load(folder / "plain.onnx").graph.node}
    convert(folder / "plain.onnx", folder / "again.onnx", weight_only=False)
    return onnx.load(folder / "again.onnx")


@pytest.mark.parametrize("name", zoo.names())
@pytest.mark.parametrize("weights", ["float", "int8", "packed"])
def test_the_models_of_the_zoo(name: str, weights: Weights, tmp_path: Path) -> None:
    again, packed = there_and_back(zoo.path(name), tmp_path, weights=weights), onnx.load(zoo.path(name))
    assert described(again) == described(packed)
    if weights == "float":  # the names of what unpacks or casts signs are taken
        assert {t.name for t in again.graph.initializer} == {t.name for t in packed.graph.initializer}
    said, before = ({entry.key: entry.value for entry in model.metadata_props} for model in (again, packed))
    made, kept = (json.loads(entries.pop("latentbit.self_test")) for entries in (said, before))
    # A self-test is made anew: integers and signs are the same, sums of floats need not be to the last place.
    answers, expected = made.pop("outputs"), kept.pop("outputs")
    assert (said, made, answers.keys()) == (before, kept, expected.keys())
    for name, values in expected.items():
        np.testing.assert_allclose(answers[name], values, rtol=1e-5, atol=1e-5)


class Drawn:
    """A model drawn at random: packed layers, between them the operators that a tail is made of and that stay apart."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.rng = np.random.default_rng(self.draw(st.integers(0, 2**16)))
        self.graph, self.value = Graph(), "x"
        self.inputs = self.channels = self.draw(st.integers(1, 9))

    def numbers(self, *shape: int) -> NDArray[np.float32]:
        odd = self.rng.choice(np.float32([0, 1, -1, 1e-30, 3e8]), shape)
        return np.where(self.rng.random(shape) < 0.2, odd, self.rng.standard_normal(shape)).astype(np.float32)

    def signs(self, *shape: int) -> NDArray[np.int8]:
        return np.where(self.rng.random(shape) < 0.5, 1, -1).astype(np.int8)

    def node(self, op_type: str, *constants: NDArray[Any], domain: str = "", **attributes: Any) -> None:
        inputs = [self.value, *(self.graph.constant(array) for array in constants)]
        self.value = self.graph.node(op_type, inputs, domain, **attributes)

    def between(self, rank: int) -> None:
        for kind in self.draw(st.lists(st.sampled_from(["Mul", "Add", "Sub", "Div", "Relu", "PRelu"]), max_size=3)):
            self.node(kind, *([] if kind == "Relu" else [self.numbers(self.channels, *(1,) * (rank - 2))]))

    def sign(self, rank: int) -> bool:
        """Binarize the value or leave it real; tell which."""
        if not self.draw(st.booleans()):
            return False
        thresholds = self.numbers(self.channels, *(1,) * (rank - 2))
        self.node("Binarize", thresholds * self.draw(st.integers(0, 1)), domain=DOMAIN)
        return True

    def convolution(self, name: str) -> None:
        geometry: dict[str, Any] = {}
        if counts := self.sign(4):
            geometry["pad_value"] = float(self.draw(st.sampled_from([-1, 0, 1])))
            if self.draw(st.booleans()):
                self.node("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="edge")
        group, outputs = self.draw(st.sampled_from([1, self.channels])), self.channels * self.draw(st.integers(1, 2))
        geometry["pads"] = self.draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
        geometry |= {"strides": [1, 2], "dilations": [self.draw(st.integers(1, 2)), 1], "group": group}
        weight = self.signs(outputs, self.channels // group, *self.draw(st.sampled_from([(1, 1), (3, 2)])))
        self.layer("BinaryConv2d" if counts else "BinaryWeightConv2d", weight, name, **geometry)

    def layer(self, op_type: str, weight: NDArray[np.int8], name: str, **geometry: Any) -> None:
        self.channels = len(weight)
        scale, bias = self.numbers(self.channels), self.numbers(self.channels)
        self.value = self.graph.binary(op_type, self.value, weight, scale, bias, name, **geometry)

    def model(self) -> onnx.ModelProto:
        for index in range(self.draw(st.integers(1, 3))):
            self.between(4)
            self.convolution(f"blocks.{index}")
        self.between(4)
        self.node("GlobalAveragePool")
        self.node("Flatten")
        counts = self.sign(2)
        weight = self.signs(self.draw(st.integers(1, 5)), self.channels)
        self.layer("BinaryGemm" if counts else "BinaryWeightGemm", weight, "head")
        self.between(2)
        return self.graph.build({"x": ["N", self.inputs, 17, 17]}, {self.value: [None, None]})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_packed_model(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, model = tmp_path_factory.mktemp("round"), Drawn(data).model()
    onnx.save(model, folder / "packed.onnx")
    forms: list[dict[str, Any]] = [{}, {"weights": "int8"}, {"weights": "packed"}, {"opset": 21}]
    if "Pad" not in {node.op_type for node in model.graph.node}:  # which onnx cannot bring below 18
        forms.append({"opset": 16})
    again = there_and_back(folder / "packed.onnx", folder, **data.draw(st.sampled_from(forms)))
    assert described(again) == described(model)


def test_what_a_tool_has_changed_is_read_like_any_other_file(tmp_path: Path) -> None:
    """A scale that was merged into the weights: the layer is packed by what it is, not by what the file says."""
    inline_file(zoo.path("digits"), tmp_path / "plain.onnx")
    model = onnx.load(tmp_path / "plain.onnx")
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "blocks.1.conv.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(2), weight.name))
    onnx.save(model, tmp_path / "changed.onnx")
    report = convert(tmp_path / "changed.onnx", tmp_path / "again.onnx")
    layer = next(layer for layer in report.layers if layer.name == "blocks.1.conv")
    assert (layer.form, layer.notes) == ("binary", ())
    x = np.random.default_rng(0).standard_normal((5, 1, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "again.onnx", x), run(tmp_path / "changed.onnx", x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[1]", '{"blocks.0.conv": 3}', '{"blocks.0.conv": {"operator": "Relu"}}']
)
def test_a_property_that_says_nothing_changes_nothing(text: str, tmp_path: Path) -> None:
    inline_file(zoo.path("digits"), tmp_path / "plain.onnx")
    model = onnx.load(tmp_path / "plain.onnx")
    entry = next(entry for entry in model.metadata_props if entry.key == WRITTEN_OUT)
    entry.value = text
    onnx.save(model, tmp_path / "odd.onnx")
    report = convert(tmp_path / "odd.onnx", tmp_path / "again.onnx", weight_only=False)
    assert report.count("binary") == 5
