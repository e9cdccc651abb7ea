"""Straight-through estimators: what stands in for the derivative of ``sign`` in the backward pass.

An estimator is a function ``derivative(x, progress)`` with the shape and dtype of ``x``; ``progress`` in [0, 1] is the
share of the training schedule that has passed (only EDE and ReSTE look at it). Register a new one in
:data:`ESTIMATORS`; layers choose by name.

===============  ======================================================  ==========================================
name             d sign(x) / dx                                          source
===============  ======================================================  ==========================================
identity         1                                                       Bengio et al., arXiv 1308.3432
identity_clip    1 where |x| <= 1, else 0                                Hubara et al., arXiv 1602.02830
approx_sign      2 − 2|x| where |x| < 1, else 0                          Bi-Real Net, arXiv 1808.00278, eq. 8
ede              k·t·(1 − tanh²(t·x)), t = 10^(−1 + 2·progress),         IR-Net, arXiv 1909.10788, eq. 12
                 k = max(1/t, 1)
reste            (1/o)·|x|^(1/o − 1) for 0.1 <= |x| <= 1.5, the secant   ReSTE, arXiv 2308.06689, eqs. 9 and 11
                 of |x|^(1/o) below, 0 above; o = 1 + 2·progress
===============  ======================================================  ==========================================
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ...runtime.errors import ConfigError

__all__ = [
    "ESTIMATORS",
    "Derivative",
    "approx_sign",
    "ede",
    "find_estimator",
    "identity",
    "identity_clip",
    "reste",
    "signed",
]

Derivative = Callable[[Tensor, float], Tensor]
"""``derivative(x, progress)`` -> tensor like ``x``."""

RESTE_INNER = 0.1
RESTE_OUTER = 1.5


def identity(x: Tensor, progress: float) -> Tensor:
    """Pass every gradient."""
    return torch.ones_like(x)


def identity_clip(x: Tensor, progress: float) -> Tensor:
    """Pass gradients where |x| <= 1."""
    return (x.abs() <= 1).to(x.dtype)


def approx_sign(x: Tensor, progress: float) -> Tensor:
    """Return the derivative of Bi-Real Net's piecewise quadratic: a triangle of height 2 over [−1, 1]."""
    return x.abs().mul_(-2).add_(2).clamp_(min=0)


def ede(x: Tensor, progress: float) -> Tensor:
    """Return the derivative of k·tanh(t·x), which sharpens from nearly linear to nearly a step."""
    t = 10.0 ** (-1.0 + 2.0 * progress)
    k = max(1.0 / t, 1.0)
    return torch.tanh(x * t).square_().neg_().add_(1).mul_(k * t)


def reste(x: Tensor, progress: float) -> Tensor:
    """Return the derivative of sign(x)·|x|^(1/o), bounded near zero by a secant and cut off at 1.5."""
    power = 1.0 / (1.0 + 2.0 * progress)
    size = x.abs()
    slope = size.clamp(min=RESTE_INNER).pow_(power - 1.0).mul_(power)
    slope = torch.where(size < RESTE_INNER, torch.full_like(slope, RESTE_INNER ** (power - 1.0)), slope)
    return torch.where(size <= RESTE_OUTER, slope, torch.zeros_like(slope))


ESTIMATORS: MappingProxyType[str, Derivative] = MappingProxyType(
    {
        "approx_sign": approx_sign,
        "ede": ede,
        "identity": identity,
        "identity_clip": identity_clip,
        "reste": reste,
    }
)


def find_estimator(name: str) -> Derivative:
    """Return the estimator of this name; ConfigError lists the known ones."""
    try:
        return ESTIMATORS[name]
    except KeyError:
        raise ConfigError(f"unknown estimator {name!r}: choose one of {', '.join(ESTIMATORS)}") from None


class SignWithEstimator(torch.autograd.Function):
    """``scale · sign(x)`` with sign(0) = +1 forward; ``gradient · derivative(x, progress)``, unscaled, backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor | None, derivative: Derivative, progress: float) -> Tensor:
        """Return +scale where x >= 0, else −scale (NaN included), in the dtype of x; no scale means 1."""
        ctx.save_for_backward(x)
        ctx.derivative, ctx.progress = derivative, progress
        signs = x.clone().ge_(0).mul_(2).sub_(1)  # floats throughout: by way of bools it took four times as long
        return signs if scale is None else signs.mul_(scale)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        """Multiply the gradient by the surrogate derivative."""
        (x,) = ctx.saved_tensors
        return ctx.derivative(x, ctx.progress).mul_(grad_outputs[0]), None, None, None


def signed(x: Tensor, scale: Tensor | None, derivative: Derivative, progress: float) -> Tensor:
    """Return ``scale · sign(x)``; the gradient is ``derivative(x, progress)``, whatever the scale."""
    return SignWithEstimator.apply(x, scale, derivative, progress)  # type: ignore[no-any-return, no-untyped-call]
