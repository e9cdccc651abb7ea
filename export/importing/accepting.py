"""What files in the wild leave out, written down before ONNX's own check: it would refuse what every tool reads.

Also the faults that the check words badly: they are named here, with the node or the constant that has them.
"""

import onnx

from ...runtime.errors import ModelError
from ...runtime.operators import STANDARD_DOMAINS
from .qonnx import QONNX_OPERATORS

__all__ = ["accept"]


def accept(model: onnx.ModelProto) -> None:
    """Complete a model that was read from a file, in place.

    * Operators of QONNX in the default domain get their own: files of before 2021 have them there.
    * A domain that the file uses and does not import is imported: QKeras and qonnx's cleanup forget that of QONNX.
      Whose operators nobody knows is refused later, by the names of the operators.

    Raises ModelError for sparse initializers, and for nodes that stand before what they read or read what nobody makes.
    """
    sparse = [entry.values.name for entry in model.graph.sparse_initializer]
    if sparse:
        raise ModelError(f"constant {sparse[0]} is a sparse initializer, which is not supported; store it dense")
    used = set()
    for node in _nodes(model.graph):
        if node.domain in STANDARD_DOMAINS and node.op_type in QONNX_OPERATORS:
            node.domain = "qonnx.custom_op.general"
        used.add(node.domain)
    imported = {entry.domain for entry in model.opset_import}
    for domain in sorted(used - imported - {*STANDARD_DOMAINS}):
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    _check_order(model.graph)


def _check_order(graph: onnx.GraphProto) -> None:
    made = {output: node for node in graph.node for output in node.output if output}
    known = {entry.name for entry in (*graph.input, *graph.initializer)}
    for node in graph.node:
        late = next((name for name in node.input if name and name not in known), None)
        if late is not None and late not in made:
            raise ModelError(
                f"the file is not a valid ONNX model: node {_label(node)} reads {late}, which is no constant and "
                "no input, and which no node makes; export it again"
            )
        if late is not None:
            raise ModelError(
                f"node {_label(node)} reads {late} before node {_label(made[late])} makes it; "
                "ONNX wants the nodes in the order in which they run: sort them, or export the model again"
            )
        known.update(node.output)


def _label(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), "") or node.op_type


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes of a graph and of the graphs in them."""
    nodes = []
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            nodes.append(node)
            waiting += [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            waiting += [body for attribute in node.attribute for body in attribute.graphs]
    return nodes
