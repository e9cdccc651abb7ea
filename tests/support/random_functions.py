"""Functions of torch that keep the shape of what they read; those of :data:`INPLACE` read again what they changed."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["FUNCTIONS", "INPLACE"]


def _second_half(x: Tensor) -> Tensor:
    y = x * 2.0
    y[:, : (x.shape[1] + 1) // 2] = 0.5
    return y


FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    torch.relu, F.silu, F.hardswish, torch.tanh, torch.abs, torch.exp, torch.neg, torch.square, torch.sin, torch.erf,
    lambda x: F.leaky_relu(x, 0.2), lambda x: F.gelu(x, approximate="tanh"), lambda x: x.clamp(-1, 1),
    lambda x: x.softmax(1),
    lambda x: x.clamp(min=0.1), lambda x: F.normalize(x + 2, dim=1), lambda x: x.log_softmax(-1),
    lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: F.threshold(x, 0.1, 2.0), lambda x: x / (1 + x.abs()),
    lambda x: x.pow(2).add(1).sqrt(), lambda x: torch.maximum(x, -x * 0.5), lambda x: x * len(x.shape), lambda x: 1 - x,
    lambda x: x.flip(1), lambda x: x.roll(1, 1), lambda x: x.cumsum(1), lambda x: torch.addcmul(x, x, x, value=0.5),
    lambda x: torch.lerp(x, x.abs(), 0.3), lambda x: x.double().float() * 2, _second_half,
    lambda x: x.sort(dim=1, descending=True)[0], lambda x: F.hardtanh(x, -0.5, 2),
    lambda x: (x > 0).float() - x.ge(0.5).to(x.dtype),
)  # fmt: skip


def _iadd(x: Tensor) -> Tensor:
    y = x * 1.5
    z = y
    z += 1.0
    return y * z


def _into_a_view(x: Tensor) -> Tensor:
    y = x + 0.0
    y[:, :1].mul_(3.0)
    return y


def _input_changed(x: Tensor) -> Tensor:
    kept = x.flatten(1)
    x.add_(1.0)
    return x + kept.mean(1).view(-1, *[1] * (x.dim() - 1))


INPLACE: tuple[Callable[[Tensor], Tensor], ...] = (
    _iadd, _into_a_view, _input_changed,
    lambda x: (lambda y: F.relu_(y) + y)(x * 1.0),
    lambda x: (lambda y: torch.cat([F.leaky_relu_(y, 0.2), y], 1))(x * 1.0),
    lambda x: (lambda y: y.clamp_(min=0) * y)(x * 1.0), lambda x: x.clone().mul_(2).sub_(1).sigmoid_(),
)  # fmt: skip
