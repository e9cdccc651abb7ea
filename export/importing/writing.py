"""Writing standard operators in the place of one node of a dialect: what each lowering shares."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike, NDArray

from ...runtime.errors import ModelError
from ..graph.constants import Constants, add_constant
from .layers import SOURCE, label, shape_of, told

__all__ = ["Lowering", "NodeWriter", "NotYet"]


class NotYet(Exception):  # noqa: N818 - no error: the node waits until more shapes are known
    """A lowering needs the rank of a value that is not known; the text says which."""


class NodeWriter:
    """Adds standard nodes before one node of a dialect, named after it."""

    def __init__(self, model: ir.Model, node: ir.Node, constants: Constants) -> None:
        self.node, self.name = node, label(node)
        self._told = told(node)
        self.constants = constants
        self._graph = model.graph
        self._count = 0

    def __call__(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Add a node and return its output."""
        self._count += 1
        name = f"{self.name}.{op_type.lower()}{self._count}"
        added = ir.node(op_type, list(inputs), attributes, name=name)
        added.outputs[0].name = f"{name}.out"
        added.metadata_props[SOURCE] = self._told
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, added)
        return added.outputs[0]

    def constant(self, name: str, array: NDArray[Any] | float, dtype: DTypeLike = np.float32) -> ir.Value:
        """Add a constant."""
        self._count += 1
        return add_constant(self._graph, f"{self.name}.{name}{self._count}", np.asarray(array, dtype))

    def cast(self, value: ir.Value, dtype: DTypeLike) -> ir.Value:
        """Return a value in another element type; a constant is cast here."""
        if (array := self.constants.get(value)) is not None:
            return self.constant("cast", array, dtype)
        return self("Cast", value, to=ir.DataType.from_numpy(np.dtype(dtype)).value)

    def input(self, index: int) -> ir.Value:
        """Return an input of the node; ModelError where it has none at this place."""
        value = self.node.inputs[index] if index < len(self.node.inputs) else None
        if value is None:
            raise self.error(f"has no input {index}, which {self.node.op_type} needs")
        return value

    def number(self, index: int, what: str) -> float:
        """Return an input that is one constant number; ModelError where it is not."""
        array = self.constants.get(self.input(index))
        if array is None or array.size != 1:
            raise self.error(f"a {self.node.op_type} whose {what} is no constant number is not supported")
        return float(array.reshape(-1)[0])

    def flag(self, name: str, default: int) -> bool:
        """Return an attribute that is 0 or 1."""
        return bool(self.node.attributes.get_int(name, default))

    def rank(self, value: ir.Value) -> int:
        """Return how many axes a value has; NotYet where it is not known."""
        array = self.constants.get(value)
        sizes: Sequence[Any] | None = shape_of(value) if array is None else array.shape
        if sizes is None:
            raise NotYet(
                f"node {self.name}: how many axes {value.name} has is not known, and {self.node.op_type} needs it"
            )
        return len(sizes)

    def error(self, words: str) -> ModelError:
        """Return an error that names the node."""
        return ModelError(f"node {self.name}: {words}")

    def put(self, result: ir.Value) -> None:
        """Let ``result`` take the place of the node's output, and the node that computes it the node's name."""
        node, old, name = self.node, self.node.outputs[0], self.node.outputs[0].name
        made = result.producer()
        assert made is not None
        assert node.graph is not None
        before = made.inputs[0] if made.op_type == "Transpose" else None
        if before is not None and before.producer() is not None:
            made = before.producer()  # a layer between two Transposes is what a reader looks for
            assert made is not None
        result.name, old.name = name, f"{name}.replaced"
        result.type, result.shape = old.type, old.shape
        made.name, node.name = self.name, f"{self.name}.replaced"
        ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)


Lowering = Callable[[NodeWriter], ir.Value]
"""Writes what a node means before it and returns the value that takes the place of its output."""
