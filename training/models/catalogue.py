"""Networks by name. A builder takes ``in_channels``, ``num_classes`` and its own options, and returns a Module.

A name ``package.module:function`` is a function of the user's, called with those of these options that it takes.

A network maps float32 ``[N, in_channels, H, W]`` (normalised) to logits ``[N, num_classes]`` and contains nothing of
the latent branch. Add a builder to :data:`MODELS`.
"""

import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from torch import nn

from ...runtime.errors import ConfigError, LatentbitError
from ...runtime.imported import arguments_for, explain, import_function, is_named
from .floatnets import float_digits_resnet, float_resnet8, float_resnet18, float_resnet20, float_resnet34
from .plainnets import BinaryMLP, BinaryVGG
from .resnets import DigitsResNet, resnet8, resnet18, resnet20, resnet34

__all__ = ["MODELS", "build_model", "model_options"]

MODELS: MappingProxyType[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "digits_resnet": DigitsResNet,
        "float_digits_resnet": float_digits_resnet,
        "float_resnet18": float_resnet18,
        "float_resnet20": float_resnet20,
        "float_resnet34": float_resnet34,
        "float_resnet8": float_resnet8,
        "mlp": BinaryMLP,
        "resnet18": resnet18,
        "resnet20": resnet20,
        "resnet34": resnet34,
        "resnet8": resnet8,
        "vgg_small": BinaryVGG,
    }
)


def model_options(name: str, code: str = "") -> dict[str, Any]:
    """Return the options of a network with their defaults, ``any`` among them if it takes all.

    ConfigError names an unknown network, or says why a function of the user's cannot be imported from ``code``.
    """
    kinds = {parameter.name: parameter for parameter in inspect.signature(_builder(name, code)).parameters.values()}
    return {
        "any" if known.kind is known.VAR_KEYWORD else option: known.default
        for option, known in kinds.items()
        if known.kind is not known.VAR_POSITIONAL
    }


def build_model(name: str, *, code: str = "", **options: Any) -> nn.Module:
    """Build the network of this name; functions of the user's are imported from the folder ``code`` (empty: current).

    ConfigError names an unknown model, an option that it does not have or needs, or what the user's function did.
    """
    builder = _builder(name, code)
    known = arguments_for("train.model", name, builder, options)
    for option in options:
        if option not in known:
            has = ", ".join(inspect.signature(builder).parameters) or "none"
            raise ConfigError(f"model {name!r} has no option {option!r}: it has {has}")
    if name in MODELS:
        return builder(**options)
    try:
        network = builder(**options)
    except LatentbitError:
        raise
    except Exception as error:
        raise ConfigError(f"train.model = {name!r} failed: {explain(error)}") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"train.model = {name!r} returned a {type(network).__name__}: return a torch.nn.Module")
    return network


def _builder(name: str, code: str) -> Callable[..., nn.Module]:
    if name in MODELS:
        return MODELS[name]
    if not is_named(name):
        known = ", ".join(sorted(MODELS))
        raise ConfigError(f"unknown model {name!r}: choose one of {known}, or package.module:function")
    builder = import_function("train.model", name, code)
    if isinstance(builder, nn.Module):
        raise ConfigError(f"train.model = {name!r} is a network: name a function that makes a new one")
    return builder
