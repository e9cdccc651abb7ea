"""Signs of activations and weights, with an estimator for the backward pass; the scale of a weight's signs.

The forward law is that of :mod:`latentbit.runtime.bits`: ``sign(x) = +1`` where ``x >= 0``, else −1.
"""

from typing import Any

import torch
from torch import Tensor

from .estimators import Estimator, approx_sign

__all__ = ["sign", "signs_of", "weight_scale"]


class _Sign(torch.autograd.Function):
    """``sign(x)`` forward; ``gradient · estimator(x, progress)`` backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, estimator: Estimator, progress: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.estimator, ctx.progress = estimator, progress
        return signs_of(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return ctx.estimator(x, ctx.progress).mul_(grad_outputs[0]), None, None


def signs_of(x: Tensor) -> Tensor:
    """Return ``sign(x)`` in the shape, dtype and strides of ``x``, a new tensor; NaN counts as negative."""
    return x.clone().ge_(0).mul_(2).sub_(1)  # floats throughout: by way of bools it took four times as long


def sign(x: Tensor, estimator: Estimator = approx_sign, progress: float = 0.0) -> Tensor:
    """Return ``sign(x)`` as :func:`signs_of` does; its gradient is ``estimator(x, progress)`` (:mod:`.estimators`)."""
    return _Sign.apply(x, estimator, progress)  # type: ignore[no-any-return, no-untyped-call]


def weight_scale(weight: Tensor) -> Tensor:
    """Return α = mean|W| per output channel, shape ``[O, 1, …]``, detached (XNOR-Net, arXiv 1603.05279, eq. 6).

    Detached because batch norm follows: the scale would only add a gradient that batch norm undoes.
    """
    return weight.detach().abs().mean(dim=tuple(range(1, weight.dim())), keepdim=True)
