"""Every emitter against torch: the exported file, run by stock onnxruntime, answers as the torch layer does."""

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime.errors import UnsupportedError
from latentbit.training.handover.emission import Emission
from latentbit.training.handover.emitters import functions as emitters_functions
from latentbit.training.handover.emitters import layers as emitters
from latentbit.training.handover.fold import fold
from latentbit.training.handover.folded import (
    Binarize,
    ChannelAffine,
    FoldedBinaryConv2d,
    FoldedBinaryLinear,
    FoldedWeightConv2d,
    FoldedWeightLinear,
)
from latentbit.training.handover.pixels import IntegerStem, PixelInput
from latentbit.training.handover.reader import TAUGHT, register_emitter
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
from latentbit.training.layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear

# Float sums (convolutions, means, exponentials) may be ordered differently in the two executors: a few ulps of 1.
TOLERANCE: dict[str, Any] = {"rtol": 2e-5, "atol": 2e-6}


class Call(nn.Module):
    """A network of one function of its input."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def binary_chain(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(RSign(4), *layers)


def affine_chain() -> nn.Module:
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return nn.Sequential(nn.ReLU(), norm)


IMAGE = (3, 4, 6, 8)
MODULE_CASES: list[tuple[type[nn.Module], nn.Module, tuple[int, ...]]] = [
    (Binarize, RSign(4), IMAGE),
    (Binarize, RSign(4), (3, 4)),
    (ChannelAffine, affine_chain(), IMAGE),
    (FoldedBinaryConv2d, binary_chain(BinaryConv2d(4, 5, 3, padding=1, stride=2, pad_value=-1)), IMAGE),
    (FoldedBinaryConv2d, binary_chain(BinaryConv2d(4, 6, (2, 3), padding=(0, 2), dilation=(1, 2), groups=2)), IMAGE),
    (FoldedBinaryLinear, binary_chain(BinaryLinear(4, 7)), (3, 4)),
    (FoldedWeightConv2d, nn.Sequential(BinaryWeightConv2d(4, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6)), IMAGE),
    (FoldedWeightLinear, BinaryWeightLinear(4, 7), (3, 4)),
    (RPReLU, RPReLU(4), IMAGE),
    (RPReLU, RPReLU(4), (3, 4)),
    (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool2d(1), IMAGE),
    (nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool2d((3, 2)), IMAGE),
    (nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool2d(1), IMAGE),
    (nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool2d((None, 4)), IMAGE),
    (nn.AvgPool2d, nn.AvgPool2d(3, 2, 1), IMAGE),
    (nn.AvgPool2d, nn.AvgPool2d((2, 3), ceil_mode=True, count_include_pad=False), (3, 4, 5, 7)),
    (nn.Conv2d, nn.Conv2d(4, 6, 3, padding="same", bias=False), IMAGE),
    (nn.Conv2d, nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(1, 0), groups=2), IMAGE),
    (nn.ConvTranspose2d, nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1), IMAGE),
    (nn.Dropout, nn.Dropout(0.5), IMAGE),
    (nn.Dropout2d, nn.Dropout2d(0.5), IMAGE),
    (nn.ELU, nn.ELU(0.7), IMAGE),
    (nn.Flatten, nn.Flatten(), IMAGE),
    (nn.Flatten, nn.Flatten(2), IMAGE),
    (nn.GELU, nn.GELU(), IMAGE),
    (nn.GELU, nn.GELU("tanh"), IMAGE),
    (nn.Hardsigmoid, nn.Hardsigmoid(), IMAGE),
    (nn.Hardswish, nn.Hardswish(), IMAGE),
    (nn.Hardtanh, nn.Hardtanh(-0.5, 0.7), IMAGE),
    (nn.Identity, nn.Identity(), IMAGE),
    (nn.LeakyReLU, nn.LeakyReLU(0.2), IMAGE),
    (nn.Linear, nn.Linear(4, 5), (3, 4)),
    (nn.Linear, nn.Linear(4, 5, bias=False), (3, 2, 4)),
    (nn.Linear, nn.Linear(4, 5), (3, 2, 4)),
    (nn.LogSoftmax, nn.LogSoftmax(1), (3, 4)),
    (nn.MaxPool2d, nn.MaxPool2d(3, 2, 1), IMAGE),
    (nn.MaxPool2d, nn.MaxPool2d(2, dilation=2, ceil_mode=True), (3, 4, 7, 9)),
    (nn.PReLU, nn.PReLU(), IMAGE),
    (nn.PReLU, nn.PReLU(4), IMAGE),
    (nn.PixelShuffle, nn.PixelShuffle(2), IMAGE),
    (nn.ReLU, nn.ReLU(), IMAGE),
    (nn.ReLU6, nn.ReLU6(), IMAGE),
    (nn.SiLU, nn.SiLU(), IMAGE),
    (nn.Sigmoid, nn.Sigmoid(), IMAGE),
    (nn.Softmax, nn.Softmax(1), IMAGE),
    (nn.Tanh, nn.Tanh(), IMAGE),
    (nn.Upsample, nn.Upsample(scale_factor=2, mode="nearest"), IMAGE),
    (nn.Upsample, nn.Upsample(size=(9, 11), mode="bilinear", align_corners=False), IMAGE),
    (nn.Upsample, nn.Upsample(scale_factor=2, mode="bicubic", align_corners=True), IMAGE),
    (nn.UpsamplingNearest2d, nn.UpsamplingNearest2d(scale_factor=3), IMAGE),
    (nn.ZeroPad2d, nn.ZeroPad2d((1, 2, 3, 0)), IMAGE),
]
FUNCTION_CASES: list[tuple[Any, Callable[[Tensor], Tensor], tuple[int, ...]]] = [
    (F.adaptive_avg_pool2d, lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE),
    (F.avg_pool2d, lambda x: F.avg_pool2d(x, 2), IMAGE),
    (F.dropout, lambda x: F.dropout(x, 0.5, training=False), IMAGE),
    (F.gelu, F.gelu, IMAGE),
    (F.hardtanh, F.hardtanh, IMAGE),
    (F.interpolate, lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), IMAGE),
    (F.leaky_relu, lambda x: F.leaky_relu(x, 0.3), IMAGE),
    (F.log_softmax, lambda x: F.log_softmax(x, 1), IMAGE),
    (F.max_pool2d, lambda x: F.max_pool2d(x, 2), IMAGE),
    (F.pixel_shuffle, lambda x: F.pixel_shuffle(x, 2), IMAGE),
    (F.relu, F.relu, IMAGE),
    (F.relu6, F.relu6, IMAGE),
    (F.silu, F.silu, IMAGE),
    (F.softmax, lambda x: F.softmax(x, dim=1), IMAGE),
    (operator.add, lambda x: x + 1.5, IMAGE),
    (operator.iadd, lambda x: operator.iadd(x * 1.0, x), IMAGE),
    (operator.mul, lambda x: 3.0 * x, IMAGE),
    (operator.neg, lambda x: -x, IMAGE),
    (operator.sub, lambda x: x - 2, IMAGE),
    (operator.truediv, lambda x: x / 3, IMAGE),
    (torch.add, lambda x: torch.add(x, x), IMAGE),
    (torch.cat, lambda x: torch.cat([x, -x], 1), IMAGE),
    (torch.cat, lambda x: torch.cat((x, x), dim=-1), IMAGE),
    (torch.clamp, lambda x: torch.clamp(x, min=-0.5), IMAGE),
    (torch.div, lambda x: torch.div(x, 2), IMAGE),
    (torch.flatten, lambda x: torch.flatten(x, 1), IMAGE),
    (torch.mean, lambda x: torch.mean(x, dim=1, keepdim=True), IMAGE),
    (torch.mul, lambda x: torch.mul(x, x), IMAGE),
    (torch.permute, lambda x: torch.permute(x, (0, 2, 3, 1)), IMAGE),
    (torch.relu, torch.relu, IMAGE),
    (torch.sigmoid, torch.sigmoid, IMAGE),
    (torch.sub, lambda x: torch.sub(x, 1.0), IMAGE),
    (torch.tanh, torch.tanh, IMAGE),
    ("add", lambda x: x.add(1), IMAGE),
    ("clamp", lambda x: x.clamp(-0.5, 0.5), IMAGE),
    ("contiguous", lambda x: x.contiguous() + 0, IMAGE),
    ("div", lambda x: x.div(4), IMAGE),
    ("flatten", lambda x: x.flatten(1), IMAGE),
    ("mean", lambda x: x.mean((2, 3)), IMAGE),
    ("mean", lambda x: x.mean([-1, -2], keepdim=True), IMAGE),
    ("mul", lambda x: x.mul(2), IMAGE),
    ("permute", lambda x: x.permute(0, 3, 1, 2), IMAGE),
    ("relu", lambda x: x.relu(), IMAGE),
    ("reshape", lambda x: x.reshape(x.shape[0], 2, -1), IMAGE),
    ("sigmoid", lambda x: x.sigmoid(), IMAGE),
    ("softmax", lambda x: x.softmax(1), IMAGE),
    ("squeeze", lambda x: x.mean(1, keepdim=True).squeeze(1), IMAGE),
    ("sub", lambda x: x.sub(1), IMAGE),
    ("tanh", lambda x: x.tanh(), IMAGE),
    ("transpose", lambda x: x.transpose(1, -1), IMAGE),
    ("unsqueeze", lambda x: x.unsqueeze(1), IMAGE),
    ("view", lambda x: x.view(x.size(0), -1), IMAGE),
    ("view", lambda x: x.view(-1, 4, 48), IMAGE),
]


def answer(network: nn.Module, shape: tuple[int, ...], folder: Path) -> onnx.ModelProto:
    """Export, compare with torch for the example's batch and for another, and return the file's model."""
    torch.manual_seed(1)
    network.eval()
    path = export_onnx(fold(network), torch.zeros(shape), folder / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (shape[0], 5):
        x = torch.randn(batch, *shape[1:])
        with torch.no_grad():
            expected = network(x).numpy()
        (result,) = session.run(None, {"input": x.numpy()})
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, **TOLERANCE)
    return onnx.load(path)


@pytest.mark.parametrize(("kind", "network", "shape"), MODULE_CASES)
def test_module(kind: type[nn.Module], network: nn.Module, shape: tuple[int, ...], tmp_path: Path) -> None:
    model = answer(network, shape, tmp_path)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True, data_prop=True)
    sizes = [d.dim_param or d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim]
    assert sizes[0] == "N"
    assert 0 not in sizes


@pytest.mark.parametrize(("kind", "function", "shape"), FUNCTION_CASES)
def test_function(kind: Any, function: Callable[[Tensor], Tensor], shape: tuple[int, ...], tmp_path: Path) -> None:
    answer(Call(function), shape, tmp_path)


def test_every_emitter_has_a_case() -> None:
    elsewhere = {IntegerStem, PixelInput}  # they read bytes: test_pixels.py
    assert {kind for kind, *_ in MODULE_CASES} | elsewhere == set(emitters.MODULES)
    listed = {**emitters_functions.FUNCTIONS, **emitters_functions.METHODS}
    assert {kind for kind, *_ in FUNCTION_CASES} == set(listed)


class Swirl(nn.Module):
    """A layer that only its author knows."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cumsum(x, 1)


def test_unknown_layers_are_all_named_at_once(tmp_path: Path) -> None:
    summed = Call(lambda x: torch.cumsum(x, 1))
    network = nn.Sequential(nn.Conv2d(4, 4, 1), summed, nn.Mish(), nn.ReLU(), nn.LogSigmoid())
    with pytest.raises(UnsupportedError, match=r"1\.cumsum \(cumsum\), 2 \(Mish\), 4 \(LogSigmoid\).*register_emitter"):
        export_onnx(fold(network), torch.zeros(IMAGE), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_user_teaches_a_layer(tmp_path: Path) -> None:
    def swirl(e: Emission, module: Swirl, x: Any) -> Any:
        return e("CumSum", [e.value(x), e.constant("axis", np.array(1, np.int64))], "taught")

    register_emitter(Swirl, swirl)
    try:
        path = export_onnx(nn.Sequential(nn.ReLU(), Swirl()), torch.zeros(IMAGE), tmp_path / "model.onnx")
        answer(nn.Sequential(nn.ReLU(), Swirl()), IMAGE, tmp_path)
    finally:
        del emitters.MODULES[Swirl]
        TAUGHT.discard(Swirl)
    assert [node.name for node in onnx.load(path).graph.node] == ["0", "1.taught"]


def test_a_user_teaches_a_function(tmp_path: Path) -> None:
    def lifted(e: Emission, x: Any, dim: int) -> Any:
        return e("CumSum", [e.value(x), e.constant("axis", np.array(dim, np.int64))], "taught")

    register_emitter(torch.cumsum, lifted)
    try:
        path = export_onnx(Call(lambda x: torch.cumsum(x, 1)), torch.zeros(IMAGE), tmp_path / "model.onnx")
        other = export_onnx(Call(lambda x: x + 1), torch.zeros(IMAGE), tmp_path / "other.onnx")
    finally:
        del emitters_functions.FUNCTIONS[torch.cumsum]
        TAUGHT.discard(torch.cumsum)
    assert [node.name for node in onnx.load(path).graph.node] == ["cumsum.taught"]
    assert [node.op_type for node in onnx.load(other).graph.node] == ["Add"]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "padding_mode='reflect'"),
        (nn.AdaptiveAvgPool2d((4, 3)), "no pool of one fixed window"),
        (Call(lambda x: torch.add(x, x, alpha=2)), "alpha=2"),
        (Call(lambda x: x.view(3, 192)), "does not accept an input of another batch"),
        (Call(lambda x: F.interpolate(x, scale_factor=2.0, mode="area")), "'area'"),
        (Call(lambda x: {"a": x}), "something else than a tensor"),
        (Call(lambda x: x if x.sum() > 0 else -x), "cannot be traced"),
        (nn.Sequential(RSign(4), BinaryLinear(8, 3)), r"1: a binary linear layer takes \[N, K\]"),
        (nn.BatchNorm2d(4, track_running_stats=False), "without running statistics"),
    ],
)
def test_what_cannot_be_exported_is_refused(network: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=message):
        export_onnx(fold(network), torch.zeros(IMAGE), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
