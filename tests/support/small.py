"""A small network and a batch for it: what the tests of the latent branch compute with."""

import torch
from torch import nn

from latentbit.training.models.catalogue import build_model

__all__ = ["batch", "small"]


def small() -> nn.Module:
    """Return the network of the digits, four channels wide, the same at each call."""
    torch.manual_seed(0)
    return build_model("digits_resnet", width=4)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return six images and their labels, the same at each call."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 1, 8, 8, generator=generator), torch.randint(0, 10, (6,), generator=generator)
