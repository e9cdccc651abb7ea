"""Networks by name. A builder takes ``in_channels``, ``num_classes`` and its own options, and returns a Module.

A network maps float32 ``[N, in_channels, H, W]`` (normalised) to logits ``[N, num_classes]``, is traceable with
``torch.fx`` and contains nothing of the latent branch. Add a builder to :data:`MODELS`.
"""

import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from ..runtime.errors import ConfigError
from .blocks import BinaryBlock, BinaryHead

__all__ = ["MODELS", "DigitsResNet", "build_model", "digits_resnet"]


class DigitsResNet(nn.Module):
    """A small residual network for images of 8×8 pixels: float stem, four binary 3×3, one binary dense layer."""

    def __init__(self, in_channels: int, num_classes: int, width: int, pad_value: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(
            BinaryBlock(width, width, pad_value=pad_value),
            BinaryBlock(width, width, pad_value=pad_value),
            BinaryBlock(width, 2 * width, stride=2, pad_value=pad_value),
            BinaryBlock(2 * width, 2 * width, pad_value=pad_value),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.hidden = BinaryHead(2 * width, 2 * width)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to logits ``[N, num_classes]``."""
        result: Tensor = self.head(self.hidden(self.flatten(self.pool(self.blocks(self.stem(x))))))
        return result


def digits_resnet(*, in_channels: int = 1, num_classes: int = 10, width: int = 32, pad_value: int = 0) -> nn.Module:
    """Build the network of the quick start."""
    return DigitsResNet(in_channels, num_classes, width, pad_value)


MODELS: MappingProxyType[str, Callable[..., nn.Module]] = MappingProxyType({"digits_resnet": digits_resnet})


def build_model(name: str, **options: Any) -> nn.Module:
    """Build the network of this name; ConfigError names an unknown model or an option that it does not have."""
    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}: choose one of {', '.join(sorted(MODELS))}")
    known = inspect.signature(MODELS[name]).parameters
    for option in options:
        if option not in known:
            raise ConfigError(f"model {name!r} has no option {option!r}: it has {', '.join(known)}")
    return MODELS[name](**options)
