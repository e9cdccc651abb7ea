"""Straight-through estimators: what stands in for the derivative of ``sign`` in the backward pass.

An estimator is a function of ``(x, progress)`` that returns this derivative in the shape and dtype of ``x``;
``progress`` in [0, 1] is the share of the training schedule that has passed. Register a new one in :data:`ESTIMATORS`;
layers choose by name.

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

import torch
from torch import Tensor

from ...runtime.errors import ConfigError

__all__ = [
    "ESTIMATORS",
    "STATIC_ESTIMATORS",
    "Estimator",
    "approx_sign",
    "ede",
    "find_estimator",
    "identity",
    "identity_clip",
    "reste",
]

Estimator = Callable[[Tensor, float], Tensor]
"""``estimator(x, progress)`` -> derivative like ``x``."""

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


ESTIMATORS: MappingProxyType[str, Estimator] = MappingProxyType(
    {
        "approx_sign": approx_sign,
        "ede": ede,
        "identity": identity,
        "identity_clip": identity_clip,
        "reste": reste,
    }
)

STATIC_ESTIMATORS = (approx_sign, identity, identity_clip)
"""Those that ignore the progress of the schedule."""


def find_estimator(name: str) -> Estimator:
    """Return the estimator of this name; ConfigError lists the known ones."""
    try:
        return ESTIMATORS[name]
    except KeyError:
        raise ConfigError(f"unknown estimator {name!r}: choose one of {', '.join(ESTIMATORS)}") from None
