"""Second wing: a network becomes an ONNX file of packed binary operators (the law is in :mod:`.opset`)."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .importing.conversion import convert
    from .inline import inline_file
    from .inspection import inspect
    from .writer import export_onnx

__all__ = ["convert", "export_onnx", "inline_file", "inspect"]

_PLACES = {"convert": "importing.conversion", "export_onnx": "writer", "inline_file": "inline", "inspect": "inspection"}


def __getattr__(name: str) -> Any:
    if name in _PLACES:  # onnx and onnxscript take a second to import: only when used
        return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
