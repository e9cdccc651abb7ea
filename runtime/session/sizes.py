"""What nodes compute of sizes that the file states: onnxruntime then finds numbers in the place of these nodes.

A file with a batch of any size holds nodes for every size of a value, also for those that no run changes: the scale of
an attention, 1 / √d, is made of ``Shape``, ``Gather``, ``Cast``, ``Sqrt`` and ``Div`` at each run. onnxruntime does
such work beforehand only where every size of the value is stated.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS
from ..plan.graph import read_values

__all__ = ["state_sizes"]

_Sizes = list[int | None]
"""A vector of sizes, None where a run tells it."""


def state_sizes(
    model: Model, nodes: Sequence[onnx.NodeProto], wanted: Collection[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the nodes that have to run, and what the others give as constants, int64.

    wanted: values that leave the segment. A Reshape to sizes of which one alone is unknown reads a -1 in its place, and
    a CastLike becomes a Cast.
    """
    known: dict[str, _Sizes] = {}
    left: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}
    for node in nodes:
        found = _sizes(model, known, node)
        if found is not None:
            known[node.output[0]] = found
            if None not in found:
                constants[node.output[0]] = _tensor(node.output[0], found)
                continue
        left.append(_with_stated_shape(_as_cast(model, node), known, constants))
    needed, running = {*wanted}, []
    for node in reversed(left):
        if not needed.isdisjoint(node.output):
            needed.update(read_values(node))
            running.append(node)
    return running[::-1], [tensor for name, tensor in constants.items() if name in needed]


def _tensor(name: str, sizes: Sequence[int | None]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(sizes, np.int64), name)


def _as_cast(model: Model, node: onnx.NodeProto) -> onnx.NodeProto:
    like = model.types.get(node.input[1]) if node.op_type == "CastLike" and len(node.input) == 2 else None
    if node.domain not in STANDARD_DOMAINS or like is None or not like.elem or node.attribute:
        return node
    return helper.make_node("Cast", [node.input[0]], [node.output[0]], node.name, to=like.elem)


def _with_stated_shape(
    node: onnx.NodeProto, known: Mapping[str, _Sizes], constants: dict[str, onnx.TensorProto]
) -> onnx.NodeProto:
    sizes = known.get(node.input[1], []) if node.op_type == "Reshape" and len(node.input) == 2 else []
    if node.domain not in STANDARD_DOMAINS or sizes.count(None) != 1 or any(size == 0 or size == -1 for size in sizes):
        return node
    name = f"{node.input[1]}·stated"
    constants[name] = _tensor(name, [-1 if size is None else size for size in sizes])
    stated = onnx.NodeProto()
    stated.CopyFrom(node)
    stated.input[1] = name
    return stated


def _sizes(model: Model, known: Mapping[str, _Sizes], node: onnx.NodeProto) -> _Sizes | None:
    """Return the sizes that a node gives, None for what is no vector of sizes."""
    find = _FIND.get(node.op_type) if node.domain in STANDARD_DOMAINS and len(node.output) == 1 else None
    if find is None:
        return None
    try:
        given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        return find(model, known, node, given)
    except (IndexError, KeyError, TypeError, ValueError):  # an input or an attribute that is not there, or is odd
        return None


_Find = Callable[[Model, Mapping[str, _Sizes], onnx.NodeProto, Mapping[str, Any]], _Sizes | None]


def _shape(model: Model, known: Mapping[str, _Sizes], node: onnx.NodeProto, given: Mapping[str, Any]) -> _Sizes | None:
    shape = model.types[node.input[0]].shape
    if shape is None:
        return None
    sizes = [size if isinstance(size, int) else None for size in shape]
    return sizes[int(given.get("start", 0)) : given.get("end")]


def _vector(model: Model, known: Mapping[str, _Sizes], name: str) -> _Sizes:
    """Return a vector of sizes; KeyError for anything else."""
    if name in known:
        return known[name]
    array = model.constants[name]
    if array.ndim != 1 or array.dtype != np.int64:
        raise KeyError(name)
    return [int(size) for size in array]


def _whole(model: Model, name: str) -> NDArray[np.int64]:
    array = model.constants[name]
    if array.ndim != 1:
        raise KeyError(name)
    return array


def _gather(model: Model, known: Mapping[str, _Sizes], node: onnx.NodeProto, given: Mapping[str, Any]) -> _Sizes | None:
    if given.get("axis", 0) != 0:
        return None
    sizes = known[node.input[0]]
    return [sizes[int(index)] for index in _whole(model, node.input[1])]


def _slice(model: Model, known: Mapping[str, _Sizes], node: onnx.NodeProto, given: Mapping[str, Any]) -> _Sizes | None:
    sizes, values = known[node.input[0]], [_whole(model, name) for name in node.input[1:]]
    (start,), (end,) = values[0].tolist(), values[1].tolist()
    axis, step = (values[place].tolist() if len(values) > place else [usual] for place, usual in ((2, 0), (3, 1)))
    return sizes[start:end] if axis == [0] and step == [1] else None


def _concat(model: Model, known: Mapping[str, _Sizes], node: onnx.NodeProto, given: Mapping[str, Any]) -> _Sizes | None:
    if given["axis"] not in (0, -1) or known.keys().isdisjoint(node.input):
        return None
    return [size for name in node.input for size in _vector(model, known, name)]


_FIND: Mapping[str, _Find] = MappingProxyType({"Concat": _concat, "Gather": _gather, "Shape": _shape, "Slice": _slice})
