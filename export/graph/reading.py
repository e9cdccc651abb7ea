"""Reading an ONNX file that others wrote: whole, with its external data, or one line that says what is wrong."""

import os
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from ...runtime.errors import ModelError

__all__ = ["first_line", "load_onnx"]


def load_onnx(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Return the checked model of a file with every tensor in memory, external ones included.

    Raises ModelError where the file is missing, empty, corrupt, no ONNX model, breaks the rules of
    ``onnx.checker.check_model``, or keeps tensors in a file that is missing, too short or outside its folder.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {file}: {error.strerror or error}; give the path of an .onnx file") from None
    if not data:
        raise ModelError(f"{file} is empty; export or copy it again")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception:
        raise ModelError(f"{file} is not an ONNX model, or it is cut short; export or copy it again") from None
    if not model.graph.output or not model.opset_import:
        raise ModelError(f"{file} is not an ONNX model: it holds no graph; give the path of an .onnx file")
    _bring_external_data(model, file)
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise ModelError(f"{file} is not a valid ONNX model: {first_line(error)}; export it again") from None
    return model


def _bring_external_data(model: onnx.ModelProto, file: Path) -> None:
    outside = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    if not outside:
        return
    names = sorted({entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"})
    try:
        onnx.load_external_data_for_model(model, str(file.parent))
    except Exception as error:
        missing = [name for name in names if not (file.parent / name).is_file()]
        if missing:
            raise ModelError(
                f"{file} keeps its weights in {missing[0]}, which is missing; put it beside the file"
            ) from None
        raise ModelError(
            f"{file}: its weights cannot be read from {', '.join(names)} ({first_line(error)}); export or copy it again"
        ) from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's text without the stop at its end, or the error's type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".:") if lines else type(error).__name__
