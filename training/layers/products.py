"""The product of ±1 activations with α·sign(W): summed over ±1 first and scaled afterwards, as the runtime does it.

Sums of ±1 are integers, which every float type holds exactly or rounds without changing their sign. So a sum that is 0
stays 0, and an RSign behind the layer decides as it does in the exported file. Sums of ±α would be off by a rounding.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .estimators import Estimator
from .signs import signs_of, weight_scale

__all__ = ["Geometry", "binary_product", "multiply_binary", "product_gradients"]

Geometry = tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]
"""Stride, padding, dilation and groups of a convolution."""


def multiply_binary(x: Tensor, weight: Tensor, geometry: Geometry | None, integers: bool) -> tuple[Tensor, Tensor]:
    """Return α·(x ⊛ sign(W)), and α·sign(W) in its dtype for the backward pass; no graph is recorded in between.

    x: ``[N, C, H, W]``, or ``[…, K]`` where ``geometry`` is None.
    integers: round the sums before they are scaled, since a backend that convolves by Winograd or FFT may return 4.9999
    for 5.
    """
    scale = weight_scale(weight)
    signs = signs_of(weight.detach())
    plain = signs.to(x.dtype)
    sums = F.linear(x, plain) if geometry is None else F.conv2d(x, plain, None, *geometry)
    if integers:
        sums.round_()
    over_channels = scale.to(sums.dtype).view(-1) if geometry is None else scale.to(sums.dtype).view(-1, 1, 1)
    return sums.mul_(over_channels), signs.mul_(scale).to(sums.dtype)


def product_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, geometry: Geometry | None, needed: tuple[bool, bool] = (True, True)
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of x and of the weight of a product, each None where it is not needed; all of one dtype."""
    if geometry is not None:
        stride, padding, dilation, groups = geometry
        found: tuple[Tensor | None, Tensor | None, None] = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, stride, padding, dilation, False, (0, 0), groups, (*needed, False)
        )
        return found[:2]
    rows, values = (torch.atleast_2d(tensor).flatten(0, -2) for tensor in (gradient, x))  # type: ignore[no-untyped-call]
    return gradient @ weight if needed[0] else None, rows.T @ values if needed[1] else None


class _BinaryProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        geometry: Geometry | None,
        estimator: Estimator,
        progress: float,
        integers: bool,
    ) -> Tensor:
        out, binary = multiply_binary(x, weight, geometry, integers)
        ctx.save_for_backward(x.to(out.dtype), weight, binary)  # autocast multiplies in another dtype than that of x
        ctx.kind, ctx.geometry, ctx.estimator, ctx.progress = x.dtype, geometry, estimator, progress
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, binary = ctx.saved_tensors
        to_x, to_weight = product_gradients(grad_outputs[0], x, binary, ctx.geometry, ctx.needs_input_grad[:2])
        if to_x is not None:
            to_x = to_x.to(ctx.kind)
        if to_weight is not None:
            to_weight = ctx.estimator(weight, ctx.progress).mul_(to_weight)
        return to_x, to_weight, None, None, None, None


def binary_product(
    x: Tensor, weight: Tensor, geometry: Geometry | None, estimator: Estimator, progress: float, *, integers: bool
) -> Tensor:
    """Return α·(x ⊛ sign(W)), α = mean|W| per output channel; arguments as :func:`multiply_binary` takes them.

    The gradient reaches x through α·sign(W) and W through ``estimator`` alone. That of W is **not** multiplied by α
    (Bi-Real Net and ReActNet do the same): α is small, and the real-valued stream of the latent branch sends an
    unscaled gradient into the same W.
    """
    return _BinaryProduct.apply(  # type: ignore[no-any-return, no-untyped-call]
        x, weight, geometry, estimator, progress, integers
    )
