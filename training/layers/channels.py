"""Parameters of one value a channel, beside tensors of any rank."""

from torch import Tensor

__all__ = ["minus", "per_channel"]


def per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    """View ``[C]`` so that it broadcasts over axis 1 of ``x`` (``[N,C]``, ``[N,C,H,W]``, …)."""
    return parameter.view(-1, *(1 for _ in range(x.dim() - 2)))


def minus(x: Tensor, parameter: Tensor) -> Tensor:
    """Return ``x − parameter``, the parameter ``[C]`` per channel, in the dtype of ``x``.

    It is computed as a sum with −parameter, which is the same number. The backward pass of a difference would negate a
    gradient of the size of ``x`` before it sums it over each channel.
    """
    return x + per_channel(-parameter.to(x.dtype), x)
