"""The layers alone: forward laws, gradients, geometry, refused arguments."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from latentbit.runtime.errors import ConfigError
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign, set_progress


def signs(*shape: int) -> torch.Tensor:
    return torch.randint(0, 2, shape).float() * 2 - 1


def test_rsign_compares_with_its_threshold_per_channel() -> None:
    layer = RSign(2)
    layer.threshold.data = torch.tensor([0.5, -1.0])
    x = torch.tensor([[0.5, -1.0], [0.49, -1.01]])
    assert layer(x).tolist() == [[1.0, 1.0], [-1.0, -1.0]]
    assert layer(x.view(2, 2, 1, 1).expand(2, 2, 3, 3)).shape == (2, 2, 3, 3)


def test_rsign_threshold_gets_the_negative_sum_of_the_input_gradient() -> None:
    layer, x = RSign(3), torch.randn(4, 3, 2, 2, requires_grad=True)
    layer(x).mul(torch.randn(4, 3, 2, 2)).sum().backward()
    assert x.grad is not None
    assert layer.threshold.grad is not None
    assert torch.allclose(layer.threshold.grad, -x.grad.sum((0, 2, 3)), atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 4)])
def test_rprelu_equals_prelu_between_shifts_and_its_gradients_too(shape: tuple[int, ...]) -> None:
    layer = RPReLU(3)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(shape)
    x[0] = layer.shift_in.detach().view(3, *(1 for _ in shape[2:]))  # the kink itself
    x.requires_grad_()
    wide = (1, 3, *(1 for _ in shape[2:]))
    expected = F.prelu(x - layer.shift_in.view(wide), layer.slope) + layer.shift_out.view(wide)
    weight = torch.randn(shape)
    wanted = torch.autograd.grad((expected * weight).sum(), [x, *layer.parameters()])
    found = layer(x)
    assert torch.equal(found, expected)
    for have, want in zip(torch.autograd.grad((found * weight).sum(), [x, *layer.parameters()]), wanted, strict=True):
        assert torch.allclose(have, want, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_convolution_is_an_exact_integer_times_alpha(data: Any) -> None:
    groups = data.draw(st.sampled_from([1, 2]))
    kernel = data.draw(st.sampled_from([1, 2, 3]))
    pad_value = data.draw(st.sampled_from([-1, 0, 1]))
    padding = data.draw(st.integers(0, 2))
    stride, dilation = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    layer = BinaryConv2d(
        4, 6, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups, pad_value=pad_value
    )
    x = signs(2, 4, 7, 6)
    padded = F.pad(x, (padding,) * 4, value=float(pad_value)).double()
    bits = torch.where(layer.weight >= 0, 1.0, -1.0).double()
    accumulators = F.conv2d(padded, bits, stride=stride, dilation=dilation, groups=groups)
    alpha = layer.weight.abs().mean((1, 2, 3)).view(1, -1, 1, 1)
    found = layer(x)
    assert found.shape == accumulators.shape
    assert torch.allclose(found, accumulators.float() * alpha, atol=1e-4)
    assert torch.equal((found / alpha).round(), accumulators.float())


def test_linear_is_an_exact_integer_times_alpha() -> None:
    layer, x = BinaryLinear(37, 5), signs(3, 37)
    bits = torch.where(layer.weight >= 0, 1.0, -1.0)
    alpha = layer.weight.abs().mean(1)
    assert torch.equal((layer(x) / alpha).round(), x @ bits.T)


def test_weights_start_with_zero_mean() -> None:
    # ReActNet's rand·0.001 makes every W positive: poison for a stream that uses W itself.
    for layer in (BinaryConv2d(64, 64, 3), BinaryLinear(512, 128)):
        weight = layer.weight.detach()
        assert abs(float(weight.mean())) < 3 * float(weight.std()) / weight.numel() ** 0.5
        assert 0.4 < float((weight >= 0).float().mean()) < 0.6


def test_progress_reaches_every_layer_and_changes_the_gradient() -> None:
    block = nn.Sequential(RSign(2, estimator="ede"), BinaryConv2d(2, 2, 1, estimator="reste"))
    x = torch.full((1, 2, 1, 1), 0.5, requires_grad=True)
    gradients = []
    for progress in (0.0, 1.0):
        set_progress(block, progress)
        gradients.append(torch.autograd.grad(block[0](x).sum(), x)[0])
    assert all(layer.progress == 1.0 for layer in block)
    assert not torch.allclose(*gradients)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RSign(0), "channels must be a positive integer"),
        (lambda: RPReLU(-1), "channels must be a positive integer"),
        (lambda: BinaryConv2d(3, 4, 3, groups=2), "groups=2"),
        (lambda: BinaryConv2d(3, 4, 3, pad_value=2), "pad_value must be -1, 0 or 1"),
        (lambda: BinaryConv2d(3, 4, 0), "kernel_size must be one or two integers of at least 1"),
        (lambda: BinaryConv2d(3, 4, 3, padding=(1, 2, 3)), "padding must be one or two integers of at least 0"),
        (lambda: BinaryConv2d(3, 4, 3, estimator="ste"), "unknown estimator 'ste'"),
        (lambda: BinaryLinear(3, 0), "out_features must be a positive integer"),
    ],
)
def test_impossible_arguments_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_layers_work_in_a_users_own_network_and_loop() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        RSign(8), BinaryConv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), RPReLU(16), nn.Flatten(), nn.Linear(256, 2)
    )
    images, labels = torch.randn(32, 8, 4, 4), torch.randint(0, 2, (32,))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
