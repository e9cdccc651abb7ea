"""Binarisation of activations and weights: the forward law, with an estimator for the backward pass.

The forward law is that of :mod:`latentbit.runtime.bits`: ``sign(x) = +1`` where ``x >= 0``, else −1.
"""

from typing import Any

import torch
from torch import Tensor

from .estimators import Estimator, approx_sign, identity_clip

__all__ = ["binary_weight", "sign", "weight_scale"]


class _Sign(torch.autograd.Function):
    """``scale · sign(x)`` forward; ``gradient · estimator(x, progress)``, unscaled, backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None, estimator: Estimator, progress: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.estimator, ctx.progress = estimator, progress
        signs = x.clone().ge_(0).mul_(2).sub_(1)  # floats throughout: by way of bools it took four times as long
        return signs if scale is None else signs.mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return ctx.estimator(x, ctx.progress).mul_(grad_outputs[0]), None, None, None


def sign(
    x: Tensor, estimator: Estimator = approx_sign, progress: float = 0.0, *, scale: Tensor | None = None
) -> Tensor:
    """Return ``scale · sign(x)`` in the shape and dtype of ``x``; no scale means 1, NaN counts as negative.

    The gradient is ``estimator(x, progress)`` (:mod:`.estimators`), whatever the scale.
    """
    return _Sign.apply(x, scale, estimator, progress)  # type: ignore[no-any-return, no-untyped-call]


def weight_scale(weight: Tensor) -> Tensor:
    """Return α = mean|W| per output channel, shape ``[O, 1, …]``, detached (XNOR-Net, arXiv 1603.05279, eq. 6).

    Detached because batch norm follows: the scale would only add a gradient that batch norm undoes.
    """
    return weight.detach().abs().mean(dim=tuple(range(1, weight.dim())), keepdim=True)


def binary_weight(weight: Tensor, estimator: Estimator = identity_clip, progress: float = 0.0) -> Tensor:
    """Return α·sign(W) with the shape of ``weight``; the gradient reaches W through ``estimator`` alone.

    The gradient is **not** multiplied by α (Bi-Real Net and ReActNet do the same): α is small, and the real-valued
    stream of the latent branch sends an unscaled gradient into the same W.
    """
    return sign(weight, estimator, progress, scale=weight_scale(weight))
