"""Networks that people write in plain torch, exported by torch's own exporters, both of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentbit.export.importing.conversion import ConversionReport, convert
from latentbit.runtime import InferenceSession

from ...support.import_graphs import run


class BitorchSign(nn.Module):
    """The form of bitorch: torch.sign, and +1 where that is 0."""

    def forward(self, x: Tensor) -> Tensor:
        signs = torch.sign(x)
        return torch.where(signs == 0, torch.tensor(1.0), signs)


class WhereSign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, 1.0, -1.0)


class BoolSign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * (x > 0).float() - 1


class TorchSign(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sign()


class ScaledConv(nn.Conv2d):
    """XNOR-Net: mean magnitude times sign, in the weight."""

    def forward(self, input: Tensor) -> Tensor:
        alpha = self.weight.abs().mean((1, 2, 3), keepdim=True)
        weight = torch.where(self.weight >= 0, 1.0, -1.0) * alpha
        return F.conv2d(input, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class SignConv(nn.Conv2d):
    """Bare signs, the scale behind the convolution."""

    def forward(self, input: Tensor) -> Tensor:
        alpha = self.weight.abs().mean((1, 2, 3)).view(1, -1, 1, 1)
        return F.conv2d(input, self.weight.sign(), None, self.stride, self.padding, self.dilation, self.groups) * alpha


class SignLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight.sign(), self.bias)


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sign, self.conv, self.norm = (
            WhereSign(),
            ScaledConv(channels, channels, 3, padding=1, bias=False),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(self.sign(x))) + x
        return y


def norm(channels: int) -> nn.BatchNorm2d:
    """A batch norm as after training: no statistic is 0 or 1, no accumulator ties with a threshold."""
    layer = nn.BatchNorm2d(channels)
    for tensor, low, high in ((layer.weight, -1, 1), (layer.bias, -1, 1), (layer.running_mean, -1, 1)):
        assert tensor is not None
        tensor.data.uniform_(low, high)
    assert layer.running_var is not None
    layer.running_var.uniform_(0.5, 2)
    return layer


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3),
        norm(16),
        BitorchSign(),
        ScaledConv(16, 16, 3, padding=1),
        norm(16),
        nn.Hardtanh(),
        WhereSign(),
        nn.ConstantPad2d(1, 1.0),
        SignConv(16, 24, 3, groups=2),
        norm(24),
        Residual(24),
        BoolSign(),
        nn.MaxPool2d(2),
        ScaledConv(24, 8, 1, bias=False),
        norm(8),
        TorchSign(),
        nn.Flatten(),
        SignLinear(8 * 36, 10),
    ).eval()


def export_dynamo(module: nn.Module, x: Tensor, path: Path) -> None:
    batch = {0: torch.export.Dim("N")}
    torch.onnx.export(module, (x,), path, dynamo=True, verbose=False, dynamic_shapes=(batch,), input_names=["x"])


def export_script(module: nn.Module, x: Tensor, path: Path) -> None:
    torch.onnx.export(module, (x,), path, dynamo=False, dynamic_axes={"x": {0: "N"}}, input_names=["x"])


EXPORTERS = {"dynamo": export_dynamo, "torchscript": export_script}


@pytest.fixture(scope="module", params=sorted(EXPORTERS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: Any) -> tuple[nn.Module, Path, ConversionReport]:
    module, path = network(), tmp_path_factory.mktemp(request.param) / "source.onnx"
    export: Callable[[nn.Module, Tensor, Path], None] = EXPORTERS[request.param]
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters, about themselves
        try:
            export(module, torch.randn(2, 3, 14, 14), path)
        except (ImportError, torch.onnx.errors.OnnxExporterError) as error:
            pytest.skip(f"this torch cannot export with {request.param}: {error}")
    return module, path, convert(path, path.with_name("target.onnx"))


def test_every_binary_layer_is_packed(exported: tuple[nn.Module, Path, ConversionReport]) -> None:
    _, _, report = exported
    forms = [(layer.op_type, layer.form) for layer in report.layers]
    assert forms == [("Conv", "float"), *[("Conv", "binary")] * 4, ("Gemm", "binary")]
    assert report.layers[0].reason.startswith("its weights are real")
    assert [layer.pad_value for layer in report.layers] == [None, 0, 1, 0, None, None]
    assert report.bytes_after < report.bytes_before / 3


def test_the_answers_are_those_of_torch(exported: tuple[nn.Module, Path, ConversionReport]) -> None:
    module, path, _ = exported
    x = torch.randn(64, 3, 14, 14, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = module(x).numpy()
    packed = run(path.with_name("target.onnx"), x.numpy())
    # the last layer counts signs: a difference of 2 would be one flipped sign, and there is none
    np.testing.assert_allclose(packed, expected, atol=1e-4)
    np.testing.assert_allclose(packed, run(path, x.numpy()), atol=1e-4)


def test_our_runtime_runs_it(exported: tuple[nn.Module, Path, ConversionReport]) -> None:
    _, path, _ = exported
    session = InferenceSession(path.with_name("target.onnx"))
    kinds = [step.kind for step in session.get_steps() if step.kind == "binary"]
    assert len(kinds) == 5
    x = torch.randn(4, 3, 14, 14, generator=torch.Generator().manual_seed(6)).numpy()
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], run(path.with_name("target.onnx"), x))


def test_only_the_layers_are_left(exported: tuple[nn.Module, Path, ConversionReport]) -> None:
    _, path, _ = exported
    ops = [node.op_type for node in onnx.load(path.with_name("target.onnx")).graph.node]
    assert not {"Sign", "Where", "GreaterOrEqual", "Greater", "Equal", "Cast", "BatchNormalization"} & set(ops)
    assert ops.count("Binarize") == 5
