"""The same model in plain ONNX, for tools that cannot handle functions: no operator of ``ai.latentbit`` is left.

Every operator is replaced by its own body (``onnx.inliner``), so the arithmetic is the very same, ``Round`` included.
The order matters: ``onnx.version_converter`` drops model-local functions without a word and leaves a broken file, so
the functions are inlined first, what is constant is computed, and only then the opset changes.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from ..runtime.bits import DOMAIN
from ..runtime.errors import ConfigError, ModelError, UnsupportedError, first_line
from ..runtime.operators import STANDARD_DOMAINS, WRITTEN_OUT
from .graph.constants import Constants, add_constant, fold_constants, free_name
from .graph.reading import inlined, load_onnx, standard_opset, to_graph, to_proto
from .opset import ONNX_OPSET
from .storing import write_model

__all__ = ["OLDEST_OPSET", "inline", "inline_file"]

OLDEST_OPSET = 14
"""The oldest standard opset offered: ``onnx.version_converter`` brings no Mul or Add further down."""

_NUMBERED = re.compile(r"(.+)__(\d+)")
_WORKERS = {"Conv", "MatMul", "Where"}
"""In the body of each operator of ours, the node that does its work."""

_ROLES = {
    **{("Conv", 1): "weight", ("MatMul", 1): "weight", ("Conv", 2): "edge", ("Mul", 1): "scale", ("Add", 1): "bias"},
    **{("Where", 1): "above", ("Where", 2): "below"},
}
"""What a constant is that such a body computes, by its reader and the number of the operand."""

Weights = Literal["float", "int8", "packed"]


def inline_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    opset: int = ONNX_OPSET,
    weights: Weights = "float",
) -> Path:
    """Write the model of the file ``source`` in plain ONNX to ``target`` and return its path; see :func:`inline`."""
    return write_model(inline(load_onnx(source).model, opset=opset, weights=weights), target)


def inline(model: onnx.ModelProto, *, opset: int = ONNX_OPSET, weights: Weights = "float") -> onnx.ModelProto:
    """Return ``model`` without functions, at the standard ``opset``; the model itself is left as it is.

    weights: how the signs of the binary layers are stored. "float": as float32 ±1, 32 bits a weight, the plainest
    graph; "int8": as int8 ±1 behind a Cast, 8 bits; "packed": as bits with the nodes that unpack them, opset >= 18.

    Outputs are equal bit for bit. Raises ConfigError for another word, UnsupportedError where an operator cannot be
    brought to ``opset``, ModelError for an operator without a body.
    """
    if weights not in ("float", "int8", "packed"):
        raise ConfigError(f"weights is 'float', 'int8' or 'packed', not {weights!r}")
    version = standard_opset(model)
    if weights == "packed" and opset < ONNX_OPSET:
        raise UnsupportedError(
            f"packed weights need BitwiseAnd, which opset {opset} has not: opset >= 18, or weights=int8"
        )
    if opset < OLDEST_OPSET:
        raise UnsupportedError(f"opset {opset} is older than {OLDEST_OPSET}, the oldest that is supported")
    plain = to_graph(inlined(model))
    calls = _calls(model, plain)
    if left := sorted({f"{node.domain}.{node.op_type}" for node in plain.graph.all_nodes() if _is_foreign(node)}):
        raise ModelError(f"operators without a body in the file cannot be inlined: {', '.join(left)}")
    if weights != "packed":
        before = {node.name for node in model.graph.node}
        # Only what the bodies compute is folded. Constants that the file's own nodes compute, such as int8 weights
        # behind a Cast, stay computed: folding them would make the file larger.
        fold_constants(plain, lambda node, _: node.name not in before)
    _drop_zero_subtractions(plain)
    RemoveUnusedNodesPass()(plain)
    _name_by_roles(plain, calls)
    if weights == "int8":
        _store_signs_as_int8(plain)
    RemoveUnusedNodesPass()(plain)
    RemoveUnusedOpsetsPass()(plain)
    operators = {
        node.name: {"operator": node.op_type, "reads": node.input[0]}
        for node in model.graph.node
        if node.domain == DOMAIN and node.name
    }
    if operators:
        plain.metadata_props[WRITTEN_OUT] = json.dumps(operators)
    proto = to_proto(plain)
    return proto if opset == version else _at_opset(proto, opset)


def _calls(model: onnx.ModelProto, plain: ir.Model) -> dict[ir.Node, str]:
    """Return for every node that the inliner made the name of the call it stands for, and name its values after that.

    The inliner calls what the 7th call made ``conv__7``; the call is known by the value that it gave.
    """
    calls = {output: node.name for node in model.graph.node if node.domain for output in node.output if node.name}
    before = {node.name for node in model.graph.node}
    made = [(node, _NUMBERED.fullmatch(node.name or "")) for node in plain.graph if node.name not in before]
    names = {}
    for node, match in made:
        for output in node.outputs:
            if match is not None and output.name in calls:
                names[match[2]] = calls[output.name]
    found = {}
    for node, match in made:
        if match is None or match[2] not in names:
            continue
        found[node] = names[match[2]]
        for output in node.outputs:
            inner = _NUMBERED.fullmatch(output.name or "")
            if inner is not None and not output.is_graph_output():
                output.name = f"{found[node]}.{inner[1]}"
    return found


def _name_by_roles(plain: ir.Model, calls: Mapping[ir.Node, str]) -> None:
    """Give the node that does a layer's work the name of its call, and what it reads the names of a packed layer."""
    graph = plain.graph
    taken = {node.name for node in graph if node not in calls} | set(graph.initializers)
    for node in graph:
        if (call := calls.get(node)) is None:
            continue
        node.name = free_name(call if node.op_type in _WORKERS else f"{call}.{node.op_type.lower()}", taken)
        taken.add(node.name)
        for index, value in enumerate(node.inputs):
            if value is not None and value.const_value is not None and (value.name or "").endswith(".constant"):
                role = _ROLES.get((node.op_type, index), f"{node.op_type.lower()}.operand{index}")
                value.name = free_name(f"{call}.{role}", taken)
                taken.add(value.name)


def _is_foreign(node: ir.Node) -> bool:
    return node.domain not in (*STANDARD_DOMAINS, "ai.onnx.ml", "com.microsoft")


def _drop_zero_subtractions(model: ir.Model) -> None:
    """Drop ``X − 0``, the shift of padding by 0: it changes no value (−0 and 0 are equal, and ±1 is neither)."""
    constants = Constants(model)
    for node in list(model.graph):
        if node.op_type != "Sub" or node.outputs[0].is_graph_output() or node.inputs[0] is None:
            continue
        subtrahend = constants.get(node.inputs[1])
        if subtrahend is not None and subtrahend.shape == () and subtrahend == 0:
            node.outputs[0].replace_all_uses_with(node.inputs[0])


def _store_signs_as_int8(model: ir.Model) -> None:
    for value in list(model.graph.initializers.values()):
        array = None if value.const_value is None else value.const_value.numpy()
        users = tuple(value.uses())
        if array is None or array.dtype != np.float32 or array.ndim not in (2, 4) or not np.all(np.abs(array) == 1):
            continue
        stored = add_constant(model.graph, f"{value.name}.int8", array.astype(np.int8))
        cast = ir.node("Cast", [stored], {"to": ir.DataType.FLOAT.value}, name=f"{value.name}.cast")
        cast.outputs[0].name = f"{value.name}.cast.out"
        model.graph.insert_before(model.graph[0], cast)
        for user in users:
            user.node.replace_input_with(user.idx, cast.outputs[0])


def _at_opset(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Convert a model that has no functions any more (the converter would lose them)."""
    assert not proto.functions
    version = standard_opset(proto)
    try:
        converted = onnx.version_converter.convert_version(proto, opset)
        _drop_unknown_defaults(converted, version, opset)
        onnx.checker.check_model(converted, full_check=True)
    except Exception as error:
        raise UnsupportedError(f"the model cannot be written at opset {opset}: {first_line(error)}") from None
    for name in ("producer_name", "producer_version", "doc_string", "domain", "model_version"):
        setattr(converted, name, getattr(proto, name))
    del converted.metadata_props[:]
    converted.metadata_props.extend(proto.metadata_props)
    return converted


def _drop_unknown_defaults(proto: onnx.ModelProto, version: int, opset: int) -> None:
    """Drop attributes that only later versions of the operator have, where they hold the default.

    The version converter leaves them in, and the older operator does not know them.
    """
    for node in proto.graph.node:
        if node.domain not in STANDARD_DOMAINS:
            continue
        known = onnx.defs.get_schema(node.op_type, opset).attributes
        later = onnx.defs.get_schema(node.op_type, version).attributes
        for attribute in [entry for entry in node.attribute if entry.name not in known and entry.name in later]:
            default = later[attribute.name].default_value
            if default.type and onnx.helper.get_attribute_value(default) == onnx.helper.get_attribute_value(attribute):
                node.attribute.remove(attribute)
