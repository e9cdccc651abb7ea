"""Raw pixels as a network's input: how they are normalised.

A file with float input leaves ``(pixel / range − mean) / std`` to its user. With pixels as input the file takes what a
camera or an image decoder gives, uint8 ``[N, H, W, C]``, and nobody can normalise wrongly.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...runtime.errors import ConfigError

__all__ = ["Pixels", "check_pixels", "normalisation"]


class Pixels(NamedTuple):
    """How a data set normalises: ``(pixel / range − mean) / std``, mean and std one figure a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    range: float = 255.0


def check_pixels(pixels: Any) -> Pixels:
    """Return ``pixels`` if a network can be normalised so; ConfigError names what cannot be."""
    if not isinstance(pixels, Pixels):
        raise ConfigError(f"pixels is a {type(pixels).__name__}; give Pixels(mean, std, range)")
    try:
        mean, std, limit = (np.asarray(entry, np.float64) for entry in pixels)
    except (TypeError, ValueError):
        raise ConfigError(f"pixels holds something else than numbers: {pixels}") from None
    if mean.ndim != 1 or mean.shape != std.shape or not mean.size or limit.ndim:
        raise ConfigError(f"pixels needs a mean and a std for each channel and one range, not {pixels}")
    if not np.all(np.isfinite(mean)) or not np.all(std > 0) or not np.all(np.isfinite(std)) or not 0 < limit < np.inf:
        raise ConfigError(f"pixels needs finite numbers, a std and a range above 0, not {pixels}")
    return pixels


def normalisation(pixels: Pixels) -> Callable[[Tensor], Tensor]:
    """Return the function from uint8 ``[N, H, W, C]`` to float32 ``[N, C, H, W]``, in the order of the data sets."""
    mean, std = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in pixels[:2])
    return lambda x: (x.permute(0, 3, 1, 2).float() / float(pixels.range) - mean) / std
