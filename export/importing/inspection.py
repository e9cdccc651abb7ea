"""``inspect``: what a model is made of, layer by layer: packed or float and why, multiply-adds, bytes, and the totals.

Any ONNX file can be looked at, ours or not; of a foreign one the table says what ``convert`` would make of it.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
import onnx_ir as ir

from ...runtime.bits import DOMAIN
from ...runtime.errors import InputError, ModelError, first_line
from ..graph.constants import Constants
from ..graph.reading import OnnxFile, load_onnx, standard_opset, to_graph, to_proto
from .layers import is_layer, label, shape_of
from .packing import Outcome, pack_layers
from .plain import look, read_file
from .restoring import restore

__all__ = ["Inspection", "LayerInfo", "inspect"]


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a model as it is in the file.

    ``form``: "binary", "weight-only" or "float"; ``reason`` why it is not binary, or that ``convert`` would pack it.
    ``macs``: multiply-adds for one image, None where the sizes are not known. ``bytes``: its constants in the file;
    ``float_bytes``: the same layer with float32 weights.
    """

    name: str
    op_type: str
    form: str
    reason: str
    weight_shape: tuple[int, ...]
    output_shape: tuple[int | None, ...] | None
    pad_value: int | None
    macs: int | None
    bytes: int
    float_bytes: int


@dataclass(frozen=True)
class Inspection:
    """A model's layers and totals; ``float_bytes`` is the size of the file if every layer had float32 weights."""

    path: str
    opset: int
    layers: tuple[LayerInfo, ...]
    file_bytes: int
    float_bytes: int
    refusal: str = ""
    """Why ``convert`` refuses the file, empty where it does not."""

    @property
    def macs(self) -> int:
        """Multiply-adds for one image of the layers whose sizes are known."""
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def binary_macs(self) -> int:
        """Those of them that are in binary layers."""
        return sum(layer.macs or 0 for layer in self.layers if layer.form == "binary")

    @property
    def unknown_macs(self) -> int:
        """How many layers have sizes that are not known."""
        return sum(layer.macs is None for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON-able values."""
        totals = {"macs": self.macs, "binary_macs": self.binary_macs, "unknown_macs": self.unknown_macs}
        return asdict(self) | totals


def inspect(path: str | os.PathLike[str], *, shapes: Mapping[str, Sequence[int]] | None = None) -> Inspection:
    """Read an ONNX file and return its layers.

    shapes: sizes of inputs by name, for models whose image size is symbolic; a symbolic batch counts as 1.
    A file that ``convert`` refuses is listed as far as it can be read, with the refusal.
    Raises ModelError where there is no graph in the file, InputError for a shape that does not fit.
    """
    file, model, refusal = _read(path)
    if refusal:
        outcomes = [Outcome(label(node), node.op_type, "float", "convert refuses the file") for node in _layers(model)]
    else:
        copy = to_graph(to_proto(model))
        restore(copy)
        outcomes = pack_layers(copy)  # what convert would do, and why not
    model = _with_sizes(model, shapes or {})
    constants = Constants(model)
    layers = [_layer(node, outcome, constants) for node, outcome in zip(_layers(model), outcomes, strict=True)]
    saved = sum(layer.float_bytes - layer.bytes for layer in layers)
    total = file.size + saved
    return Inspection(str(file.path), standard_opset(file.model), tuple(layers), file.size, total, refusal)


def _read(path: str | os.PathLike[str]) -> tuple[OnnxFile, ir.Model, str]:
    """Return a file, its model as far as it can be read, and why it cannot be converted."""
    try:
        file = read_file(path)
    except ModelError as refusal:
        logger = logging.getLogger("onnx_ir")
        level = logger.level
        logger.setLevel(logging.ERROR)  # it would warn of every value that nobody makes; the refusal says it once
        try:
            file = load_onnx(path, check=False)
            return file, look(file)[0], str(refusal)
        except ModelError:
            raise refusal from None
        finally:
            logger.setLevel(level)
    model, refusals = look(file)
    return file, model, str(refusals[0]) if refusals else ""


def _layers(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph.all_nodes() if is_layer(node)]


def _with_sizes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> ir.Model:
    """Set the batch to 1 and the given sizes, and infer every shape."""
    inputs = {value.name: value for value in model.graph.inputs}
    for name, shape in shapes.items():
        if name not in inputs:
            raise InputError(f"the model has no input {name}; its inputs are {', '.join(str(n) for n in inputs)}")
        known = shape_of(inputs[name])
        fits = known is None or (
            len(known) == len(shape) and all(k in (None, s) for k, s in zip(known, shape, strict=True))
        )
        if not fits or min(shape, default=1) < 1:
            raise InputError(f"input {name} is {inputs[name].shape}, {list(shape)} does not fit")
        inputs[name].shape = ir.Shape(shape)
    batches = set()
    for value in inputs.values():
        if value.shape is not None and len(value.shape) and not isinstance(value.shape[0], int):
            batches.add(value.shape[0].value)
            value.shape = ir.Shape([1, *value.shape[1:]])
    if not shapes and not batches:
        return model
    for node in model.graph.all_nodes():  # inferred anew from the inputs
        for output in node.outputs:
            if not output.is_graph_output():
                output.shape = None
    for output in model.graph.outputs:
        if output.shape is not None:
            output.shape = ir.Shape([None] * len(output.shape))
    proto = to_proto(model)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except Exception as error:
        raise InputError(f"the model does not take inputs of these sizes: {first_line(error)}") from None
    return to_graph(inferred)


def _layer(node: ir.Node, outcome: Outcome, constants: Constants) -> LayerInfo:
    output = shape_of(node.outputs[0])
    form, pad_value = "float", None
    weight_shape = outcome.weight_shape
    if node.domain == DOMAIN:
        form, pad_value = outcome.form, outcome.pad_value
    elif not weight_shape and len(node.inputs) > 1 and (weight := constants.get(node.inputs[1])) is not None:
        weight_shape = weight.shape
    stored = _stored(node.inputs, constants)
    packed = _stored(node.inputs[1:2], constants)
    return LayerInfo(
        label(node),
        node.op_type,
        form,
        _reason(form, outcome),
        weight_shape,
        None if output is None else tuple(output),
        pad_value,
        _macs(node, weight_shape, output),
        stored,
        stored - packed + 4 * int(np.prod(weight_shape)) if packed else stored,
    )


def _stored(values: Sequence[ir.Value | None], constants: Constants) -> int:
    """Return the bytes that constants take in the file, also where they are computed from others (int8 weights)."""
    seen: dict[ir.Value, int] = {}
    open_ = [value for value in values if value is not None]
    while open_:
        value = open_.pop()
        array = constants.get(value)
        if value in seen or array is None:
            continue
        node = value.producer()
        computed = node is not None and node.op_type != "Constant"
        seen[value] = 0 if computed else array.nbytes
        if node is not None:
            open_ += [entry for entry in node.inputs if entry is not None]
    return sum(seen.values())


def _reason(form: str, outcome: Outcome) -> str:
    if form == "weight-only":
        return "real activations"
    if form == "binary":
        return ""
    return outcome.reason if outcome.form == "float" else f"convert would make it {outcome.form}"


def _macs(node: ir.Node, weight_shape: tuple[int, ...], output: list[int | None] | None) -> int | None:
    """Return the multiply-adds of a layer: its weights, once per position of the output (the batch is not counted)."""
    if output is None or node.op_type in ("LSTM", "GRU", "RNN", "Einsum", "Attention"):
        return None
    sizes: list[int | None] = [*weight_shape]
    if not weight_shape:  # two computed operands: every output is a sum over the last axis of the first
        sizes = [*output[1:], *(shape_of(node.inputs[0]) or [None])[-1:]]
    elif node.op_type == "ConvTranspose":  # every position of the input meets every weight
        sizes += (shape_of(node.inputs[0]) or [None])[2:]
    elif "Conv" in node.op_type:
        sizes += output[2:]
    else:
        sizes += output[1:-1]
    product = 1
    for size in sizes:
        if size is None:
            return None
        product *= size
    return product
