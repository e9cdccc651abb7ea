"""Sums over ±1 that are exact, so that a sign behind a layer decides as in the file; gradients as ever."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.training import prove
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RSign
from latentbit.training.layers.signs import weight_scale
from latentbit.training.layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear


def signs(*shape: int) -> Tensor:
    return torch.randint(0, 2, shape).float() * 2 - 1


def bits(weight: Tensor) -> Tensor:
    return torch.where(weight >= 0, 1.0, -1.0).double()


def drawn(data: Any) -> tuple[BinaryConv2d | BinaryLinear, Tensor, Tensor]:
    """Return a layer, what it reads, and its integer sums."""
    if data.draw(st.booleans()):
        layer: BinaryConv2d | BinaryLinear = BinaryLinear(data.draw(st.integers(1, 130)), 6)
        x = signs(*data.draw(st.sampled_from([(5,), (2, 3), (2, 3, 4)])), layer.in_features)
        return layer, x, F.linear(x.double(), bits(layer.weight))
    layer = BinaryConv2d(
        4 * (groups := data.draw(st.sampled_from([1, 2]))),
        6,
        data.draw(st.sampled_from([1, (1, 3), 3])),
        stride=data.draw(st.integers(1, 2)),
        padding=data.draw(st.integers(0, 2)),
        dilation=data.draw(st.integers(1, 2)),
        groups=groups,
        pad_value=data.draw(st.sampled_from([-1, 0, 1])),
    )
    x = signs(2, layer.in_channels, 9, 8)
    return layer, x, layer.convolve(x.double(), bits(layer.weight))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), training=st.booleans(), seed=st.integers(0, 99))
def test_the_output_is_an_integer_times_alpha_to_the_bit(data: Any, training: bool, seed: int) -> None:
    torch.manual_seed(seed)
    layer, x, sums = drawn(data)
    layer.train(training)
    shape = (-1, *[1] * (x.dim() - 2)) if isinstance(layer, BinaryConv2d) else (-1,)
    assert torch.equal(layer(x), sums.round().float() * weight_scale(layer.weight).view(shape))


@settings(max_examples=30, deadline=None)
@given(data=st.data(), dtype=st.sampled_from([torch.bfloat16, torch.float16]), seed=st.integers(0, 99))
def test_signs_behind_a_layer_are_those_of_its_sums_in_half_precision(data: Any, dtype: torch.dtype, seed: int) -> None:
    """Zeros among them: autocast multiplies in another type than that of the activations."""
    torch.manual_seed(seed)
    layer, x, sums = drawn(data)
    for given_type in (torch.float32, dtype):
        with torch.autocast("cpu", dtype):
            out = layer(x.to(given_type).requires_grad_())
        assert out.dtype == dtype
        assert torch.equal(out >= 0, sums.round() >= 0)
        out.float().square().sum().backward()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("sign", "first", "second", "shape"),
    [
        (lambda: RSign(16), BinaryConv2d(16, 16, 3, padding=1), BinaryConv2d(16, 16, 1), (8, 16, 8, 8)),
        (lambda: RSign(64), BinaryLinear(64, 64), BinaryLinear(64, 10), (200, 64)),
    ],
    ids=["convolution", "dense"],
)
def test_a_sign_without_a_norm_before_it_decides_as_the_file(
    sign: Any, first: nn.Module, second: nn.Module, shape: tuple[int, ...], training: bool, tmp_path: Path
) -> None:
    torch.manual_seed(20)
    network, seen = nn.Sequential(sign(), first, sign(), second), []
    x = torch.randn(shape)
    with torch.no_grad():
        network[2].threshold[1::2] = (2 * network[1].weight.abs().flatten(1).mean(1))[1::2]  # ties beside 0
    network[2].register_forward_hook(lambda module, arguments, out: seen.append(out.detach()))
    path = export_onnx(network, x, tmp_path / "m.onnx")
    proof = prove(network, x, path)
    assert (proof.failure, proof.turned) == (None, {})
    trace = InferenceSession(path).trace({"input": x.numpy()})
    assert (trace[0].accumulators == 0).mean() > 0.02, "sums must cancel, or this test could not fail"
    seen.clear()
    network.train(training)(x)
    assert torch.equal(torch.from_numpy(trace[1].signs).view(seen[0].shape).float(), seen[0])


def test_sums_are_whole_where_a_backend_convolves_by_transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without oneDNN torch convolves by NNPACK, where it has it: in Winograd's form, which is off by roundings."""
    torch.manual_seed(0)
    layer, x = BinaryConv2d(32, 32, 3, padding=1).eval(), signs(16, 32, 16, 16)
    wanted = layer(x)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    with torch.no_grad():
        assert torch.equal(layer(x), wanted)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.integers(0, 99))
def test_gradients_are_those_of_alpha_times_sign_with_a_straight_through_weight(data: Any, seed: int) -> None:
    torch.manual_seed(seed)
    layer, x, sums = drawn(data)
    layer.double()
    nn.init.normal_(layer.weight)  # some beyond ±1, where the clipped identity stops
    x, upstream = x.double().requires_grad_(), torch.randn(sums.shape).double()
    value = bits(layer.weight) * weight_scale(layer.weight)
    path = layer.weight.clamp(-1, 1)
    weight = value.detach() + path - path.detach()
    plain = F.linear(x, weight) if isinstance(layer, BinaryLinear) else layer.convolve(x, weight)
    wanted = torch.autograd.grad((plain * upstream).sum(), [x, layer.weight])
    found = torch.autograd.grad((layer(x) * upstream).sum(), [x, layer.weight])
    for have, want in zip(found, wanted, strict=True):
        assert torch.allclose(have, want)


def test_the_gradient_of_a_weight_is_not_scaled() -> None:
    layer = BinaryLinear(3, 1)
    layer.weight.data = torch.tensor([[0.5, -0.25, 1.2]])
    layer(torch.tensor([[1.0, -1.0, 1.0]])).backward(torch.tensor([[3.0]]))
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[3.0, -3.0, 0.0]]


def test_a_gradient_has_a_gradient() -> None:
    """For penalties on gradients."""
    layer, x = BinaryConv2d(3, 4, 3, padding=1), signs(2, 3, 5, 5).requires_grad_()
    (first,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    assert second.abs().sum() > 0


@pytest.mark.parametrize("layer", [BinaryWeightConv2d(3, 4, 3), BinaryWeightLinear(5, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_a_weight_only_layer_rounds_nothing(layer: BinaryConv2d | BinaryLinear, training: bool) -> None:
    x, weight = torch.randn(2, 3, 5, 5), bits(layer.weight).float()
    sums = F.linear(x, weight) if isinstance(layer, BinaryLinear) else F.conv2d(x, weight)
    scale = weight_scale(layer.weight).view((-1,) if isinstance(layer, BinaryLinear) else (-1, 1, 1))
    torch.testing.assert_close(layer.train(training)(x), sums * scale)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's compiler uses its own deprecated parts
def test_layers_compile_as_one_graph_and_once() -> None:
    network = nn.Sequential(RSign(4), BinaryConv2d(4, 4, 3), nn.Flatten(1, 2), BinaryLinear(3, 5))
    torch._dynamo.reset()
    counted = CompileCounter()
    compiled = torch.compile(network, backend=counted, fullgraph=True, dynamic=False)
    x = torch.randn(2, 4, 5, 5)
    for _ in range(3):
        out = compiled(x)
        out.sum().backward()
        assert torch.equal(out, network(x))
    assert counted.frame_count == 1
