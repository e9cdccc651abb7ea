"""Binarisation of activations and weights: the forward law, with an estimator for the backward pass.

The forward law is that of :mod:`latentbit.runtime.bits`: ``sign(x) = +1`` where ``x >= 0``, else −1.
"""

from torch import Tensor

from .estimators import Derivative, approx_sign, identity_clip, signed

__all__ = ["binary_weight", "sign", "weight_scale"]


def sign(x: Tensor, derivative: Derivative = approx_sign, progress: float = 0.0) -> Tensor:
    """Return ±1 in the shape and dtype of ``x``, with ``derivative`` as gradient (see :mod:`.estimators`)."""
    return signed(x, None, derivative, progress)


def weight_scale(weight: Tensor) -> Tensor:
    """Return α = mean|W| per output channel, shape ``[O, 1, …]``, detached (XNOR-Net, arXiv 1603.05279, eq. 6).

    Detached because batch norm follows: the scale would only add a gradient that batch norm undoes.
    """
    return weight.detach().abs().mean(dim=tuple(range(1, weight.dim())), keepdim=True)


def binary_weight(weight: Tensor, derivative: Derivative = identity_clip, progress: float = 0.0) -> Tensor:
    """Return α·sign(W) with the shape of ``weight``; the gradient reaches W through ``derivative`` alone.

    The gradient is **not** multiplied by α (Bi-Real Net and ReActNet do the same): α is small, and the real-valued
    stream of the latent branch sends an unscaled gradient into the same W.
    """
    return signed(weight, weight_scale(weight), derivative, progress)
