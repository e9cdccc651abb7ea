"""Kinds of blocks that the residual networks can consist of: what others have proposed, over the same binary layers.

A kind is a function ``(in_channels, out_channels, stride, count, **common)`` that returns the modules of a stage of
``count`` binary 3×3 convolutions from the first, strided one on; ``common`` are ``pad_value``, ``downsample_kind`` and
``norm``. Register a new one in :data:`BLOCKS`.

=========  =============================================================================================================
kind       a block, with a = sign, B(W) the binary weights, ρ = RPReLU, S the shortcut
=========  =============================================================================================================
residual   ρ(BN(a ⊛ B(W)) + S(x)): a shortcut around every convolution (Bi-Real Net, arXiv 1808.00278)
pair       a shortcut around two convolutions, as in float ResNets: what "double residual" is compared with
           (de Putter and Corporaal, arXiv 2206.12322)
plain      no shortcuts
fractal    ρ(½(two convolutions in a row + one beside them) + S(x)): columns of two depths, a path of another length for
           the gradient; one and a half times the convolutions of a pair. After the residual fractals of SoFAr
           (arXiv 2009.05317) by the authors of "Improving Gradient Paths for Binary CNNs", whose text we could not read
ghost      half of the channels by a binary convolution, the other half from these by a binary depthwise one; after
           "Ghost and Attention in BNN" (IEEE Access 10, 2022), reconstructed from its abstract and GhostNet
           (arXiv 1911.11907)
attention  residual, whose convolved features y become y·sigmoid(w·BN(y)), w = |γ| / Σ|γ| of this norm (NAM,
           arXiv 2111.12419); no pooling, so it is a function of each value alone
=========  =============================================================================================================
"""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import ConfigError
from ..layers.binary import BinaryConv2d, RPReLU, RSign
from .blocks import BinaryBlock, around

__all__ = ["BLOCKS", "build_stage"]


class _Bare(BinaryBlock):
    """A block without its shortcut."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__(in_channels, out_channels, **options)
        self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """ρ(BN(a ⊛ B(W)))."""
        result: Tensor = self.act(self.convolved(x))
        return result


class PairBlock(nn.Module):
    """Two binary convolutions inside of one shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, downsample_kind: str, **common: Any
    ) -> None:
        super().__init__()
        self.first = _Bare(in_channels, out_channels, stride=stride, **common)
        self.second = _Bare(out_channels, out_channels, **common)
        self.second.act = nn.Identity()
        self.shortcut = around(in_channels, out_channels, stride, downsample_kind)
        self.act = RPReLU(out_channels)

    def features(self, x: Tensor) -> Tensor:
        """Return what the shortcut is added to."""
        result: Tensor = self.second(self.first(x))
        return result

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to ``[N, out_channels, ceil(H/stride), ceil(W/stride)]``."""
        result: Tensor = self.act(self.features(x) + self.shortcut(x))
        return result


class FractalBlock(PairBlock):
    """The mean of two convolutions in a row and of one beside them, inside of one shortcut."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, downsample_kind: str, **common: Any
    ) -> None:
        super().__init__(in_channels, out_channels, stride=stride, downsample_kind=downsample_kind, **common)
        self.beside = _Bare(in_channels, out_channels, stride=stride, **common)
        self.beside.act = nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        """Return the mean of both columns."""
        result: Tensor = (super().features(x) + self.beside(x)) / 2
        return result


class GhostBlock(BinaryBlock):
    """Half of the channels by a binary convolution, half by a binary depthwise 3×3 over these."""

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int, pad_value: int, downsample_kind: str, norm: str
    ) -> None:
        if out_channels % 2:
            raise ConfigError(f"ghost blocks need an even number of channels, not {out_channels}: take an even width")
        half = out_channels // 2
        super().__init__(in_channels, half, stride=stride, pad_value=pad_value, norm=norm)
        self.shortcut = around(in_channels, out_channels, stride, downsample_kind)
        self.act = RPReLU(out_channels)
        self.ghost = nn.Sequential(
            RSign(half),
            BinaryConv2d(half, half, 3, padding=1, groups=half, pad_value=pad_value),
            nn.BatchNorm2d(half),
        )

    def convolved(self, x: Tensor) -> Tensor:
        """Return the convolved half and its ghosts, ``[N, out_channels, …]``."""
        own = super().convolved(x)
        return torch.cat((own, self.ghost(own)), 1)


class AttentionBlock(BinaryBlock):
    """A residual block whose features are weighed, each by itself, by the scales of a batch norm."""

    def __init__(self, in_channels: int, out_channels: int, **options: Any) -> None:
        super().__init__(in_channels, out_channels, **options)
        self.weighing = nn.BatchNorm2d(out_channels)

    def convolved(self, x: Tensor) -> Tensor:
        """y·sigmoid(w·BN(y)), w = |γ| / Σ|γ|."""
        features = super().convolved(x)
        size = self.weighing.weight.abs()
        weight = (size / size.sum()).view(-1, 1, 1)
        return features * torch.sigmoid(weight * self.weighing(features))


def _stage(
    kind: type[nn.Module], size: int, before: int, channels: int, stride: int, count: int, **common: Any
) -> list[nn.Module]:
    """Return blocks of ``size`` convolutions each, ``count`` in all."""
    return [
        kind(channels if number else before, channels, stride=1 if number else stride, **common)
        for number in range(count // size)
    ]


BLOCKS: MappingProxyType[str, Callable[..., list[nn.Module]]] = MappingProxyType(
    {
        "attention": partial(_stage, AttentionBlock, 1),
        "fractal": partial(_stage, FractalBlock, 2),
        "ghost": partial(_stage, GhostBlock, 1),
        "pair": partial(_stage, PairBlock, 2),
        "plain": partial(_stage, _Bare, 1),
        "residual": partial(_stage, BinaryBlock, 1),
    }
)


def build_stage(kind: str, before: int, channels: int, stride: int, count: int, **common: Any) -> list[nn.Module]:
    """Return the blocks of a stage with ``count`` binary 3×3 convolutions; ConfigError lists the known kinds."""
    if kind not in BLOCKS:
        raise ConfigError(f"unknown block {kind!r}: choose one of {', '.join(BLOCKS)}")
    return BLOCKS[kind](before, channels, stride, count, **common)
