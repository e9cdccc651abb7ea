"""Values in a few bits, and layers that compute with them stage by stage."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from latentbit.runtime.errors import ConfigError
from latentbit.training import set_bits
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RSign
from latentbit.training.layers.levels import to_levels
from latentbit.training.layers.signs import signs_of


def levels(bits: int) -> torch.Tensor:
    return torch.linspace(-1, 1, 2**bits)


@given(st.integers(1, 8), st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=9))
def test_a_value_becomes_the_nearest_level_of_its_sign(bits: int, values: list[float]) -> None:
    x = torch.tensor(values)
    found = to_levels(x, bits)
    assert torch.equal(signs_of(found), signs_of(x))
    distance = (x.clamp(-1, 1)[:, None] - levels(bits)).abs().min(1).values
    assert torch.allclose((found - x.clamp(-1, 1)).abs(), distance, atol=1e-6)
    assert torch.allclose((found[:, None] - levels(bits)).abs().min(1).values, torch.zeros(len(x)), atol=1e-6)


def test_one_bit_is_the_sign_and_none_is_hardtanh() -> None:
    x = torch.tensor([-2.0, -0.3, -0.0, 0.0, 0.3, 2.0], requires_grad=True)
    assert torch.allclose(to_levels(x, 1), signs_of(x.detach()))
    assert torch.equal(to_levels(x, 0), F.hardtanh(x))
    to_levels(x, 3).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("bits", [0, 2, 3])
def test_layers_compute_with_levels_of_both_operands(bits: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(RSign(3), BinaryConv2d(3, 4, 3, padding=1), nn.Flatten(), BinaryLinear(64, 2))
    sign, conv, linear = network[0], network[1], network[3]
    nn.init.normal_(sign.threshold)
    set_bits(network, weights=bits, activations=bits)
    x = torch.randn(5, 3, 4, 4)
    values = to_levels(x - sign.threshold.view(1, -1, 1, 1), bits)

    def finer(weight: torch.Tensor) -> torch.Tensor:
        scale = 2 * weight.abs().mean(tuple(range(1, weight.dim())), keepdim=True)
        return scale * to_levels(weight / scale, bits) if bits else weight

    expected = F.linear(F.conv2d(values, finer(conv.weight), padding=1).flatten(1), finer(linear.weight))
    assert torch.allclose(network(x), expected, atol=1e-5)
    set_bits(network, weights=1, activations=1)
    assert not torch.allclose(network(x), expected, atol=1e-2)


def test_binary_weights_need_binary_activations() -> None:
    with pytest.raises(ConfigError, match="set_bits: binary weights need binary activations, not those of 2 bits"):
        set_bits(nn.Sequential(RSign(1)), weights=1, activations=2)
