"""What must hold of a file before anything reads its graph: sizes, names, tensors.

A reader that trusts these finds what it expects: onnx's shape inference ends the process at a negative size and at a
Split that has more outputs than parts, protobuf gives a name that is no text as bytes, and a tensor anywhere in the
graph may name a file of its own. A session is opened in milliseconds, so all of it is found in one pass over the file.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import Any

import onnx
from onnx import TensorProto

from ..errors import ModelError
from .limits import Limits

__all__ = ["ITEM_BYTES", "check_structure"]

ITEM_BYTES: Mapping[int, int] = MappingProxyType(
    {
        elem: onnx.helper.tensor_dtype_to_np_dtype(elem).itemsize
        for elem in TensorProto.DataType.values()
        if elem != TensorProto.UNDEFINED
    }
)
"""Every element type that ONNX knows -> bytes of one number of it."""

_PACKED = {
    elem for name, elem in TensorProto.DataType.items() if name.startswith(("INT4", "UINT4", "FLOAT4", "INT2", "UINT2"))
}
"""Element types of which a byte holds several."""

_Call = tuple[str, str]
"""Domain and name of what a node calls: an operator, or a function of the file."""


def check_structure(model: onnx.ModelProto, limits: Limits) -> list[TensorProto]:
    """Return the tensors, wherever they stand in a model, whose data lie in other files.

    Raises ModelError for a file that is too large for the limits, contradicts itself or is not what ONNX calls valid.
    Every name is text and is given once, every node makes something, and no size is negative.
    """
    walk = _Walk(limits)
    calls = walk.body(model.graph)
    bodies = {(entry.domain, entry.name): walk.body(entry) for entry in model.functions}
    for entry in model.functions:
        walk.attributes(entry.attribute_proto, f"function {entry.name}")
    _check_once([entry.domain for entry in model.opset_import], "operator domain")
    _check_once([(entry.domain, entry.name) for entry in model.functions], "function")
    texts = [*(text for key in bodies for text in key), *(entry.domain for entry in model.opset_import)]
    texts += [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    texts += [model.producer_name, model.domain, model.doc_string]
    _check_texts([*texts, *walk.texts])
    _check_size(calls, bodies, limits)
    return walk.outside


class _Walk:
    """One pass over the bodies of a model: ``texts`` are all names in them, ``outside`` the tensors of other files."""

    def __init__(self, limits: Limits) -> None:
        self.texts: set[str] = set()
        self.outside: list[TensorProto] = []
        self._limits = limits
        self._waiting: list[onnx.GraphProto] = []

    def body(self, body: onnx.GraphProto | onnx.FunctionProto) -> list[_Call]:
        """Read a body with its inner graphs, and return what its nodes call."""
        calls = self._nodes(body, [*body.input]) if isinstance(body, onnx.FunctionProto) else self._graph(body)
        while self._waiting:
            calls += self._graph(self._waiting.pop())
        return calls

    def attributes(self, attributes: Iterable[onnx.AttributeProto], where: str) -> None:
        """Check attributes and the tensors in them; graphs in them wait for their turn."""
        names = []
        for attribute in attributes:
            names.append(attribute.name)
            for field, value in attribute.ListFields():  # whatever the attribute says that it is
                if field.name in ("t", "tensors"):
                    self._tensors([value] if field.name == "t" else value)
                elif field.name in ("g", "graphs"):
                    self._waiting += [value] if field.name == "g" else value
                elif field.name in ("sparse_tensor", "sparse_tensors"):
                    self._sparse([value] if field.name == "sparse_tensor" else value)
        self.texts.update(names)
        _check_once(names, f"{where}: attribute")

    def _graph(self, graph: onnx.GraphProto) -> list[_Call]:
        inputs, outputs = [info.name for info in graph.input], [info.name for info in graph.output]
        constants = [entry.name for entry in graph.initializer]
        constants += [entry.values.name for entry in graph.sparse_initializer]
        _check_once(inputs, "input")
        _check_once(constants, "constant")
        _check_once(outputs, "output")
        _check_once([info.name for info in graph.value_info], "type of value")
        self.texts.update(inputs, outputs, constants, [graph.name])
        for info in (*graph.input, *graph.output, *graph.value_info):
            if not info.SerializeToString().isascii():  # a negative size is not, nor is what is no text
                self._info(info)
        self._tensors(graph.initializer)
        self._sparse(graph.sparse_initializer)
        # A constant may be the default of an input: it has its name.
        return self._nodes(graph, {*inputs, *constants})

    def _nodes(self, body: onnx.GraphProto | onnx.FunctionProto, known: Iterable[str]) -> list[_Call]:
        made, calls = list(known), []
        self.texts.update(made)
        for node in body.node:
            name, call, outputs = node.name, (node.domain, node.op_type), node.output
            if not outputs:
                raise ModelError(f"node {name or call[1]} has no output; export the model again")
            made += outputs
            calls.append(call)
            self.texts.update(node.input, call, (name,))
            if node.attribute:
                self.attributes(node.attribute, f"node {name or call[1]}")
                if call[1] == "Split":
                    _check_split(node)
        self.texts.update(made)
        _check_once([name for name in made if name], f"graph {body.name}: value")
        return calls

    def _info(self, info: onnx.ValueInfoProto) -> None:
        self.texts.add(info.name)
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                raise ModelError(f"value {info.name} has a size of {dim.dim_value}; sizes are not negative")
            self.texts.add(dim.dim_param)

    def _sparse(self, tensors: Iterable[onnx.SparseTensorProto]) -> None:
        for sparse in tensors:
            self._tensors((sparse.values, sparse.indices))

    def _tensors(self, tensors: Iterable[TensorProto]) -> None:
        for tensor in tensors:
            sizes, elem = list(tensor.dims), tensor.data_type
            if sizes and min(sizes) < 0:
                raise ModelError(f"constant {_name(tensor)} has sizes {sizes}; sizes are not negative")
            if elem not in ITEM_BYTES:
                raise ModelError(f"constant {_name(tensor)} has the element type {elem}, which ONNX does not know")
            if math.prod(sizes) * ITEM_BYTES[elem] > self._limits.memory_bytes:
                raise ModelError(f"constant {_name(tensor)} of sizes {sizes} passes the limit memory_bytes")
            if tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
                self.outside.append(tensor)
            elif tensor.HasField("raw_data") and elem not in _PACKED:
                needed = math.prod(sizes) * ITEM_BYTES[elem]
                if len(tensor.raw_data) != needed:
                    raise ModelError(
                        f"constant {_name(tensor)} of sizes {sizes} holds {len(tensor.raw_data)} bytes and needs "
                        f"{needed}; export or copy the file again"
                    )


def _name(tensor: TensorProto) -> Any:
    return tensor.name or "of a node"


def _check_size(calls: Sequence[_Call], bodies: Mapping[_Call, Sequence[_Call]], limits: Limits) -> None:
    """Count the nodes with those of functions once for each call: what a call of a call of a call grows to."""
    inner = {key: [call for call in body if call in bodies] for key, body in bodies.items()}
    sizes: dict[_Call, int] = {}
    try:
        for key in TopologicalSorter(inner).static_order():
            sizes[key] = len(bodies[key]) + sum(sizes[call] for call in inner[key])
    except CycleError:
        raise ModelError("a function of the model calls itself; export it again") from None
    nodes = sum(1 + sizes.get(call, 0) for call in calls)
    if nodes > limits.nodes:
        raise ModelError(
            f"the model has {nodes} nodes, with those of its functions, and the limit nodes is {limits.nodes}; "
            "raise it in LATENTBIT_LIMITS if you trust the file"
        )


def _check_split(node: onnx.NodeProto) -> None:
    """Raise ModelError for a Split into another number of parts than it has outputs: onnx reads past their list."""
    for attribute in node.attribute:
        if attribute.name == "num_outputs" and attribute.i != len(node.output):
            raise ModelError(
                f"node {node.name or 'Split'}: num_outputs is {attribute.i} and it has {len(node.output)} outputs"
            )


def _check_texts(texts: Iterable[str]) -> None:
    """Refuse what protobuf gives as bytes, because it is no UTF-8."""
    for text in texts:
        if not isinstance(text, str):
            raise ModelError(f"a name in the model is no text: {text!r}; export or copy the file again")


def _check_once(names: Sequence[Hashable], kind: str) -> None:
    if len(set(names)) == len(names):
        return
    name, count = Counter(names).most_common(1)[0]
    shown = ".".join(str(part) for part in name) if isinstance(name, tuple) else str(name)
    raise ModelError(f"{kind} {shown or repr('')} is given {count} times; names must be unique")
