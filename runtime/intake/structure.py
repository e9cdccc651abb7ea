"""What must hold of a file before anything reads its graph: sizes, names, tensors.

A reader that trusts these finds what it expects: onnx's shape inference ends the process at a negative size, protobuf
gives a name that is no text as bytes, and a tensor anywhere in the graph may name a file of its own.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

import onnx
from onnx import TensorProto

from ..errors import ModelError
from .limits import Limits

__all__ = ["check_structure", "external_tensors"]


def check_structure(model: onnx.ModelProto, limits: Limits) -> None:
    """Raise ModelError for a file that is too large for the limits, contradicts itself or is not what ONNX calls valid.

    Every name is text, is given once, and every tensor lies in the file with as much data as its sizes need.
    """
    _check_size(model, limits)
    _check_once(((entry.domain,) for entry in model.opset_import), "operator domain")
    _check_once(((entry.domain, entry.name) for entry in model.functions), "function")
    for function in model.functions:
        _check_names(function.node, function.input, function.name)
    for graph in _graphs(model):
        _check_graph(graph)
    for tensor in _tensors(model):
        _check_tensor(tensor, limits)
    _check_texts([text for entry in model.metadata_props for text in (entry.key, entry.value)])
    _check_texts([model.producer_name, model.graph.name, model.domain, model.doc_string])


def external_tensors(model: onnx.ModelProto) -> list[TensorProto]:
    """Return the tensors of a model, wherever they stand, whose data lie in other files."""
    return [
        tensor for tensor in _tensors(model) if tensor.data_location != TensorProto.DEFAULT or len(tensor.external_data)
    ]


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    yield model.graph
    for node in _nodes(model.graph, *model.functions):
        for attribute in node.attribute:
            yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)


def _nodes(*bodies: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of graphs and functions, those of inner graphs too."""
    waiting: list[Any] = list(bodies)
    while waiting:
        for node in waiting.pop().node:
            yield node
            for attribute in node.attribute:
                waiting += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    for graph in _graphs(model):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    attributes = [entry for node in _nodes(model.graph, *model.functions) for entry in node.attribute]
    attributes += [entry for function in model.functions for entry in function.attribute_proto]
    for attribute in attributes:
        yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
        for sparse in (*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                       *attribute.sparse_tensors):  # fmt: skip
            yield from (sparse.values, sparse.indices)


def _check_size(model: onnx.ModelProto, limits: Limits) -> None:
    """Count the nodes with those of functions once for each call: what a call of a call of a call grows to."""
    bodies = {(entry.domain, entry.name): entry for entry in model.functions}
    calls = {key: [call for call in _calls(body) if call in bodies] for key, body in bodies.items()}
    sizes: dict[tuple[str, str], int] = {}
    try:
        for key in TopologicalSorter(calls).static_order():
            sizes[key] = sum(1 for _ in _calls(bodies[key])) + sum(sizes[call] for call in calls[key])
    except CycleError:
        raise ModelError("a function of the model calls itself; export it again") from None
    nodes = sum(1 + sizes.get(call, 0) for call in _calls(model.graph))
    if nodes > limits.nodes:
        raise ModelError(
            f"the model has {nodes} nodes, with those of its functions, and the limit nodes is {limits.nodes}; "
            "raise it in LATENTBIT_LIMITS if you trust the file"
        )


def _calls(body: onnx.GraphProto | onnx.FunctionProto) -> Iterator[tuple[str, str]]:
    return ((node.domain, node.op_type) for node in _nodes(body))


def _check_graph(graph: onnx.GraphProto) -> None:
    inputs = [info.name for info in graph.input]
    constants = [entry.name for entry in graph.initializer] + [entry.values.name for entry in graph.sparse_initializer]
    _check_once(((name,) for name in inputs), "input")
    _check_once(((name,) for name in constants), "constant")
    _check_once(((info.name,) for info in graph.output), "output")
    _check_once(((info.name,) for info in graph.value_info), "type of value")
    _check_names(graph.node, {*inputs, *constants}, graph.name)
    for info in (*graph.input, *graph.output, *graph.value_info):
        for dim in info.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value < 0:
                raise ModelError(f"value {info.name} has a size of {dim.dim_value}; sizes are not negative")
            _check_texts([dim.dim_param])


def _check_names(nodes: Iterable[onnx.NodeProto], known: Iterable[str], where: str) -> None:
    """Check that every node makes something, and no name is made twice."""
    made: list[tuple[str, ...]] = [(name,) for name in known]
    for node in nodes:
        label = node.name or node.op_type
        if not node.output:
            raise ModelError(f"node {label} has no output; export the model again")
        made += [(name,) for name in node.output if name]
        _check_once(((entry.name,) for entry in node.attribute), f"node {label}: attribute")
        _check_texts([node.domain, node.op_type, *node.input])
        _check_texts([node.name])
    _check_once(made, f"graph {where}: value" if where else "value")


def _check_texts(texts: Iterable[str]) -> None:
    """Refuse what protobuf gives as bytes, because it is no UTF-8."""
    for text in texts:
        if not isinstance(text, str):
            raise ModelError(f"a name in the model is no text: {text!r}; export or copy the file again")


def _check_once(names: Iterable[tuple[str, ...]], kind: str) -> None:
    for name, count in Counter(names).items():
        _check_texts(name)
        if count > 1:
            raise ModelError(f"{kind} {'.'.join(name) or repr('')} is given {count} times; names must be unique")


def _check_tensor(tensor: TensorProto, limits: Limits) -> None:
    name = tensor.name or "of a node"
    if any(size < 0 for size in tensor.dims):
        raise ModelError(f"constant {name} has sizes {list(tensor.dims)}; sizes are not negative")
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        raise ModelError(f"constant {name} has the element type {tensor.data_type}, which ONNX does not know")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if math.prod(tensor.dims) * dtype.itemsize > limits.memory_bytes:
        raise ModelError(f"constant {name} of sizes {list(tensor.dims)} passes the limit memory_bytes")
