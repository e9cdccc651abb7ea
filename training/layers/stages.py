"""What of a network is real and what is binary, in stages of training and after it."""

import torch
from torch import nn

from ...runtime.errors import ConfigError
from .binary import RSign
from .weights import LatentWeightLayer

__all__ = ["bake", "set_real_weights"]


def set_real_weights(network: nn.Module, real: bool, *, activations: bool = False) -> None:
    """Switch binarisation of weights off or on in every binary layer, and of all activations.

    activations: let every sign compute hardtanh(x − threshold), so that the network is float. ConfigError without real
        weights: real activations have no integer sums, which binary weights count.
    """
    if activations and not real:
        raise ConfigError("set_real_weights: real activations need real weights too: set real=True")
    for layer in network.modules():
        if isinstance(layer, LatentWeightLayer):
            layer.real = real
        elif isinstance(layer, RSign):
            layer.real = activations


@torch.no_grad()
def bake(network: nn.Module) -> None:
    """Make all binary; write the regularised W into W and drop the regulariser: signs and scales stay.

    Export reads W alone.
    """
    set_real_weights(network, False)
    for layer in network.modules():
        if isinstance(layer, LatentWeightLayer):
            layer.weight.copy_(layer.latent_weight().clone())
            layer.choose(layer.estimator, "none")
