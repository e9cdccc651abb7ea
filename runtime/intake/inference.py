"""The types of all values of a graph, as onnx infers them; what is read of a model once its constants are taken."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from ..errors import ModelError, first_line
from .limits import current_limits
from .model import ValueType
from .structure import ITEM_BYTES

__all__ = ["value_types", "without_constants"]

_LARGE = 256
"""Bytes: a constant that a shape depends on (of Reshape, Slice, Resize) is smaller."""


def value_types(proto: onnx.ModelProto, shapes: Mapping[str, Sequence[int]] | None = None) -> dict[str, ValueType]:
    """Return the type of every value that can be inferred; shapes: by input, in the place of those in the file.

    Raises ModelError for a graph that contradicts itself or these shapes, and for a value past the limit memory_bytes.
    """
    try:
        skeleton = _skeleton(proto)
        if shapes is not None:
            _reshape(skeleton.graph, shapes)
        data = skeleton.SerializeToString()
        onnx.checker.check_model(_stated(skeleton) or data)  # what runs in a kernel no engine compares with ONNX again
        graph = onnx.shape_inference.infer_shapes(data, check_type=True, strict_mode=True).graph
    except Exception as error:
        raise ModelError(f"the graph of the model contradicts itself: {first_line(error)}; export it again") from None
    types, known = {}, {}
    limit = current_limits().memory_bytes
    for info in (*graph.input, *graph.output, *graph.value_info):
        form = info.type.SerializeToString()  # many values are of few types
        if form not in known:
            known[form] = _checked_type(info, limit)
        types[info.name] = known[form]
    for tensor in proto.graph.initializer:
        types[tensor.name] = ValueType(tensor.data_type, tuple(tensor.dims))
    return types


def _reshape(graph: onnx.GraphProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give inputs these shapes; what the file says of other values is of its own ones."""
    del graph.value_info[:]
    for info in graph.input:
        if info.name in shapes:
            elem = info.type.tensor_type.elem_type
            info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, elem, list(shapes[info.name])))
    for info in graph.output:
        info.type.tensor_type.ClearField("shape")


def _checked_type(info: onnx.ValueInfoProto, limit: int) -> ValueType:
    tensor = info.type.tensor_type
    shape: tuple[int | str | None, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in tensor.shape.dim
        )
    sizes = [size for size in shape or () if isinstance(size, int)]
    if min(sizes, default=0) < 0:
        raise ModelError(f"value {info.name} has a size of {min(sizes)}; sizes are not negative")
    if tensor.elem_type and tensor.elem_type not in ITEM_BYTES:
        raise ModelError(f"value {info.name} has the element type {tensor.elem_type}, which ONNX does not know")
    if ITEM_BYTES.get(tensor.elem_type, 1) * math.prod(sizes) > limit:
        raise ModelError(
            f"value {info.name} of sizes {list(shape or ())} needs more than the limit memory_bytes of {limit}"
        )
    return ValueType(tensor.elem_type, shape)


def _stated(skeleton: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return the model with a type on all that enters and leaves it, which onnx's check asks for; None if it has them.

    Inference finds these types out, or nobody needs them.
    """
    if all(
        info.type.tensor_type.elem_type and info.type.tensor_type.HasField("shape")
        for info in (*skeleton.graph.input, *skeleton.graph.output)
    ):
        return None
    stated = onnx.ModelProto()
    stated.CopyFrom(skeleton)
    for info in (*stated.graph.input, *stated.graph.output):
        tensor = info.type.tensor_type
        if info.type.WhichOneof("value") in (None, "tensor_type"):
            tensor.elem_type = tensor.elem_type or onnx.TensorProto.FLOAT
            tensor.shape.SetInParent()
    return stated


def without_constants(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return what the runtime reads of a model; its large constants say what they are, and hold no data.

    It is a copy, for protobuf gives no memory back before the whole message goes.
    """
    texts = {name: getattr(proto, name) for name in ("producer_name", "domain", "doc_string", "model_version")}
    bare = _bare(proto, metadata_props=proto.metadata_props, **texts)
    for tensor in proto.graph.initializer:
        if _is_small(tensor):
            bare.graph.initializer.append(tensor)
        else:
            bare.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    return bare


def _is_small(tensor: onnx.TensorProto) -> bool:
    return bool(math.prod(tensor.dims) * ITEM_BYTES[tensor.data_type] <= _LARGE)


def _bare(proto: onnx.ModelProto, **more: Any) -> onnx.ModelProto:
    """Return a model with the graph of another one, but for its constants."""
    bare = onnx.ModelProto(
        ir_version=proto.ir_version, opset_import=proto.opset_import, functions=proto.functions, **more
    )
    bare.graph.name = proto.graph.name
    for field in ("node", "input", "output", "value_info"):
        getattr(bare.graph, field).extend(getattr(proto.graph, field))
    return bare


def _skeleton(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its large constants as inputs: shapes do not depend on them, and inference copies all."""
    bare = _bare(proto)
    known = {info.name for info in proto.graph.input}
    for tensor in proto.graph.initializer:
        if _is_small(tensor):
            bare.graph.initializer.append(tensor)
        elif tensor.name not in known:
            bare.graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return bare
