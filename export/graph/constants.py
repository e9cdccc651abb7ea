"""Values of a graph that are known before it runs: initializers, and what is computed from them alone.

Exporters hide constants behind Constant, Identity, Transpose, Cast, DequantizeLinear, or a whole binarisation of the
latent weight. :class:`Constants` computes such a value on demand with ``onnx.reference``, the standard's own executor.
"""

import warnings
from collections.abc import Callable, Container
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ...runtime.errors import ModelError
from ...runtime.operators import STANDARD_DOMAINS

__all__ = ["Constants", "add_constant", "fold_constants", "free_name"]

_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}


def free_name(name: str, taken: Container[str | None]) -> str:
    """Return ``name``, with a number behind it where it is taken."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    return found


def add_constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """Add an initializer of this name to a graph and return its value."""
    tensor = ir.tensor(np.array(array, order="C"), name=name)
    kind = ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=kind, const_value=tensor)
    graph.register_initializer(value)
    return value


class Constants:
    """The constants of one model; a value is computed once and kept."""

    def __init__(self, model: ir.Model) -> None:
        self._opsets = {"": model.graph.opset_imports.get("", 1)}
        self._known: dict[ir.Value, NDArray[Any] | None] = {}

    def get(self, value: ir.Value | None) -> NDArray[Any] | None:
        """Return the array of a value, None where it depends on an input of the graph (or is no value at all)."""
        if value is None:
            return None
        waiting, entered = [value], {value}
        while waiting:  # no recursion: a graph may be thousands of nodes deep
            last = waiting[-1]
            before = self._needed(last)
            if before is None:
                self._known.setdefault(last, None)
                waiting.pop()
            elif before in entered:
                raise ModelError(f"value {before.name} is computed from itself; export the model again")
            else:
                waiting.append(before)
                entered.add(before)
        return self._known[value]

    def _needed(self, value: ir.Value) -> ir.Value | None:
        """Settle a value, or return an operand that has to be settled before."""
        node = value.producer()
        if value in self._known or value.is_graph_input():  # an initializer that is an input can be overridden
            return None
        if value.const_value is not None:
            self._known[value] = np.asarray(value.const_value.numpy())
            return None
        if node is None or node.domain not in STANDARD_DOMAINS or node.op_type in _RANDOM or _has_body(node):
            return None
        arrays: list[NDArray[Any] | None] = []
        for entry in node.inputs:
            if entry is not None and entry not in self._known:
                return entry
            if entry is not None and self._known[entry] is None:
                return None
            arrays.append(None if entry is None else self._known[entry])
        for output, result in zip(node.outputs, self._run(node, arrays), strict=False):
            self._known[output] = result
        return None

    def _run(self, node: ir.Node, arrays: list[NDArray[Any] | None]) -> list[NDArray[Any] | None]:
        feeds = {str(entry.name): array for entry, array in zip(node.inputs, arrays, strict=True) if entry is not None}
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                results = ReferenceEvaluator(ir.serde.serialize_node(node), opsets=self._opsets).run(None, feeds)
        except Exception:  # an operator that onnx.reference has not, or operands that do not fit: not known here
            return [None] * len(node.outputs)
        return [np.asarray(result) if isinstance(result, np.ndarray | np.generic) else None for result in results]


def _has_body(node: ir.Node) -> bool:
    return any(entry.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for entry in node.attributes.values())


def fold_constants(model: ir.Model, select: Callable[[ir.Node, NDArray[Any]], bool]) -> None:
    """Put an initializer in the place of every value that is constant and read by a node that is not.

    select: says for the node that makes a value, and the value, whether it is folded. Nodes that nothing reads any more
    are removed.
    """
    constants = Constants(model)
    for node in list(model.graph):
        for value in node.outputs:
            if value.is_graph_output() or not value.uses() or (array := constants.get(value)) is None:
                continue
            if not select(node, array):
                continue
            if all(constants.get(user.outputs[0]) is not None for user in value.consumers()):
                continue  # an intermediate of a longer constant computation
            value.replace_all_uses_with(add_constant(model.graph, f"{value.name}.constant", array))
    RemoveUnusedNodesPass()(model)
