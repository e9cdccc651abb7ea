"""Reading an ONNX file that others wrote: whole, with its external data, or one line that says what is wrong."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import onnx
import onnx.inliner
import onnx_ir as ir
from onnx.external_data_helper import uses_external_data

from ...runtime.errors import ModelError, first_line
from ...runtime.intake.source import parse_model
from ...runtime.operators import STANDARD_DOMAINS

__all__ = ["OnnxFile", "inlined", "load_onnx", "standard_opset", "to_graph", "to_proto"]

Source = TypeVar("Source")
Result = TypeVar("Result")


@dataclass(frozen=True)
class OnnxFile:
    """A file that has been read: its model with every tensor in memory, and its bytes with those of external data."""

    path: Path
    model: onnx.ModelProto
    size: int


def load_onnx(
    path: str | os.PathLike[str], accept: Callable[[onnx.ModelProto], None] | None = None, *, check: bool = True
) -> OnnxFile:
    """Read and check a file, once; tensors that it keeps in other files are loaded too.

    accept: completes the model before it is checked. An output may have no shape, though ONNX's check wants one.
    check: without it a file is read that ONNX's check would refuse, to be looked at.
    Raises ModelError where the file is missing, empty, corrupt, no ONNX model, breaks the rules of
    ``onnx.checker.check_model``, or keeps tensors in a file that is missing, too short or outside its folder.
    """
    file = Path(path)
    model = parse_model(file, external=True)
    outside = _bring_external_data(model, file)
    if accept is not None:
        accept(model)
    if check:
        _check(model, file)
    return OnnxFile(file, model, sum(part.stat().st_size for part in (file, *outside)))


def _check(model: onnx.ModelProto, file: Path) -> None:
    """Run ONNX's check, in which an output without a shape stands as a scalar; the check looks at no shape."""
    bare = [info for info in model.graph.output if _is_bare(info)]
    for info in bare:
        info.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise ModelError(f"{file} is not a valid ONNX model: {_in_one_line(error)}; export it again") from None
    finally:
        for info in bare:
            info.type.tensor_type.ClearField("shape")


def _is_bare(info: onnx.ValueInfoProto) -> bool:
    return info.type.HasField("tensor_type") and not info.type.tensor_type.HasField("shape")


def _in_one_line(error: Exception) -> str:
    """Return what ONNX's check says, which names the node behind its first line, at most 300 characters of it."""
    words = " ".join(str(error).replace("\n\n==> Context: ", "; ").split())
    return words if len(words) <= 300 else f"{words[:297]}..."


def _bring_external_data(model: onnx.ModelProto, file: Path) -> list[Path]:
    """Load the tensors that lie in other files, and return those files."""
    outside = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    if not outside:
        return []
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
    return [file.parent / name for name in names]


def standard_opset(model: onnx.ModelProto) -> int:
    """Return the version of the standard operators that a model is written in."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in STANDARD_DOMAINS), 1)


def to_graph(proto: onnx.ModelProto) -> ir.Model:
    """Return a model of onnx-ir; ModelError for one that ONNX's check lets pass and onnx-ir cannot read."""
    model = _guarded(ir.serde.deserialize_model, proto)
    for node in model.graph.all_nodes():
        names = (node.name, node.op_type, node.domain, *(value.name for value in node.outputs))
        if any(isinstance(name, bytes) for name in names):  # what protobuf gives for text that is no UTF-8
            raise ModelError(f"a name in the model is no text: {names}; export or copy the file again")
    return model


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Return a model of onnx-ir as a message; ModelError where its values do not hang together."""
    return _guarded(ir.serde.serialize_model, model)


def inlined(proto: onnx.ModelProto, keep_domain: str | None = None) -> onnx.ModelProto:
    """Return a model without functions, those of ``keep_domain`` excepted; ModelError where they are broken."""
    kept = [(function.domain, function.name) for function in proto.functions if function.domain == keep_domain]
    if len(kept) == len(proto.functions):
        return proto
    return _guarded(lambda model: onnx.inliner.inline_selected_functions(model, kept, exclude=True), proto)


def _guarded(call: Callable[[Source], Result], argument: Source) -> Result:
    try:
        return call(argument)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # onnx-ir wraps an error once for every level of the graph
            cause = cause.__cause__
        raise ModelError(f"the graph of the model is broken: {first_line(cause)}; export it again") from error
