"""Networks by name. A builder takes ``in_channels``, ``num_classes`` and its own options, and returns a Module.

A network maps float32 ``[N, in_channels, H, W]`` (normalised) to logits ``[N, num_classes]``, is traceable with
``torch.fx`` and contains nothing of the latent branch. Add a builder to :data:`MODELS`.
"""

import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from torch import nn

from ...runtime.errors import ConfigError
from .floatnets import float_resnet18, float_resnet20, float_resnet34
from .plainnets import BinaryMLP, BinaryVGG
from .resnets import DigitsResNet, resnet8, resnet18, resnet20, resnet34

__all__ = ["MODELS", "build_model", "model_options"]

MODELS: MappingProxyType[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "digits_resnet": DigitsResNet,
        "float_resnet18": float_resnet18,
        "float_resnet20": float_resnet20,
        "float_resnet34": float_resnet34,
        "mlp": BinaryMLP,
        "resnet18": resnet18,
        "resnet20": resnet20,
        "resnet34": resnet34,
        "resnet8": resnet8,
        "vgg_small": BinaryVGG,
    }
)


def model_options(name: str) -> dict[str, Any]:
    """Return the options of a network with their defaults; ConfigError names an unknown network."""
    if name not in MODELS:
        raise ConfigError(f"unknown model {name!r}: choose one of {', '.join(sorted(MODELS))}")
    return {option: known.default for option, known in inspect.signature(MODELS[name]).parameters.items()}


def build_model(name: str, **options: Any) -> nn.Module:
    """Build the network of this name; ConfigError names an unknown model or an option that it does not have."""
    known = model_options(name)
    for option in options:
        if option not in known:
            raise ConfigError(f"model {name!r} has no option {option!r}: it has {', '.join(known)}")
    return MODELS[name](**options)
