"""Who reads which kind of network: types and readers by name, so that this wing imports neither torch nor training."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ..runtime.errors import UnsupportedError

__all__ = ["find_prover", "find_reader"]

READERS = {"torch.nn.modules.module.Module": ("..training.handover.reader", "read_module")}
"""By the full name of a type, whose subclasses are read as well: the module and the function that read it.

The function is called with a network, an example input and the options that the caller gave; it returns an
``onnx_ir.Model``. Whoever has a torch network has torch, so the module is imported when one is met.
"""

PROVERS = {"torch.nn.modules.module.Module": ("..training.handover.proving.prove", "prove")}
"""Likewise, who compares a file with the network: a function of the network, the example, the bytes and the options."""


def find_reader(network: Any) -> Callable[..., Any]:
    """Return the reader of the nearest base class; UnsupportedError where there is none."""
    return _find(READERS, network)


def find_prover(network: Any) -> Callable[..., Any]:
    """Return the prover of the nearest base class; UnsupportedError where there is none."""
    return _find(PROVERS, network)


def _find(homes: Mapping[str, tuple[str, str]], network: Any) -> Callable[..., Any]:
    for base in type(network).__mro__:
        home = homes.get(f"{base.__module__}.{base.__qualname__}")
        if home is not None:
            found: Callable[..., Any] = getattr(import_module(home[0], __package__), home[1])
            return found
    kind = type(network)
    raise UnsupportedError(
        f"cannot export a {kind.__module__}.{kind.__qualname__}: export takes a torch.nn.Module or an onnx_ir.Model"
    )
