"""Layers of a binary network, usable alone in any ``torch.nn.Module`` and training loop.

>>> import torch
>>> from latentbit.training import BinaryConv2d, RPReLU, RSign
>>> block = torch.nn.Sequential(RSign(8), BinaryConv2d(8, 16, 3, padding=1), torch.nn.BatchNorm2d(16), RPReLU(16))
>>> block(torch.randn(2, 8, 5, 5)).shape
torch.Size([2, 16, 5, 5])

None holds anything of the latent branch: that is built over a network, for training only (:mod:`..latent`).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...runtime.errors import ConfigError
from .arguments import pair, require_positive
from .channels import minus, per_channel
from .estimators import STATIC_ESTIMATORS, find_estimator
from .levels import to_levels
from .products import Geometry
from .signs import sign
from .weights import LatentWeightLayer

__all__ = ["BinaryConv2d", "BinaryLinear", "RPReLU", "RSign", "set_progress"]


class RSign(nn.Module):
    """Sign with a learned threshold a channel: +1 where ``x − threshold >= 0``, else −1 (ReActNet, 2003.03488, eq. 1).

    Input and output ``[N, C, …]`` of one dtype. ``estimator`` names the surrogate derivative. Another number of
    ``bits`` than 1 gives so many levels, and 0 hardtanh(x − threshold), in stages of training (:mod:`.stages`).
    """

    def __init__(self, channels: int, *, estimator: str = "approx_sign") -> None:
        super().__init__()
        require_positive("RSign", channels=channels)
        self.channels, self.progress, self.bits = channels, 0.0, 1
        self.choose(estimator)
        self.threshold = nn.Parameter(torch.zeros(channels))

    def choose(self, estimator: str) -> None:
        """Choose the surrogate derivative."""
        self.estimator, self.estimate = estimator, find_estimator(estimator)

    def set_progress(self, progress: float) -> None:
        """Store the share of the schedule that has passed.

        Skipped where it is ignored: ``torch.compile`` would compile the step again for every new value.
        """
        if self.estimate not in STATIC_ESTIMATORS:
            self.progress = progress

    def forward(self, x: Tensor) -> Tensor:
        """Return ±1 of the shape of ``x``."""
        moved = minus(x, self.threshold)
        return sign(moved, self.estimate, self.progress) if self.bits == 1 else to_levels(moved, self.bits)

    def extra_repr(self) -> str:
        """Describe the layer."""
        return f"{self.channels}, estimator={self.estimator!r}"


class _PReLU(torch.autograd.Function):
    """``F.prelu`` with a leaner backward pass: torch's own took a tenth of a CPU training step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        x, slope = ctx.saved_tensors
        gradient = grad_outputs[0]
        axes = [axis for axis in range(x.dim()) if axis != 1]
        grad_slope = x.clamp(max=0).mul_(gradient).sum(axes)
        # No torch.where: on a CPU it branches at every element, and the signs of activations cannot be predicted.
        positive = torch.ops.aten.threshold_backward(gradient, x, 0)
        return positive.lerp_(gradient, per_channel(slope, x)), grad_slope


class RPReLU(nn.Module):
    """``prelu(x − shift_in, slope) + shift_out``, all learned per channel (ReActNet, arXiv 2003.03488, eq. 2)."""

    def __init__(self, channels: int, *, slope: float = 0.25) -> None:
        super().__init__()
        require_positive("RPReLU", channels=channels)
        self.channels = channels
        self.shift_in = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), float(slope)))
        self.shift_out = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of ``x`` (``[N, C, …]``)."""
        bent: Tensor = _PReLU.apply(minus(x, self.shift_in), self.slope.to(x.dtype))  # type: ignore[no-untyped-call]
        return bent.add_(per_channel(self.shift_out.to(x.dtype), x))

    def extra_repr(self) -> str:
        """Describe the layer."""
        return f"{self.channels}"


class BinaryConv2d(LatentWeightLayer):
    """Convolution of ±1 inputs with α·sign(W), α = mean|W| per output channel; no bias (batch norm follows).

    Input ``[N, in_channels, H, W]``, already ±1 (from :class:`RSign`). ``pad_value`` (−1, 0 or +1) is what lies outside
    the image: a property of the layer, used in training and carried to the exported file.
    W starts with zero mean: the latent branch uses it as a real-valued weight.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        pad_value: int = 0,
        estimator: str = "identity_clip",
    ) -> None:
        require_positive("BinaryConv2d", in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ConfigError(
                f"BinaryConv2d: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        if pad_value not in (-1, 0, 1):
            raise ConfigError(f"BinaryConv2d: pad_value must be -1, 0 or 1, not {pad_value!r}")
        size = pair(kernel_size, "BinaryConv2d: kernel_size", 1)
        super().__init__((out_channels, in_channels // groups, *size), estimator)
        self.in_channels, self.out_channels, self.groups, self.kernel_size = in_channels, out_channels, groups, size
        self.stride = pair(stride, "BinaryConv2d: stride", 1)
        self.padding = pair(padding, "BinaryConv2d: padding")
        self.dilation = pair(dilation, "BinaryConv2d: dilation", 1)
        self.pad_value = int(pad_value)

    def pad(self, x: Tensor) -> Tensor:
        """Pad with −1 or +1; zero padding is left to the convolution."""
        if self.pad_value == 0 or not any(self.padding):
            return x
        height, width = self.padding
        return F.pad(x, (width, width, height, height), value=float(self.pad_value))

    def geometry(self) -> Geometry:
        """Return stride, padding, dilation and groups as a convolution takes them behind :meth:`pad`."""
        return self.stride, self.padding if self.pad_value == 0 else (0, 0), self.dilation, self.groups

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve ``x`` with a given weight under this layer's geometry and pad value (both streams use this)."""
        return F.conv2d(self.pad(x), weight, None, *self.geometry())

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[N, out_channels, H', W']``: exact integers times α."""
        if self.bits != 1:
            return self.convolve(x, self.finer_weight().to(x.dtype))
        return self.product(self.pad(x), self.latent_weight(), self.geometry())

    def extra_repr(self) -> str:
        """Describe the layer."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, pad_value={self.pad_value}"
        )


class BinaryLinear(LatentWeightLayer):
    """Dense layer of ±1 inputs ``[…, in_features]`` with α·sign(W), W ``[out_features, in_features]``; no bias."""

    def __init__(self, in_features: int, out_features: int, *, estimator: str = "identity_clip") -> None:
        require_positive("BinaryLinear", in_features=in_features, out_features=out_features)
        super().__init__((out_features, in_features), estimator)
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[…, out_features]``: exact integers times α."""
        if self.bits != 1:
            return F.linear(x, self.finer_weight().to(x.dtype))
        return self.product(x, self.latent_weight(), None)

    def extra_repr(self) -> str:
        """Describe the layer."""
        return f"{self.in_features}, {self.out_features}"


def set_progress(module: nn.Module, progress: float) -> None:
    """Tell every layer in ``module`` the share of the schedule that has passed, for EDE, ReSTE and ReCU."""
    for layer in module.modules():
        if isinstance(layer, RSign | LatentWeightLayer):
            layer.set_progress(progress)
