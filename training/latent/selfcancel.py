"""The self-cancelling layer of latent variant L4: the value of the binary path, the gradient of both paths."""

from typing import Any

import torch
from torch import Tensor

from ..layers.binary import BinaryConv2d, BinaryLinear
from ..layers.estimators import Estimator
from ..layers.products import Geometry, multiply_binary, product_gradients

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
        geometry: Geometry | None,
        integers: bool,
        estimator: Estimator,
        progress: float,
        eta: float,
    ) -> Tensor:
        out, binary = multiply_binary(signs, weight, geometry, integers)
        ctx.save_for_backward(signs, real, weight, binary)
        ctx.geometry, ctx.estimator, ctx.progress, ctx.eta = geometry, estimator, progress, eta
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        signs, real, weight, binary = ctx.saved_tensors
        gradient = grad_outputs[0]

        def gradients(source: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
            to_source, to_kernel = product_gradients(gradient, source.to(gradient.dtype), kernel, ctx.geometry)
            assert to_source is not None
            assert to_kernel is not None
            return to_source, to_kernel.to(weight.dtype)

        to_signs, of_binary = gradients(signs, binary)
        to_real, of_latent = gradients(real, weight.to(gradient.dtype))
        of_binary = of_binary * ctx.estimator(weight, ctx.progress)
        share = ctx.eta * of_binary.norm() / (of_latent.norm() + EPSILON)
        to_real = to_real * share.to(gradient.dtype)
        of_both = of_binary + share * of_latent
        return to_signs.to(signs.dtype), to_real.to(real.dtype), of_both, None, None, None, None, None


def self_cancel(layer: BinaryConv2d | BinaryLinear, signs: Tensor, real: Tensor, eta: float) -> Tensor:
    """Return exactly a binary layer's output for signs ``[N, C, H, W]`` (or ``[N, K]``).

    ``real``, of the same shape, is what the latent path convolves.
    """
    geometry: Geometry | None = None
    if isinstance(layer, BinaryConv2d):
        geometry = layer.geometry()
        signs, real = layer.pad(signs), layer.pad(real)
    out: Tensor = _BothGradients.apply(  # type: ignore[no-untyped-call]
        signs, real, layer.latent_weight(), geometry, layer.rounds(), layer.estimate, layer.progress, eta
    )
    return out
