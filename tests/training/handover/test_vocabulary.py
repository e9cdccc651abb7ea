"""What torch has layers and functions for, all in a few networks: the file answers as each of them does."""

import operator
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
from latentbit.training.layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear


class Beside(nn.Module):
    """Layers and functions beside one another, each an output of its own."""

    def __init__(self, layers: list[nn.Module], functions: list[Callable[[Tensor], Tensor]] | None = None) -> None:
        super().__init__()
        self.layers, self.functions = nn.ModuleList(layers), functions or []

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(call(x) for call in (*self.layers, *self.functions))


IMAGES = [
    RSign(4),
    RPReLU(4),
    nn.Sequential(RSign(4), BinaryConv2d(4, 5, 3, padding=1, stride=2, pad_value=-1)),
    nn.Sequential(RSign(4), BinaryConv2d(4, 6, (2, 3), padding=(0, 2), dilation=(1, 2), groups=2)),
    nn.Sequential(BinaryWeightConv2d(4, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6)),
    nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)),
    *(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveMaxPool2d(1), nn.AvgPool2d(3, 2, 1)),
    *(nn.Conv2d(4, 6, 3, padding="same", bias=False), nn.Conv2d(4, 6, (3, 2), (1, 2), (1, 0), groups=2)),
    nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
    *(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.Identity(), nn.Flatten(), nn.Flatten(2), nn.MaxPool2d(3, 2, 1)),
    *(nn.ELU(0.7), nn.GELU(), nn.GELU("tanh"), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardtanh(-0.5, 0.7), nn.Mish()),
    *(nn.LeakyReLU(0.2), nn.LogSigmoid(), nn.PReLU(), nn.PReLU(4), nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Sigmoid()),
    *(nn.Softmax(1), nn.Softplus(), nn.Tanh(), nn.PixelShuffle(2), nn.ZeroPad2d((1, 2, 3, 0))),
    *(nn.Upsample(scale_factor=2, mode="nearest"), nn.UpsamplingNearest2d(scale_factor=3)),
    nn.Upsample(size=(9, 11), mode="bilinear", align_corners=False),
    nn.Upsample(scale_factor=2, mode="bicubic", align_corners=True),
]
CALLS: list[Callable[[Tensor], Tensor]] = [
    *(F.gelu, F.hardtanh, F.relu, F.relu6, F.silu, torch.relu, torch.sigmoid, torch.tanh, operator.neg, torch.abs),
    lambda x: F.adaptive_avg_pool2d(x, 1),
    lambda x: F.avg_pool2d(x, 2) + F.max_pool2d(x, 2),
    lambda x: F.dropout(x, 0.5, training=False),
    lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    lambda x: F.log_softmax(F.leaky_relu(x, 0.3), 1),
    lambda x: F.softmax(F.pixel_shuffle(x, 2), dim=-1),
    lambda x: operator.iadd(x * 1.0, x) + 1.5 - 3.0 * x,
    lambda x: torch.div(torch.sub(x, 1.0), 2) / 3,
    lambda x: torch.cat([x, -x], 1),
    lambda x: torch.cat((x, x), dim=-1),
    lambda x: torch.clamp(x, min=-0.5) * x.clamp(-0.5, 0.5),
    lambda x: torch.cumsum(x, 1),
    lambda x: torch.flatten(x, 1),
    lambda x: torch.mean(x, dim=1, keepdim=True) + x.mean([-1, -2], keepdim=True),
    lambda x: torch.permute(x, (0, 2, 3, 1)),
    lambda x: x.mean((2, 3)),
    lambda x: x.reshape(x.shape[0], 2, -1),
    lambda x: x.mean(1, keepdim=True).squeeze(1),
    lambda x: x.transpose(1, -1).contiguous(),
    lambda x: x.unsqueeze(1),
    lambda x: x.view(x.size(0), -1),
    lambda x: x.view(-1, 4, 48),
]
ROWS = [
    *(RSign(4), RPReLU(4), nn.Linear(4, 5), nn.LogSoftmax(1), BinaryWeightLinear(4, 7)),
    nn.Sequential(RSign(4), BinaryLinear(4, 7), nn.BatchNorm1d(7)),
]
FRAMES = [
    *(nn.Linear(4, 5, bias=False), nn.Linear(4, 5), BinaryWeightLinear(4, 7), nn.LayerNorm(4)),
    nn.Sequential(RSign(6), BinaryLinear(4, 7), nn.BatchNorm1d(6)),
]


@pytest.mark.parametrize(
    ("layers", "calls", "shape"),
    [(IMAGES, [], (4, 6, 8)), ([], CALLS, (4, 6, 8)), (ROWS, [], (4,)), (FRAMES, [], (6, 4))],
    ids=["layers over images", "calls", "layers over rows", "layers over frames"],
)
def test_the_file_answers_as_each_layer_and_function(
    layers: list[nn.Module], calls: list[Callable[[Tensor], Tensor]], shape: tuple[int, ...], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    network = Beside(layers, calls).eval()
    path = export_onnx(network, torch.zeros(2, *shape), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (2, 5):
        x = torch.randn(batch, *shape)
        with torch.no_grad():
            expected = [values.numpy() for values in network(x)]
        for one, other in zip(session.run(None, {"input": x.numpy()}), expected, strict=True):
            assert one.shape == other.shape
            # Float sums may be ordered differently in the two executors: a few ulps of 1.
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-6)
