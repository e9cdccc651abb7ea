"""Real Brevitas networks, exported to QONNX by Brevitas: converted, they answer as Brevitas and as qonnx do.

Runs in the tox environment ``qonnx``; brevitas and qonnx pin versions of their own.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentbit.export.importing.conversion import convert
from latentbit.runtime import InferenceSession

from ...support.import_graphs import run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of their imports, about other packages
    qnn = pytest.importorskip("brevitas.nn", reason="brevitas is not installed: tox -e qonnx")
    execute_onnx = pytest.importorskip(
        "qonnx.core.onnx_exec", reason="qonnx is not installed: tox -e qonnx"
    ).execute_onnx
    from brevitas.core.scaling import ScalingImplType
    from brevitas.export import export_qonnx
    from brevitas.inject.enum import ScalingPerOutputType
    from brevitas.quant import (
        Int8ActPerTensorFloat,
        SignedBinaryActPerTensorConst,
        SignedBinaryWeightPerTensorConst,
        Uint8ActPerTensorFloat,
    )
    from qonnx.core.modelwrapper import ModelWrapper

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs: deprecations of torch and numpy


class PerChannelWeight(SignedBinaryWeightPerTensorConst):  # type: ignore[misc]
    """One scale per output channel, the mean magnitude of its weights."""

    scaling_per_output_type = ScalingPerOutputType.CHANNEL
    scaling_impl_type = ScalingImplType.PARAMETER_FROM_STATS
    scaling_stats_op = "ave"


def sign(scale: float = 1.0) -> nn.Module:
    layer: nn.Module = qnn.QuantIdentity(
        act_quant=SignedBinaryActPerTensorConst, scaling_init=scale, return_quant_tensor=False
    )
    return layer


def conv(
    inputs: int, outputs: int, kernel: int, *, per_channel: bool = False, scale: float = 0.1, **options: Any
) -> nn.Module:
    quantiser = (
        {"weight_quant": PerChannelWeight}
        if per_channel
        else {
            "weight_quant": SignedBinaryWeightPerTensorConst,
            "scaling_init": scale,
        }
    )
    layer: nn.Module = qnn.QuantConv2d(inputs, outputs, kernel, **quantiser, **options)
    return layer


def linear(inputs: int, outputs: int, **options: Any) -> nn.Module:
    layer: nn.Module = qnn.QuantLinear(
        inputs, outputs, weight_quant=SignedBinaryWeightPerTensorConst, scaling_init=0.1, **options
    )
    return layer


def norm(channels: int) -> nn.BatchNorm2d:
    """As after training: no accumulator ties with a threshold."""
    layer = nn.BatchNorm2d(channels)
    layer.weight.data.uniform_(-1, 1)
    layer.bias.data.uniform_(-1, 1)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.uniform_(-1, 1)
    layer.running_var.uniform_(0.5, 2)
    return layer


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = nn.Sequential(sign(0.7), conv(channels, channels, 3, padding=1, bias=False), norm(channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.block(x)
        return y


def plain() -> nn.Module:
    return nn.Sequential(
        sign(), conv(3, 24, 3, padding=1, bias=False), norm(24), sign(), conv(24, 32, 3, stride=2, bias=True), norm(32)
    )


def depthwise() -> nn.Module:
    return nn.Sequential(
        *(conv(3, 16, 3, scale=0.2), norm(16), sign(0.5), conv(16, 16, 3, groups=16, padding=1, bias=False)),
        *(norm(16), sign(), conv(16, 24, 1, groups=2, bias=False), norm(24)),
    )


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), norm(16), Residual(16), Residual(16), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def dense() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3), norm(8), sign(), nn.MaxPool2d(2), nn.Flatten(), linear(8 * 16, 20, bias=True)),
        *(nn.BatchNorm1d(20).requires_grad_(False), sign(0.3), linear(20, 10, bias=True)),
    )


def channel_scales() -> nn.Module:
    return nn.Sequential(
        sign(),
        conv(3, 16, 3, per_channel=True, bias=False),
        norm(16),
        sign(),
        conv(16, 16, 3, per_channel=True),
        norm(16),
    )


def mixed() -> nn.Module:
    """8-bit stem and activation, binary middle, 4-bit head: what is not binary becomes standard ONNX."""
    return nn.Sequential(
        qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, return_quant_tensor=False),
        qnn.QuantConv2d(3, 16, 3, weight_bit_width=8, bias=True),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, return_quant_tensor=False),
        *(norm(16), sign(), conv(16, 16, 3, padding=1, bias=False), norm(16), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        qnn.QuantLinear(16, 10, bias=True, weight_bit_width=4),
    )


def two_bits() -> nn.Module:
    """A signed quantiser, −2 to 1, and an unsigned one, 0 to 3, before layers that pad with zeros."""
    signed = qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, bit_width=2, return_quant_tensor=False)
    unsigned = qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=2, return_quant_tensor=False)
    return nn.Sequential(
        *(sign(), conv(3, 16, 3, bias=False), norm(16), signed, conv(16, 16, 3, padding=1, bias=False)),
        *(norm(16), unsigned, conv(16, 8, 3, padding=1, bias=False), norm(8)),
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "plain": (plain, ["binary", "binary"]),
    "depthwise": (depthwise, ["weight-only", "binary", "binary"]),
    "residual": (residual, ["float", "binary", "binary"]),
    "dense": (dense, ["float", "binary", "binary"]),
    "channel scales": (channel_scales, ["binary", "binary"]),
    "mixed": (mixed, ["float", "binary", "float"]),
    "two bits": (two_bits, ["binary", "binary", "binary"]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_brevitas_network_answers_the_same(name: str, tmp_path: Path) -> None:
    build, forms = NETWORKS[name]
    torch.manual_seed(11)
    module = build()
    module.train()
    module(torch.randn(16, 3, 10, 10))  # sets the scales of the integer quantisers
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.load_state_dict(norm(layer.num_features).state_dict())
    module.eval()
    x = torch.randn(4, 3, 10, 10)
    with torch.no_grad():
        expected = module(x).numpy()
    source, target = tmp_path / "source.onnx", tmp_path / "target.onnx"
    export_qonnx(module, x, export_path=str(source))
    report = convert(source, target)
    assert [layer.form for layer in report.layers] == forms
    assert not any("qonnx" in node.domain for node in onnx.load(target).graph.node)

    got = run(target, x.numpy())
    tolerance = 4e-6 * np.abs(expected).max()  # rounding: the source rounds scale and batch norm apart, we once
    np.testing.assert_allclose(got, by_qonnx(source, x.numpy()), atol=tolerance, rtol=0)
    np.testing.assert_allclose(got, expected, atol=tolerance, rtol=0)
    session = InferenceSession(target)
    np.testing.assert_allclose(
        session.run(None, {session.get_inputs()[0].name: x.numpy()})[0], got, atol=tolerance, rtol=0
    )


def by_qonnx(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Execute the source with qonnx's own executor, node by node."""
    model = ModelWrapper(str(path))
    name = next(entry.name for entry in model.graph.input if model.get_initializer(entry.name) is None)
    result: NDArray[np.float32] = execute_onnx(model, {name: x})[model.graph.output[0].name]
    return result
