"""Images in each other's styles: what a network that is to bear shifts is taught to answer alike."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["draw_shares", "mix_styles"]

CONCENTRATION = 0.1
"""Of the Beta distribution of the shares: most images keep nearly all or nearly nothing of their own style."""


def draw_shares(count: int, seed: int, step: int) -> Tensor:
    """Return ``[count]`` float32 shares of an image's own style, drawn for one step of one run."""
    return torch.from_numpy(np.random.default_rng((seed, step)).beta(CONCENTRATION, CONCENTRATION, count)).float()


def mix_styles(images: Tensor, shares: Tensor) -> Tensor:
    """Return ``[N, C, H, W]`` with mean and deviation of each channel mixed with those of the image before.

    MixStyle (arXiv 2104.02008, eqs. 4–6), on images in the place of features. ``shares`` ``[N]`` is what each keeps of
    its own.
    """
    mean = images.mean((2, 3), keepdim=True)
    deviation = images.std((2, 3), keepdim=True, unbiased=False) + 1e-6
    own = shares.to(images.dtype).view(-1, 1, 1, 1)
    other_mean, other_deviation = mean.roll(1, 0), deviation.roll(1, 0)
    even = (images - mean) / deviation
    return even * torch.lerp(other_deviation, deviation, own) + torch.lerp(other_mean, mean, own)
