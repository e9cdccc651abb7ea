"""The bodies of our operators in a file, compared with the specification.

The runtime knows an operator by its name, and stock onnxruntime by the body that the file carries. So a body that says
something else is refused: one file would have two meanings. What is compared is what a body computes. The names of its
values, the order of its nodes, and texts are not part of that.
"""

import hashlib
from collections.abc import Iterable

import onnx
from onnx import helper, numpy_helper

from ..bits import DOMAIN
from ..errors import ModelError
from ..operators import SIGNATURES, STANDARD_DOMAINS

__all__ = ["body_digest", "check_bodies"]

_right: set[bytes] = set()
"""Digests of the serialized bodies that were found right: a process that opens many sessions meets the same ones."""


def check_bodies(functions: Iterable[onnx.FunctionProto]) -> None:
    """Raise ModelError for a function that gives one of our operators, or of ONNX's, another meaning."""
    for function in functions:
        if function.domain in STANDARD_DOMAINS:
            raise ModelError(
                f"the file defines the standard operator {function.name} anew; export the model again without that"
            )
        if function.domain == DOMAIN and (written := _written(function)) not in _right:
            if not _is_definition(function):
                raise ModelError(
                    f"the body of {function.name} in the file is not the definition of that operator, so other "
                    "runtimes would answer otherwise; export the model again, or take the functions out of the file"
                )
            _right.add(written)


def _is_definition(function: onnx.FunctionProto) -> bool:
    try:
        return SIGNATURES[function.name].body == body_digest(function)
    except Exception:  # no operator of ours, or a constant that cannot be read: onnx raises many kinds
        return False


def _written(function: onnx.FunctionProto) -> bytes:
    return hashlib.sha256(function.SerializeToString(deterministic=True)).digest()


def body_digest(function: onnx.FunctionProto) -> str:
    """Return a sha256 of what a function computes: of its outputs, as expressions over its inputs and attributes.

    The version of ONNX that a body is written in is left out: what our bodies call means the same in each that has it.
    """
    values = {"": "none"} | {name: f"input {place}" for place, name in enumerate(function.input)}
    for node in function.node:
        parts = ["" if node.domain in STANDARD_DOMAINS else node.domain, node.op_type, node.overload]
        parts += [f"reads {values.get(name, 'what is not there')}" for name in node.input]
        parts += sorted(map(_attribute, node.attribute))
        expression = _digest(parts)
        values |= {name: f"{expression} {place}" for place, name in enumerate(node.output) if name}
    names = sorted({*function.attribute, *(entry.name for entry in function.attribute_proto)})
    outputs = [values.get(name, "what is not there") for name in function.output]
    return _digest([str(len(function.input)), *names, *outputs])


def _attribute(attribute: onnx.AttributeProto) -> str:
    if attribute.ref_attr_name:
        return f"{attribute.name} = attribute {attribute.ref_attr_name}"
    if attribute.type != onnx.AttributeProto.TENSOR:
        return f"{attribute.name} = {attribute.type} {helper.get_attribute_value(attribute)!r}"
    array = numpy_helper.to_array(attribute.t)
    return f"{attribute.name} = {array.dtype} {array.shape} {array.tobytes().hex()}"


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256(repr(list(parts)).encode()).hexdigest()
