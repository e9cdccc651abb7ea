"""Names in the file are module paths: of nodes, of the values they make, of the constants they read."""

import ast
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import onnx_ir as ir

from ...runtime.bits import DOMAIN
from ...runtime.operators import LAYERS
from ..graph.constants import free_name
from .editing import free_constant

__all__ = ["name_all"]

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the modules around a node, from the network to the operation."""


class _Origin(NamedTuple):
    """``base``: the name of what a node was made for; ``last``: which of these nodes has the name itself."""

    base: str
    run: int


def name_all(
    model: ir.Model, root: str, leaves: Collection[str], inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Name everything in a graph, in place.

    A module without modules in it (``leaves``) gives its path to its layer, or else to the last of its nodes; the
    others have the path and their operator. What a larger module computes by itself has that module's path and the
    operation. ``root`` is the name of the network itself, for a network that is a single layer.
    """
    graph = model.graph
    nodes = list(graph)
    origins: list[_Origin] = []
    for node in nodes:
        base = _base(node, root, leaves)
        run = origins[-1].run if origins and origins[-1].base == base else len(origins)
        origins.append(_Origin(base, run))
    heads: dict[int, ir.Node] = {}
    for node, origin in zip(nodes, origins, strict=True):
        known = heads.get(origin.run)
        if known is None or not (known.domain == DOMAIN and known.op_type in LAYERS):
            heads[origin.run] = node
    taken: set[str] = set()
    for node, origin in zip(nodes, origins, strict=True):
        suffix = node.metadata_props.get("latentbit.suffix", node.op_type.lower())
        wanted = origin.base if heads[origin.run] is node else f"{origin.base}.{suffix}"
        node.name = free_name(wanted, taken)
        taken.add(node.name)
        for index, value in enumerate(node.outputs):
            value.name = f"{node.name}.out{index or ''}"
    for index, name in enumerate(inputs):
        graph.inputs[index].name = name
    _name_constants(graph, nodes)
    for index, name in enumerate(outputs):
        value = graph.outputs[index]
        if value.producer() is None or any(value is other for other in graph.outputs[:index]):
            copy = ir.node("Identity", [value], name=f"{name}.identity")
            copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
            graph.append(copy)
            value = graph.outputs[index] = copy.outputs[0]
        value.name = name
    for node in graph.all_nodes():  # stack traces of the exporting program, longer than the network
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*graph.inputs, *graph.initializers.values()):
        value.metadata_props.clear()


def _base(node: ir.Node, root: str, leaves: Collection[str]) -> str:
    if (given := node.metadata_props.get("latentbit.name")) is not None:
        return given
    scopes = node.metadata_props.get(SCOPES)
    parts = [str(part) for part in ast.literal_eval(scopes)] if scopes else []
    path = parts[-2] if len(parts) > 1 else ""
    if path in leaves and len(parts) > 1:
        return path or root.lower()
    operation = re.sub(r"(_\d+)+$", "", parts[-1]).strip("_") if parts else node.op_type.lower()
    operation = operation or node.op_type.lower()
    return f"{path}.{operation}" if path and not path.startswith("_empty") else operation


def _name_constants(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """Name constants that come from no parameter after the first node that reads them."""
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value is None or value.const_value is None or not (value.name or "").endswith(".constant"):
                continue
            value.name = free_constant(graph, f"{node.name}.operand{index}")
