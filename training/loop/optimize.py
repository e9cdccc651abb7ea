"""Where and how weights move: device, optimiser, and the limit of the latent weights."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType

import torch
from torch import nn

from ...runtime.errors import ConfigError
from ..layers.binary import BinaryConv2d, BinaryLinear
from ..settings import Settings, table_of

__all__ = ["OPTIMIZERS", "build_optimizer", "choose_device", "clamp_weights", "set_stage"]

# Fused: one by one, Adam's operations took a tenth of a small network's step.
OPTIMIZERS: MappingProxyType[str, Callable[..., torch.optim.Optimizer]] = table_of(
    "optimizer",
    {
        "adam": partial(torch.optim.Adam, fused=True),
        "adamw": partial(torch.optim.AdamW, fused=True),
        "sgd": partial(torch.optim.SGD, momentum=0.9, fused=True),
    },
)


def choose_device(name: str) -> torch.device:
    """Return the device; ConfigError where it is unknown, or CUDA is asked for and absent."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"train.device = {name!r} is unknown: use cpu, cuda or auto") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"train.device = {name!r}, but torch sees no CUDA device: use cpu or auto")
    return device


def build_optimizer(objective: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Return the optimiser; weight decay acts on matrices and convolution kernels alone."""
    parameters = [p for p in objective.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[settings.optimizer](groups, lr=settings.learning_rate)


def set_stage(optimizer: torch.optim.Optimizer, learning_rate: float, weight_decay: float) -> None:
    """Set the learning rate of all groups, and the weight decay of that of matrices and kernels."""
    for group, decay in zip(optimizer.param_groups, (weight_decay, 0.0), strict=True):
        group["lr"], group["weight_decay"] = learning_rate, decay


@torch.no_grad()
def clamp_weights(network: nn.Module, limit: float) -> None:
    """Clamp the latent weights of binary layers to ±limit, so that none drifts where no gradient turns it back."""
    weights: list[torch.Tensor] = [
        layer.weight for layer in network.modules() if isinstance(layer, BinaryConv2d | BinaryLinear)
    ]
    if weights:
        torch._foreach_clamp_min_(weights, -limit)
        torch._foreach_clamp_max_(weights, limit)
