"""Questions about the graph of a model: who makes a value, who reads it, and is it a sign."""

from typing import Any

import onnx

from ..bits import DOMAIN
from ..intake.model import Model
from ..operators import sign_sources

__all__ = ["Graph", "read_values", "same_shape", "stated_attributes"]


class Graph:
    """Who makes and who reads each value of a model; nodes are given by index.

    ``producer`` leads from a value to its node, ``consumers`` to the nodes that read it, ``outputs`` are the values
    that the model answers with.
    """

    def __init__(self, model: Model) -> None:
        self.nodes = model.proto.graph.node
        self.producer = {output: index for index, node in enumerate(self.nodes) for output in node.output if output}
        self.consumers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in set(read_values(node)):
                self.consumers.setdefault(name, []).append(index)
        self.outputs = {info.name for info in model.proto.graph.output}
        self._signs: set[str] = set()
        for node in self.nodes:  # a file is sorted
            if self._gives_signs(node):
                self._signs.update(node.output if node.op_type == "Split" else node.output[:1])

    def only_reader(self, name: str) -> int | None:
        """Return the node that alone needs a value, None where several do or the model answers with it."""
        readers = self.consumers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def is_sign(self, name: str) -> bool:
        """Tell whether a value is provably ±1: made by Binarize, or by operators that only move or select signs."""
        return name in self._signs

    def _gives_signs(self, node: onnx.NodeProto) -> bool:
        if node.domain == DOMAIN:
            return bool(node.op_type == "Binarize")
        sources = sign_sources(node.op_type, node.domain, node.input, _attributes(node))
        return bool(sources) and self._signs.issuperset(sources)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return texts, integers and lists of integers by name; what a file calls a text may be none."""
    found: dict[str, Any] = {}
    for entry in node.attribute:
        if entry.type == onnx.AttributeProto.STRING:
            found[entry.name] = entry.s.decode(errors="replace")
        elif entry.type == onnx.AttributeProto.INTS:
            found[entry.name] = tuple(entry.ints)
        elif entry.type == onnx.AttributeProto.INT:
            found[entry.name] = entry.i
    return found


def stated_attributes(node: onnx.NodeProto) -> dict[str, Any] | None:
    """Return the attributes of a node by name; None where one is an attribute of a function, outside of one."""
    try:
        return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    except ValueError:
        return None


def read_values(node: onnx.NodeProto) -> list[str]:
    """Return every value a node reads; names made inside its inner graphs are left out."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        if attribute.type not in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            continue
        for graph in (attribute.g, *attribute.graphs):
            inside = {name for inner in graph.node for name in inner.output}
            inside |= {entry.name for entry in (*graph.input, *graph.initializer)}
            names += [name for inner in graph.node for name in read_values(inner) if name not in inside]
    return names


def same_shape(model: Model, first: str, second: str) -> bool:
    """Tell whether two values provably have one shape; an unknown size is equal to nothing."""
    one, two = model.types.get(first), model.types.get(second)
    if one is None or two is None or one.shape is None or two.shape is None or None in one.shape:
        return False
    return one.elem == two.elem and one.shape == two.shape
