"""Editing a graph in place: new nodes beside old ones, unique names, constants, and no loose ends."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from ...runtime.bits import DOMAIN, OPSET_VERSION
from ..graph.constants import add_constant, free_name
from ..opset import functions

__all__ = ["Rewriting"]


class Rewriting:
    """Changes one model; :meth:`finish` makes it whole again."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.graph = model.graph
        values = [output for node in self.graph.all_nodes() for output in node.outputs]
        self._taken = {value.name for value in (*values, *self.graph.inputs)} | set(self.graph.initializers)
        self._taken |= {node.name for node in self.graph.all_nodes()}

    def unique(self, name: str) -> str:
        """Return ``name``, with a number behind it where it is taken."""
        found = free_name(name, self._taken)
        self._taken.add(found)
        return found

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """Add an initializer."""
        return add_constant(self.graph, self.unique(name), array)

    def set_constant(self, node: ir.Node, index: int, array: NDArray[Any]) -> None:
        """Let a node read another constant, under the name of the one that it read where nobody else reads that."""
        old = node.inputs[index]
        assert old is not None
        node.replace_input_with(index, None)
        name = str(old.name)
        if old.uses() or name not in self.graph.initializers:
            name = self.unique(name)
        else:
            self.graph.initializers.pop(name)
        node.replace_input_with(index, add_constant(self.graph, name, array))

    def insert_after(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        *,
        name: str,
        domain: str = "",
        like: ir.Value,
    ) -> ir.Value:
        """Add a node behind ``node`` and return its first output, float32 of the shape of ``like``."""
        name = self.unique(name)
        added = ir.node(op_type, inputs, dict(attributes), domain=domain, name=name, num_outputs=1)
        output = added.outputs[0]
        output.name, output.type, output.shape = (
            self.unique(f"{name}.out"),
            ir.TensorType(ir.DataType.FLOAT),
            like.shape,
        )
        self.graph.insert_after(node, added)
        return output

    def replace_uses(self, old: ir.Value, new: ir.Value) -> None:
        """Let every node that reads ``old`` read ``new``; an output of the graph stays as it is."""
        new_node = new.producer()
        for user, index in tuple(old.uses()):
            if user is not new_node:
                user.replace_input_with(index, new)

    def release(self, nodes: Collection[ir.Node]) -> None:
        """Give the names of constants free that no node reads but these, which are to be replaced."""
        for value in {value for node in nodes for value in node.inputs if value is not None}:
            if value.is_initializer() and all(use.node in nodes for use in value.uses()):
                name = value.name
                value.name = self.unique(f"{name}.replaced")
                self._taken.discard(name)

    def take_place(self, chain: Sequence[ir.Node], added: ir.Node) -> None:
        """Put ``added`` in the place of a chain of nodes, under the first one's name and with the last one's output."""
        last = chain[-1].outputs[0]
        output = added.outputs[0]
        output.name, output.type, output.shape = last.name, last.type, last.shape
        last.name = self.unique(f"{last.name}.replaced")
        self.graph.insert_before(chain[0], added)
        ir.convenience.replace_all_uses_with(last, output, replace_graph_outputs=True)
        self.graph.remove(list(chain), safe=True)

    def finish(self) -> None:
        """Remove what nothing needs any more, and let the operators that are used travel in the model."""
        RemoveUnusedNodesPass()(self.model)
        used = {node.op_type for node in self.graph.all_nodes() if node.domain == DOMAIN}
        if used:
            self.graph.opset_imports[DOMAIN] = OPSET_VERSION
            self.model.ir_version = max(self.model.ir_version, 8)  # the first with functions in the file
        for proto in functions():
            if proto.name in used:
                function = ir.serde.deserialize_function(proto)
                function.opset_imports[""] = self.graph.opset_imports[""]  # the checker wants one version in a file
                self.model.functions[function.identifier()] = function
        RemoveUnusedOpsetsPass()(self.model)
