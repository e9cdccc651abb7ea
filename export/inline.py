"""The same model in plain ONNX, for tools that cannot handle functions: no operator of ``ai.latentbit`` is left.

Every operator is replaced by its own body (``onnx.inliner``), so the arithmetic is the very same, ``Round`` included.
The order matters: ``onnx.version_converter`` drops model-local functions without a word and leaves a broken file, so
the functions are inlined first, what is constant is computed, and only then the opset changes.
"""

import os
import re
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnx.version_converter
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from ..runtime.errors import ConfigError, ModelError, UnsupportedError, first_line
from ..runtime.operators import STANDARD_DOMAINS
from .graph.constants import Constants, add_constant, fold_constants
from .graph.reading import inlined, load_onnx, standard_opset, to_graph, to_proto
from .opset import ONNX_OPSET
from .writer import write_model

__all__ = ["OLDEST_OPSET", "inline", "inline_file"]

OLDEST_OPSET = 14
"""The oldest standard opset offered: ``onnx.version_converter`` brings no Mul or Add further down."""

_NUMBERED = re.compile(r"(.+)__(\d+)")
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
    _name_after_calls(model, plain)
    if left := sorted({f"{node.domain}.{node.op_type}" for node in plain.graph.all_nodes() if _is_foreign(node)}):
        raise ModelError(f"operators without a body in the file cannot be inlined: {', '.join(left)}")
    if weights != "packed":
        before = {node.name for node in model.graph.node}
        # Only what the bodies compute is folded. Constants that the file's own nodes compute, such as int8 weights
        # behind a Cast, stay computed: folding them would make the file larger.
        fold_constants(plain, lambda node, _: node.name not in before)
    _drop_zero_subtractions(plain)
    if weights == "int8":
        _store_signs_as_int8(plain)
    RemoveUnusedNodesPass()(plain)
    RemoveUnusedOpsetsPass()(plain)
    proto = to_proto(plain)
    return proto if opset == version else _at_opset(proto, opset)


def _name_after_calls(model: onnx.ModelProto, plain: ir.Model) -> None:
    """Rename what the inliner called ``conv__7`` after the 7th call to ``layer1.0.conv.conv``, if that name is free."""
    calls = {output: node.name for node in model.graph.node if node.domain for output in node.output if node.name}
    before = {node.name for node in model.graph.node}
    made = [(node, _NUMBERED.fullmatch(node.name or "")) for node in plain.graph if node.name not in before]
    names = {}
    for node, match in made:
        for output in node.outputs:
            if match is not None and output.name in calls:
                names[match[2]] = calls[output.name]
    for node, match in made:
        if match is None or match[2] not in names:
            continue
        node.name = f"{names[match[2]]}.{match[1]}"
        for output in node.outputs:
            inner = _NUMBERED.fullmatch(output.name or "")
            if inner is not None and not output.is_graph_output():
                output.name = f"{names[match[2]]}.{inner[1]}"


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
