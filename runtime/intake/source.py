"""The bytes of a model file, and the ONNX model in them: the one place where a file is opened and parsed."""

from os import PathLike, fspath
from pathlib import Path

import onnx

from ..errors import ModelError
from .bodies import check_bodies
from .limits import current_limits
from .structure import check_structure

__all__ = ["parse_model", "read_bytes"]


def read_bytes(source: str | PathLike[str] | bytes) -> bytes:
    """Return the bytes of a model file; bytes are returned as they are.

    Raises ModelError where the file cannot be read, or holds nothing.
    """
    limit = current_limits().file_bytes
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size > limit:
            raise ModelError(f"{_name(source)} has {size} bytes, and the limit file_bytes is {limit}")
        data = source if isinstance(source, bytes) else _read(Path(source), size, limit)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        why = getattr(error, "strerror", None) or error
        raise ModelError(f"cannot read model {_name(source)}: {why}; give the path of an .onnx file") from None
    if not data:
        raise ModelError(f"{_name(source)} is empty; export or copy it again")
    return data


def _read(path: Path, size: int, limit: int) -> bytes:
    """Return the bytes of a file. What has more than its size, a device for one, is read up to the limit."""
    with path.open("rb") as file:
        data = file.read(size + 1)  # room for the limit would be asked of the system otherwise: two gigabytes
        if len(data) > size:
            data += file.read(limit + 1 - len(data))
    if len(data) > limit:
        raise ModelError(f"{path} has more bytes than the limit file_bytes of {limit}")
    return data


def parse_model(
    source: str | PathLike[str] | bytes, data: bytes | None = None, *, external: bool = False
) -> onnx.ModelProto:
    """Return the ONNX model of a file, or of the bytes of one.

    data: the bytes of the file, if they are read already.
    external: the caller will load initializers that the file keeps in other files; without it such a file is refused.
    Tensors anywhere else (of nodes, branches, functions) must lie in the file.
    Raises ModelError where the file cannot be read, holds no graph, is not well formed (:mod:`.structure`), or gives an
    operator another meaning (:mod:`.bodies`).
    """
    data, name = read_bytes(source) if data is None else data, _name(source)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except Exception:
        raise ModelError(f"{name} is not an ONNX model, or it is cut short; export or copy it again") from None
    if not proto.graph.node or not proto.graph.output or not proto.opset_import:
        raise ModelError(f"{name} is not an ONNX model: it holds no graph; give the path of an .onnx file")
    outside = len(check_structure(proto, current_limits()))
    if external:
        outside -= sum(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in proto.graph.initializer)
    if outside:
        raise ModelError(f"{name} keeps weights in other files, which is not supported; save it as one file")
    check_bodies(proto.functions)
    return proto


def _name(source: str | PathLike[str] | bytes) -> str:
    """Return what a message calls the source."""
    return "the model" if isinstance(source, bytes) else fspath(source)
