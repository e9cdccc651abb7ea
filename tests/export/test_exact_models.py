"""Exact models: on a whole test set, no executor flips a single sign, whatever the order in which it adds floats."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from latentbit.runtime import InferenceSession
from latentbit.runtime.bits import unpack_signs
from latentbit.training.data.catalogue import load
from latentbit.training.handover.pixels import Pixels
from latentbit.training.models.blocks import BinaryBlock, build_stem

from ..support.deployed import folded, packed, record_of


class Exact(nn.Module):
    """Exact stem, a block of every kind, binary downsampling; the float head alone adds floats."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = build_stem("cifar", 1, 16)
        self.blocks = nn.Sequential(
            BinaryBlock(16, 16),
            BinaryBlock(16, 24, stride=2, downsample_kind="binary", pad_value=-1),
            BinaryBlock(24, 40, stride=2, downsample_kind="binary", pad_value=1),
        )
        self.head = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.blocks(self.stem(x)).mean((2, 3)))
        return result


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.ascontiguousarray(load("digits").test_images.transpose(0, 2, 3, 1))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory, images: NDArray[np.uint8]) -> tuple[Path, dict[str, Any]]:
    """The file of an exact model with values as after training, and the record of its folded network."""
    data = load("digits")
    torch.manual_seed(0)
    network = Exact()
    network.train()
    with torch.no_grad():
        for _ in range(20):  # batch norms see the data, so that signs are balanced
            network(torch.from_numpy(data.normalise(data.train_images[:256])))
    pixels = Pixels(data.mean, data.std, data.pixel_range)
    path = folded(network, images[:4], tmp_path_factory.mktemp("exact"), pixels=pixels, exact_stem=True)
    return packed(path), record_of(path, images)


def with_signs_as_outputs(path: Path) -> onnx.ModelProto:
    """Let every Binarize be an output too."""
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "Binarize":
            model.graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [None] * 4))
    return model


def recorded_signs(record: dict[str, Any]) -> dict[str, NDArray[np.int8]]:
    """The signs that each layer read, by the layer's name."""
    layers = [key.removeprefix("signs/") for key in record if key.startswith("signs/")]
    return {name: unpack_signs(record[f"signs/{name}"], int(record[f"shape/{name}"][0]), axis=1) for name in layers}


def signs_by_layer(model: onnx.ModelProto, results: list[Any]) -> dict[str, NDArray[Any]]:
    values = dict(zip([output.name for output in model.graph.output], results, strict=True))
    return {node.name: values[node.input[0]] for node in model.graph.node if node.op_type == "BinaryConv2d"}


def assert_no_flips(found: dict[str, NDArray[Any]], expected: dict[str, NDArray[np.int8]], count: int) -> None:
    assert set(found) == set(expected)
    for name, signs in expected.items():
        assert 0.02 < (signs > 0).mean() < 0.98, f"{name}: nearly constant signs would prove nothing"
        assert np.array_equal(found[name], signs[:count]), name


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
def test_onnxruntime(deployed: tuple[Path, dict[str, Any]], images: NDArray[np.uint8], level: str) -> None:
    path, kept = deployed
    model = with_signs_as_outputs(path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, {"input": images})
    assert_no_flips(signs_by_layer(model, results), recorded_signs(kept), len(images))
    np.testing.assert_allclose(results[0], kept["logits"], rtol=1e-5, atol=1e-5)  # the head adds floats


def test_reference_evaluator(deployed: tuple[Path, dict[str, Any]], images: NDArray[np.uint8]) -> None:
    path, kept = deployed
    model = with_signs_as_outputs(path)
    results = ReferenceEvaluator(model).run(None, {"input": images})
    assert_no_flips(signs_by_layer(model, results), recorded_signs(kept), len(images))


def test_our_runtime(deployed: tuple[Path, dict[str, Any]], images: NDArray[np.uint8]) -> None:
    path, kept = deployed
    session = InferenceSession(path)
    found = {layer.name: layer.signs for layer in session.trace({"input": images})}
    assert_no_flips(found, recorded_signs(kept), len(images))
    np.testing.assert_allclose(session.run(None, {"input": images})[0], kept["logits"], rtol=1e-5, atol=1e-5)
