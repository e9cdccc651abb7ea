"""Read a model file and refuse what is not understood: the intake of the runtime.

:func:`load` gives a :class:`.model.Model`: the ``ModelProto``, every constant, the inferred type of every value, and
each operator of domain ``ai.latentbit`` as a checked ``BinaryLayer`` or ``BinarizeNode``. Whatever is wrong with a file
is one :class:`~.errors.ModelError` that names the node, so no later stage meets a surprise.
"""

from collections import Counter
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ..bits import DOMAIN, OPSET_VERSION, clear_tail
from ..errors import ModelError, first_line
from ..operators import SIGNATURES, STANDARD_DOMAINS, Signature
from .inference import value_types, without_constants
from .limits import current_limits
from .model import BinarizeNode, BinaryLayer, Model, ValueType
from .source import parse_model, read_bytes

__all__ = ["load"]

_DOMAINS = {*STANDARD_DOMAINS, "ai.onnx.ml", "com.microsoft", DOMAIN}

_KINDS = {"group": onnx.AttributeProto.INT, "pad_value": onnx.AttributeProto.FLOAT}
"""Types of attributes of our operators that are no lists of integers."""

_OWN_NAMES = ("·nhwc", "·out")
"""Ends of the names that the runtime makes of the names of values (steps/buffers.py, session/float_model.py)."""


def load(source: str | PathLike[str] | bytes, data: bytes | None = None) -> Model:
    """Read and validate a model from a path or from the bytes of a file; ``data`` are its bytes, if they are read.

    Raises ModelError for a missing, empty or corrupt file, an unknown op, op version or attribute, and sizes that
    contradict each other.
    """
    data = read_bytes(source) if data is None else data
    proto = parse_model(source, data)
    _check_domains(proto)
    _check_names(proto.graph)
    constants = _constants(proto.graph)
    layers: dict[int, BinaryLayer] = {}
    binarizes: dict[int, BinarizeNode] = {}
    for index, node in enumerate(proto.graph.node):
        if node.domain != DOMAIN:
            continue
        label = node.name or (node.output[0] if node.output else f"#{index}")
        signature = SIGNATURES[node.op_type]
        attributes = _attributes(node, label, signature)
        if not signature.rank:
            threshold = constants.get(node.input[1])
            binarizes[index] = BinarizeNode(
                label, node.input[0], node.output[0], None if threshold is None else threshold.astype(np.float32)
            )
        else:
            layers[index] = _layer(node, label, signature.rank, attributes, constants)
    types = value_types(proto)
    for index, layer in layers.items():
        known = types.get(layer.input)
        _check_channels(layer, known)
        layers[index] = replace(layer, size=None if known is None else known.image_size)
    return Model(without_constants(proto), len(data), constants, types, layers, binarizes)


def _check_domains(proto: onnx.ModelProto) -> None:
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    if DOMAIN in versions and versions[DOMAIN] != OPSET_VERSION:
        raise ModelError(
            f"the model uses {DOMAIN} version {versions[DOMAIN]}, this runtime knows version {OPSET_VERSION}; "
            "export it with a fitting version of latentbit"
        )
    for node in proto.graph.node:
        label = node.name or node.op_type
        if node.domain not in _DOMAINS:
            raise ModelError(f"node {label}: operator domain {node.domain} is not known; known: ONNX and {DOMAIN}")
        if node.domain == DOMAIN and node.op_type not in SIGNATURES:
            raise ModelError(
                f"node {label}: {DOMAIN} has no operator {node.op_type} in version {OPSET_VERSION}; "
                f"it has {', '.join(SIGNATURES)}"
            )
        if node.domain not in versions and node.domain != "ai.onnx":
            raise ModelError(f"node {label}: the model does not state the version of operator domain {node.domain!r}")


def _check_names(graph: onnx.GraphProto) -> None:
    """Refuse a value of a name of ours, and two layers of one name: what is kept by name would be that of another."""
    made = (name for node in graph.node for name in node.output)
    for name in (*(info.name for info in graph.input), *(tensor.name for tensor in graph.initializer), *made):
        if name.endswith(_OWN_NAMES):
            raise ModelError(f"value {name} has a name that the runtime keeps for itself; rename it")
    names = Counter(node.name for node in graph.node if node.domain == DOMAIN and node.name)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise ModelError(f"{names[twice]} nodes are named {twice}; names must be unique")


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    try:
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS and node.attribute:
                value = onnx.helper.get_attribute_value(node.attribute[0])
                if isinstance(value, onnx.TensorProto):
                    constants[node.output[0]] = numpy_helper.to_array(value)
                elif node.attribute[0].name in ("value_float", "value_floats"):
                    constants[node.output[0]] = np.asarray(value, np.float32)
                elif node.attribute[0].name in ("value_int", "value_ints"):
                    constants[node.output[0]] = np.asarray(value, np.int64)
    except Exception as error:
        raise ModelError(
            f"a constant of the model cannot be read ({first_line(error)}); export or copy the file again"
        ) from None
    return constants


def _attributes(node: onnx.NodeProto, label: str, signature: Signature) -> dict[str, Any]:
    known = set(signature.attributes)
    for entry in node.attribute:
        wanted = _KINDS.get(entry.name, onnx.AttributeProto.INTS)
        if entry.ref_attr_name or (entry.name in known and entry.type != wanted):
            kind = onnx.AttributeProto.AttributeType.Name(wanted)
            raise ModelError(f"node {label}: attribute {entry.name} must be {kind}, written as such")
    found = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    if unknown := sorted(set(found) - known):
        raise ModelError(
            f"node {label}: {node.op_type} has no attribute {unknown[0]}; it has {', '.join(sorted(known))}"
        )
    if missing := sorted(known - set(found)):
        raise ModelError(
            f"node {label}: attribute {missing[0]} of {node.op_type} is missing; every one must be written"
        )
    if len(node.input) != len(signature.inputs) or not all(node.input) or len(node.output) != 1:
        raise ModelError(f"node {label}: {node.op_type} takes {len(signature.inputs)} inputs and gives one output")
    return found


def _layer(
    node: onnx.NodeProto, label: str, rank: int, attributes: dict[str, Any], constants: dict[str, NDArray[Any]]
) -> BinaryLayer:
    packed, scale, bias = (_constant(name, label, constants) for name in node.input[1:])
    shape = tuple(int(length) for length in attributes["weight_shape"])
    if len(shape) != rank or min(shape) < 1:
        raise ModelError(f"node {label}: weight_shape {list(shape)} must hold {rank} positive sizes")
    last = -(-shape[1] // 8)
    expected = (shape[0], shape[2], shape[3], last) if rank == 4 else (shape[0], last)
    if packed.dtype != np.uint8 or packed.shape != expected:
        raise ModelError(
            f"node {label}: the packed weight is {packed.dtype}{list(packed.shape)}, "
            f"weight_shape {list(shape)} needs uint8{list(expected)}"
        )
    packed = clear_tail(packed, shape[1])  # nobody computes with what a file has there
    for name, value in (("scale", scale), ("bias", bias)):
        if value.dtype != np.float32 or value.shape != (shape[0],):
            raise ModelError(f"node {label}: {name} is {value.dtype}{list(value.shape)}, needs float32[{shape[0]}]")
    if rank == 2:
        dense = (shape[0], shape[1], 1, 1)
        return BinaryLayer(
            label, node.op_type, node.input[0], node.output[0], dense, packed[:, None, None], scale, bias
        )
    geometry: dict[str, Any] = {
        name: _sizes(attributes[name], label, name, count, least)
        for name, count, least in (("strides", 2, 1), ("pads", 4, 0), ("dilations", 2, 1))
    }
    group, pad_value = int(attributes["group"]), float(attributes.get("pad_value", 0.0))
    if group < 1 or shape[0] % group:
        raise ModelError(f"node {label}: {shape[0]} output channels do not divide into {group} groups")
    if pad_value not in (-1.0, 0.0, 1.0):
        raise ModelError(f"node {label}: pad_value is {pad_value}, it must be −1, 0 or +1")
    four = (shape[0], shape[1], shape[2], shape[3])
    return BinaryLayer(
        label, node.op_type, node.input[0], node.output[0], four, packed, scale, bias,
        **geometry, group=group, pad_value=int(pad_value),
    )  # fmt: skip


def _check_channels(layer: BinaryLayer, known: ValueType | None) -> None:
    """Refuse a layer whose input is known to have other channels than its weight; steps/buffers.py sees the rest."""
    if known is None or known.shape is None or len(known.shape) != layer.rank:
        return
    if isinstance(known.shape[1], int) and known.shape[1] != layer.channels:
        raise ModelError(
            f"node {layer.name}: its input {layer.input} has {known.shape[1]} channels, weight_shape "
            f"{list(layer.shape[: layer.rank])} with {layer.group} groups needs {layer.channels}; export it again"
        )


def _constant(name: str, label: str, constants: dict[str, NDArray[Any]]) -> NDArray[Any]:
    if name not in constants:
        raise ModelError(f"node {label}: input {name} must be a constant of the file (an initializer)")
    return constants[name]


def _sizes(value: Any, label: str, name: str, count: int, least: int) -> tuple[int, ...]:
    sizes, most = tuple(int(entry) for entry in value), current_limits().geometry
    if len(sizes) != count or min(sizes) < least or max(sizes) > most:
        raise ModelError(f"node {label}: {name} {list(sizes)} must hold {count} integers from {least} to {most}")
    return sizes
