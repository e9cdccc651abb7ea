"""Networks as after training."""

import torch
from torch import nn

from latentbit.training.layers.binary import RPReLU, RSign

__all__ = ["settled"]


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm and learned shift values as after training."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_mean is not None:
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
        if isinstance(module, RPReLU | RSign):
            for parameter in module.parameters():
                parameter.data.normal_(generator=generator).mul_(0.2)
    return network.eval()
