"""Small edits that the passes share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..graph.constants import add_constant, free_name

__all__ = ["constant_of", "free_constant", "insert_before", "path_of", "replace_node", "set_constant"]


def constant_of(value: ir.Value | None) -> NDArray[Any] | None:
    """Return the array of an initializer, None for any other value."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return np.asarray(value.const_value.numpy())


def path_of(node: ir.Node) -> str:
    """Return the path of a layer's weight, or the node's name where it has none."""
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    name = "" if constant_of(weight) is None or weight is None else weight.name or ""
    return name.removesuffix(".weight") if name.endswith(".weight") else node.name or node.op_type


def set_constant(graph: ir.Graph, node: ir.Node, index: int, name: str, array: NDArray[Any]) -> None:
    """Let ``node`` read ``array`` as input ``index``, an initializer of this name; what it read stays for others."""
    while len(node.inputs) <= index:
        node.resize_inputs(len(node.inputs) + 1)
    old = node.inputs[index]
    if old is not None and old.const_value is not None:
        node.replace_input_with(index, None)
        if not old.uses() and old.name and old.name in graph.initializers:
            graph.initializers.pop(old.name)
    node.replace_input_with(index, add_constant(graph, free_constant(graph, name), array))


def free_constant(graph: ir.Graph, name: str) -> str:
    """Return ``name``, with a number behind it where an initializer or an input has it."""
    return free_name(name, {*graph.initializers, *(value.name for value in graph.inputs)})


def insert_before(
    node: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    like: ir.Value | None,
    suffix: str,
    *,
    dtype: ir.DataType = ir.DataType.FLOAT,
    shape: Any = None,
    **attributes: Any,
) -> ir.Value:
    """Add a node in front of ``node``, filed under the same module, and return its output, of the shape of ``like``."""
    added = ir.node(op_type, list(inputs), attributes, name=f"{node.name}.{suffix}", num_outputs=1)
    added.metadata_props.update(node.metadata_props)
    added.metadata_props["latentbit.suffix"] = suffix
    output = added.outputs[0]
    output.name = f"{node.name}.{suffix}.value"
    output.type = ir.TensorType(dtype)
    output.shape = ir.Shape(shape) if shape is not None else None if like is None else like.shape
    assert node.graph is not None
    node.graph.insert_before(node, added)
    return output


def replace_node(node: ir.Node, value: ir.Value) -> None:
    """Let everything that reads the first output of ``node`` read ``value``, and remove the node."""
    ir.convenience.replace_all_uses_with(node.outputs[0], value, replace_graph_outputs=True)
    assert node.graph is not None
    node.graph.remove(node, safe=True)
