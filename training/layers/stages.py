"""What of a network is real and what is binary, in stages of training and after it."""

import torch
from torch import nn

from ...runtime.errors import ConfigError
from .binary import RSign
from .weights import LatentWeightLayer

__all__ = ["bake", "set_bits", "set_real_weights"]


def set_real_weights(network: nn.Module, real: bool, *, activations: bool = False) -> None:
    """Switch binarisation of weights off or on in every binary layer, and of all activations.

    activations: let every sign compute hardtanh(x − threshold), so that the network is float. ConfigError without real
        weights, as in :func:`set_bits`.
    """
    set_bits(network, weights=0 if real else 1, activations=0 if activations else 1)


def set_bits(network: nn.Module, *, weights: int, activations: int) -> None:
    """Set how many bits weights of binary layers and activations have: 1 for signs, 0 for no rounding at all.

    ConfigError for binary weights below activations that are not: only of signs they count integers.
    """
    if weights == 1 != activations:
        raise ConfigError(f"set_bits: binary weights need binary activations, not those of {activations} bits")
    for layer in network.modules():
        if isinstance(layer, LatentWeightLayer):
            layer.bits = weights
        elif isinstance(layer, RSign):
            layer.bits = activations


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
