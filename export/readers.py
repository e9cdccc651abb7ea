"""Who can read which kind of network: types of other packages by name, so that this wing imports none of them."""

import importlib
from collections.abc import Callable
from typing import Any

from ..runtime.errors import UnsupportedError

__all__ = ["find_reader", "register_reader"]

_READERS: dict[str, str] = {}


def register_reader(type_name: str, target: str) -> None:
    """Let ``target`` (``"package.module:function"``, imported on first use) read networks of the type of this name.

    type_name: ``"package.module.Type"``; its subclasses are read as well. The function is called with the network, an
    example input and the reader's own options, and returns an ``onnx_ir.Model``.
    """
    _READERS[type_name] = target


def find_reader(network: Any) -> Callable[..., Any]:
    """Return the reader of the nearest base class; UnsupportedError if none is registered."""
    for base in type(network).__mro__:
        target = _READERS.get(f"{base.__module__}.{base.__qualname__}")
        if target is not None:
            module, function = target.split(":")
            reader: Callable[..., Any] = getattr(importlib.import_module(module), function)
            return reader
    kind = type(network)
    raise UnsupportedError(
        f"cannot export a {kind.__module__}.{kind.__qualname__}: export takes a torch.nn.Module "
        "(`import latentbit.training` teaches it to read them) or an onnx_ir.Model"
    )
