"""Weight regularisers against their formulas; baking; stages with real weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from latentbit.runtime.errors import ConfigError
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, set_progress
from latentbit.training.layers.regularisers import REGULARISERS, find_regulariser, recu, standardise
from latentbit.training.layers.stages import bake, set_real_weights
from latentbit.training.layers.weights import choose_weights
from latentbit.training.models.catalogue import build_model


def test_standardised_channels_are_balanced() -> None:
    weight = torch.randn(5, 4, 3, 3) * 3 + 1
    found = standardise(weight, 0.0).flatten(1)
    assert torch.allclose(found.mean(1), torch.zeros(5), atol=1e-6)
    assert torch.allclose(found.std(1, unbiased=False), torch.ones(5), atol=1e-4)


@pytest.mark.parametrize("progress", [0.0, 1.0])
def test_recu_clamps_at_the_laplace_quantile(progress: float) -> None:
    torch.manual_seed(0)
    weight = torch.distributions.Laplace(0.0, 1.0).sample((2, 100_000))
    even, found = standardise(weight, progress), recu(weight, progress)
    tau = 0.85 + 0.14 * progress
    limit = -even.abs().mean(1, keepdim=True) * math.log(2 - 2 * tau)
    assert torch.allclose(found, even.clamp(-limit.max(), limit.max()).minimum(limit).maximum(-limit))
    # On Laplace data the formula is the quantile itself.
    assert float((even > limit).float().mean()) == pytest.approx(1 - tau, abs=0.004)


@pytest.mark.parametrize("name", sorted(REGULARISERS))
def test_baking_leaves_the_same_logits_and_no_regulariser(name: str) -> None:
    torch.manual_seed(0)
    network = build_model("digits_resnet", width=4).eval()
    choose_weights(network, estimator="identity_clip", regulariser=name)
    set_progress(network, 0.7)
    images = torch.randn(3, 1, 8, 8)
    expected = network(images)
    bake(network)
    fresh = build_model("digits_resnet", width=4).eval()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(images), expected)


def test_gradients_pass_the_regulariser() -> None:
    layer = BinaryConv2d(3, 4, 3)
    choose_weights(layer, estimator="identity", regulariser="standardise")
    x = torch.randint(0, 2, (2, 3, 5, 5)).float() * 2 - 1
    upstream = torch.randn(2, 4, 3, 3)
    found = torch.autograd.grad((layer(x) * upstream).sum(), layer.weight)[0]
    raw = torch.autograd.grad(
        (layer.convolve(x, probe := torch.zeros_like(layer.weight, requires_grad=True)) * upstream).sum(), probe
    )[0]
    expected = torch.autograd.grad(standardise(layer.weight, 0.0), layer.weight, raw)[0]
    assert torch.allclose(found, expected, atol=1e-5)


def test_real_weights_switch_binarisation_off_and_on() -> None:
    network = nn.Sequential(BinaryLinear(4, 3))
    x = torch.tensor([[1.0, -1.0, 1.0, 1.0]])
    binary = network(x)
    set_real_weights(network, True)
    assert torch.allclose(network(x), F.linear(x, network[0].weight))
    set_real_weights(network, False)
    assert torch.equal(network(x), binary)


def test_unknown_regulariser_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown weight regulariser 'recuu'"):
        find_regulariser("recuu")
