"""Who reads which kind of network: types and readers by name, so that this wing imports neither torch nor training."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..runtime.errors import UnsupportedError

__all__ = ["find_reader"]

READERS = {"torch.nn.modules.module.Module": ("..training.handover.reader", "read_module")}
"""By the full name of a type, whose subclasses are read as well: the module and the function that read it.

The function is called with a network, an example input and the options that the caller gave; it returns an
``onnx_ir.Model``. Whoever has a torch network has torch, so the module is imported when one is met.
"""


def find_reader(network: Any) -> Callable[..., Any]:
    """Return the reader of the nearest base class; UnsupportedError where there is none."""
    for base in type(network).__mro__:
        home = READERS.get(f"{base.__module__}.{base.__qualname__}")
        if home is not None:
            reader: Callable[..., Any] = getattr(import_module(home[0], __package__), home[1])
            return reader
    kind = type(network)
    raise UnsupportedError(
        f"cannot export a {kind.__module__}.{kind.__qualname__}: export takes a torch.nn.Module or an onnx_ir.Model"
    )
