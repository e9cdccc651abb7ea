"""The modules of a folded network: what is deployed, said in torch.

A folded network is the float reference of the accuracy check. Its layers compute what the exported operators define
(``export/opset.py``): an exact integer accumulation, then ``fl(fl(acc·scale) + bias)`` in float32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.channels import per_channel

__all__ = [
    "Binarize",
    "ChannelAffine",
    "FoldedBinaryConv2d",
    "FoldedBinaryLinear",
    "FoldedWeightConv2d",
    "FoldedWeightLinear",
]


class Binarize(nn.Module):
    """``+1 where x >= threshold, else −1``; threshold float32 ``[C]`` over axis 1."""

    threshold: Tensor

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.register_buffer("threshold", threshold.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return float ±1 of the shape of ``x``; NaN gives −1."""
        return torch.where(x >= per_channel(self.threshold, x), 1.0, -1.0)


class ChannelAffine(nn.Module):
    """``x·scale + shift`` per channel: a batch norm that has no layer before it to be folded into."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("shift", shift.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``fl(fl(x·scale) + shift)``, same shape as ``x`` ``[N, C, ...]``."""
        return x * per_channel(self.scale, x) + per_channel(self.shift, x)


class FoldedBinaryConv2d(nn.Module):
    """Binary convolution with everything behind it folded into ``scale`` and ``bias``.

    signs int8 ±1 ``[O, C/groups, kh, kw]``; scale, bias float32 ``[O]``; strides, dilations ``(y, x)``;
    pads ``(top, left, bottom, right)``; pad_value −1, 0 or +1.
    """

    signs: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(
        self,
        signs: Tensor,
        scale: Tensor,
        bias: Tensor,
        *,
        strides: tuple[int, int],
        pads: tuple[int, int, int, int],
        dilations: tuple[int, int],
        groups: int,
        pad_value: float,
    ) -> None:
        super().__init__()
        self.register_buffer("signs", signs.detach().to(torch.int8))
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("bias", bias.detach().clone())
        self.strides, self.pads, self.dilations = strides, pads, dilations
        self.groups, self.pad_value = groups, pad_value

    def accumulate(self, x: Tensor) -> Tensor:
        """Return the integer accumulation as float ``[N, O, H', W']`` for x ±1 ``[N, C, H, W]``."""
        top, left, bottom, right = self.pads
        padded = F.pad(x, (left, right, top, bottom), value=self.pad_value)
        weight = self.signs.to(x.dtype)
        # round: a backend that convolves by Winograd or FFT may return 4.9999 for 5.
        return F.conv2d(padded, weight, None, self.strides, 0, self.dilations, self.groups).round()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``fl(fl(acc·scale) + bias)``, ``[N, O, H', W']``."""
        acc = self.accumulate(x)
        return acc * per_channel(self.scale, acc) + per_channel(self.bias, acc)


class FoldedBinaryLinear(nn.Module):
    """Binary dense layer with everything behind it folded; signs int8 ±1 ``[O, K]``, scale and bias float32 ``[O]``."""

    signs: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, signs: Tensor, scale: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("signs", signs.detach().to(torch.int8))
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("bias", bias.detach().clone())

    def accumulate(self, x: Tensor) -> Tensor:
        """Return the integer accumulation as float ``[N, O]`` for x ±1 ``[N, K]``."""
        return F.linear(x, self.signs.to(x.dtype)).round()

    def forward(self, x: Tensor) -> Tensor:
        """Return ``fl(fl(acc·scale) + bias)``, ``[N, O]``."""
        return self.accumulate(x) * self.scale + self.bias


class FoldedWeightConv2d(FoldedBinaryConv2d):
    """Convolution of a real input with signs: ``conv(x, signs)·scale + bias``; a float sum, so no rounding."""

    def accumulate(self, x: Tensor) -> Tensor:
        """Return the float sums ``[N, O, H', W']`` for real x ``[N, C, H, W]``, padded with zeros."""
        top, left, bottom, right = self.pads
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, self.signs.to(x.dtype), None, self.strides, 0, self.dilations, self.groups)


class FoldedWeightLinear(FoldedBinaryLinear):
    """Dense layer of a real input with signs: ``(x·signsᵀ)·scale + bias``."""

    def accumulate(self, x: Tensor) -> Tensor:
        """Return the float sums ``[N, O]`` for real x ``[N, K]``."""
        return F.linear(x, self.signs.to(x.dtype))
