"""The export wing: a network becomes an ONNX file of packed binary operators; :mod:`.opset` defines them."""

from typing import TYPE_CHECKING

from ..runtime.lazy import lazy

if TYPE_CHECKING:
    from .importing.conversion import convert
    from .importing.inspection import inspect
    from .inline import inline_file
    from .writer import export_onnx

__all__ = ["convert", "export_onnx", "inline_file", "inspect"]

# onnx and onnxscript take a second to import: only when used.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "convert": "importing.conversion",
        "export_onnx": "writer",
        "inline_file": "inline",
        "inspect": "importing.inspection",
    },
)
