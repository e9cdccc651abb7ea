"""Writing an ONNX graph node by node, on onnx-ir: every node, value and constant is named, every value has a shape."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .. import __version__
from ..runtime.bits import DOMAIN, OPSET_VERSION
from .opset import ONNX_OPSET, functions

__all__ = ["GraphBuilder", "Shape"]

Shape = Sequence[int | str | None]
"""Sizes of a value; a string is a symbolic size such as the batch ``"N"``, None a size that is not known."""

IR_VERSION = 8
"""The oldest file format that has model-local functions: every runtime since onnxruntime 1.11 reads it."""


class GraphBuilder:
    """Collects nodes in the order of execution and ends in an onnx-ir model.

    Names are the caller's (module paths); a name used twice gets a numbered suffix, so that they stay unique.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._nodes: list[ir.Node] = []
        self._inputs: list[ir.Value] = []
        self._outputs: list[ir.Value] = []
        self._constants: dict[str, ir.Value] = {}
        self._taken: set[str] = set()

    def input(self, name: str, shape: Shape, dtype: Any = np.float32) -> ir.Value:
        """Add a graph input of this shape and numpy dtype."""
        value = ir.Value(name=self._unique(name), shape=ir.Shape(shape), type=_tensor_type(dtype))
        self._inputs.append(value)
        return value

    def constant(self, name: str, array: NDArray[Any]) -> ir.Value:
        """Add an initializer; the same array under the same name is stored once."""
        if name in self._constants:
            known = self._constants[name].const_value
            if known is not None and known.numpy().dtype == array.dtype and np.array_equal(known.numpy(), array):
                return self._constants[name]
        unique = self._unique(name)
        plain = np.asarray(array, order="C")
        if plain.dtype == object:
            tensor: ir.TensorProtocol = ir.StringTensor(
                [str(text).encode() for text in plain.flat], shape=ir.Shape(plain.shape), name=unique
            )
        else:
            tensor = ir.tensor(plain, name=unique)
        value = ir.Value(name=unique, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._constants[unique] = value
        return value

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        shape: Shape,
        *,
        dtype: Any = np.float32,
        domain: str = "",
        **attributes: Any,
    ) -> ir.Value:
        """Add a node with one output of this shape and numpy dtype, and return that output, called ``<name>.out``."""
        (output,) = self.nodes(op_type, inputs, name, [("out", shape, dtype)], domain=domain, **attributes)
        return output

    def nodes(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        outputs: Sequence[tuple[str, Shape, Any]],
        *,
        domain: str = "",
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs, each (suffix, shape, numpy dtype), called ``<name>.<suffix>``."""
        unique = self._unique(name)
        node = ir.node(op_type, inputs, attributes=attributes, domain=domain, name=unique, num_outputs=len(outputs))
        for value, (suffix, shape, dtype) in zip(node.outputs, outputs, strict=True):
            value.name, value.shape, value.type = f"{unique}.{suffix}", ir.Shape(shape), _tensor_type(dtype)
        self._nodes.append(node)
        return node.outputs

    def output(self, value: ir.Value, name: str) -> ir.Value:
        """Make a value an output of the graph, under this name, and return it."""
        if value in self._inputs or value in self._outputs or value.const_value is not None:  # needs a node of its own
            sizes = [] if value.shape is None else [s if isinstance(s, int) else s.value for s in value.shape]
            value = self.node("Identity", [value], name, sizes, dtype=value.dtype and value.dtype.numpy())
        value.name = name
        self._outputs.append(value)
        return value

    def model(self, metadata: dict[str, str], doc: str = "") -> ir.Model:
        """Return the model with the operators of ``ai.latentbit`` in it and ``metadata`` as its properties."""
        graph = ir.Graph(
            self._inputs,
            self._outputs,
            nodes=self._nodes,
            initializers=list(self._constants.values()),
            opset_imports={"": ONNX_OPSET, DOMAIN: OPSET_VERSION},
            name=self.name,
            doc_string=doc,
        )
        used = {node.op_type for node in self._nodes if node.domain == DOMAIN}
        return ir.Model(
            graph,
            ir_version=IR_VERSION,
            functions=[ir.serde.deserialize_function(f) for f in functions() if f.name in used],
            producer_name="latentbit",
            producer_version=__version__,
            domain="ai.latentbit.models",
            model_version=1,
            doc_string=doc,
            metadata_props=metadata,
        )

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._taken:
            count += 1
            unique = f"{name}_{count}"
        self._taken.add(unique)
        return unique


def _tensor_type(dtype: Any) -> ir.TensorType:
    """Return the ONNX type of a numpy dtype; ``object`` stands for strings."""
    kind = np.dtype(dtype)
    return ir.TensorType(ir.DataType.STRING if kind.hasobject else ir.DataType.from_numpy(kind))
