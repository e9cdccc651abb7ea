"""Raw pixels as a network's input: normalisation inside the graph, and the exact integer stem.

A file with float input leaves ``(pixel / range − mean) / std`` to its user. With pixels as input the file takes what a
camera or an image decoder gives, uint8 ``[N, H, W, C]``, and nobody can normalise wrongly.
"""

from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...export.folding import round_stem
from ...runtime.errors import ConfigError, UnsupportedError
from ..layers.arguments import pair
from ..layers.channels import per_channel
from .emission import array

__all__ = ["IntegerStem", "PixelInput", "Pixels", "check_pixels"]


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


class PixelInput(nn.Module):
    """uint8 ``[N, H, W, C]`` to normalised float32 ``[N, C, H, W]``, in the order in which data sets normalise."""

    mean: Tensor
    std: Tensor

    def __init__(self, pixels: Pixels) -> None:
        super().__init__()
        self.range = float(pixels.range)
        self.register_buffer("mean", torch.tensor(pixels.mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(pixels.std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(x / range − mean) / std``, channels first."""
        return (x.permute(0, 3, 1, 2).float() / self.range - self.mean) / self.std


class IntegerStem(nn.Module):
    """First convolution over pixels, exact in every executor: ``fl(fl(acc·scale) + bias)``, acc an integer.

    ``acc = Σ weight·(pixel − zero_point)`` with int8 weights ``[O, C, kh, kw]`` and an integer zero point a channel
    (the pixel value nearest to the mean), which is also what lies outside the image. All partial sums stay below 2^24,
    so float32 arithmetic on them is exact in any order. scale, bias float32 ``[O]``.
    """

    weight: Tensor
    zero_point: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(
        self,
        weight: Tensor,
        zero_point: Tensor,
        scale: Tensor,
        bias: Tensor,
        *,
        stride: tuple[int, int],
        padding: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight.to(torch.int8))
        self.register_buffer("zero_point", zero_point.float())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    @classmethod
    def of(cls, conv: nn.Conv2d, pixels: Pixels, name: str) -> Self:
        """Round a folded float convolution over normalised pixels (:func:`latentbit.export.folding.round_stem`).

        Raises UnsupportedError where a sum could reach 2^24, or the padding is not of zeros.
        """
        if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise UnsupportedError(f"{name}: an exact stem takes a convolution with numeric zero padding")
        offset = None if conv.bias is None else array(conv.bias)
        numbers = round_stem(array(conv.weight), offset, pixels, conv.groups, name)
        return cls(
            *(torch.from_numpy(n) for n in numbers),
            stride=pair(conv.stride),
            padding=pair(conv.padding),
            dilation=pair(conv.dilation),
            groups=conv.groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        """uint8 ``[N, H, W, C]`` to float32 ``[N, O, H', W']``."""
        centred = x.permute(0, 3, 1, 2).float() - self.zero_point
        weight = self.weight.float()
        acc = F.conv2d(centred, weight, None, self.stride, self.padding, self.dilation, self.groups).round()
        return acc * per_channel(self.scale, acc) + per_channel(self.bias, acc)
