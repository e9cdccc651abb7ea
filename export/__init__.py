"""Second wing: a network becomes an ONNX file of packed binary operators (the law is in :mod:`.opset`)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .writer import export_onnx

__all__ = ["export_onnx"]


def __getattr__(name: str) -> Any:
    if name == "export_onnx":  # onnx and onnxscript take a second to import: only when used
        from .writer import export_onnx

        return export_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
