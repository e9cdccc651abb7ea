"""The self-cancelling layer of latent variant L4: the value of the binary path, the gradient of both paths."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..layers.binary import BinaryConv2d, BinaryLinear
from ..layers.estimators import Estimator
from ..layers.signs import weight_scale

__all__ = ["self_cancel"]

EPSILON = 1e-12


class _BothGradients(torch.autograd.Function):
    """y = a ⊛ α·sign(W), a product where geometry is None.

    Backward as if y were y_b + λ·(y_w − sg y_w), y_w = x ⊛ W, λ = η·‖g_b‖/(‖g_w‖ + ε).
    """

    @staticmethod
    def forward(
        ctx: Any,
        signs: Tensor,
        real: Tensor,
        weight: Tensor,
        geometry: tuple[Any, ...] | None,
        estimator: Estimator,
        progress: float,
        eta: float,
    ) -> Tensor:
        scale = weight_scale(weight)
        binary = torch.where(weight >= 0, scale, -scale).to(signs.dtype)
        ctx.save_for_backward(signs, real, weight, binary)
        ctx.geometry, ctx.estimator, ctx.progress, ctx.eta = geometry, estimator, progress, eta
        return F.linear(signs, binary) if geometry is None else F.conv2d(signs, binary, None, *geometry)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        signs, real, weight, binary = ctx.saved_tensors

        def gradients(source: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
            if ctx.geometry is None:
                return grad_outputs[0] @ kernel, (grad_outputs[0].T @ source).to(weight.dtype)
            stride, padding, dilation, groups = ctx.geometry
            found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
                grad_outputs[0], source, kernel, None, stride, padding, dilation, False, (0, 0), groups,
                (True, True, False),
            )  # fmt: skip
            return found[0], found[1].to(weight.dtype)

        to_signs, of_binary = gradients(signs, binary)
        to_real, of_latent = gradients(real, weight.to(real.dtype))
        of_binary = of_binary * ctx.estimator(weight, ctx.progress)
        share = ctx.eta * of_binary.norm() / (of_latent.norm() + EPSILON)
        return to_signs, to_real * share.to(real.dtype), of_binary + share * of_latent, None, None, None, None


def self_cancel(layer: BinaryConv2d | BinaryLinear, signs: Tensor, real: Tensor, eta: float) -> Tensor:
    """Return exactly a binary layer's output for signs ``[N, C, H, W]`` (or ``[N, K]``).

    ``real``, of the same shape, is what the latent path convolves.
    """
    geometry = None
    if isinstance(layer, BinaryConv2d):
        geometry = layer.geometry()
        signs, real = layer.pad(signs), layer.pad(real)
    out: Tensor = _BothGradients.apply(  # type: ignore[no-untyped-call]
        signs, real, layer.latent_weight(), geometry, layer.estimate, layer.progress, eta
    )
    return out
