"""From what torch's exporter writes to plain graphs: constants computed, reshapes fixed, known forms."""

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ...runtime.errors import UnsupportedError
from ..graph.constants import Constants, add_constant, fold_constants
from ..graph.wholes import unchanged
from .editing import constant_of, free_constant, replace_node, set_constant

__all__ = ["compute_constants", "refuse_chance", "settle_forms"]

_CHANCE = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}


def refuse_chance(model: ir.Model) -> None:
    """Raise UnsupportedError for operators that draw random numbers: an answer must follow from the input alone."""
    constants = Constants(model)
    for node in model.graph.all_nodes():
        if node.op_type == "Dropout":
            training = constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
            if training is None or not np.any(training):
                continue
        elif node.op_type not in _CHANCE:
            continue
        hint = "give F.dropout training=self.training" if node.op_type == "Dropout" else "leave it out of forward()"
        raise UnsupportedError(f"{node.op_type} draws random numbers when the network infers; {hint}")


def compute_constants(model: ir.Model) -> None:
    """Put initializers in the place of what is computed from constants; one that moves a parameter keeps its name."""
    for node in model.graph:
        if node.op_type == "CastLike" and node.inputs[1] is not None and node.inputs[1].dtype is not None:
            kind = node.inputs[1].dtype  # torch's exporter writes the zeros of a layer without bias "like its input"
            node.op_type = "Cast"
            node.attributes["to"] = ir.AttrInt64("to", int(kind))
            node.resize_inputs(1)
        elif node.op_type == "Shape" and (sizes := _known_sizes(node)) is not None:
            node.outputs[0].replace_all_uses_with(add_constant(model.graph, f"{node.outputs[0].name}.constant", sizes))
    sources = {value: _source(value) for node in model.graph for value in node.outputs}
    names = {f"{value.name}.constant": name for value, name in sources.items() if name}
    fold_constants(model, lambda *_: True)
    graph = model.graph
    for old in [name for name in graph.initializers if name in names]:
        value = graph.initializers[old]
        value.name = free_constant(graph, names[old])


def _known_sizes(node: ir.Node) -> NDArray[np.int64] | None:
    """Return what a Shape answers, if it asks for fixed sizes alone; an LSTM cuts its weights by such a one."""
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if shape is None or node.outputs[0].is_graph_output():
        return None
    ends = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(shape))
    sizes = list(shape)[slice(*ends)]
    return np.array(sizes, np.int64) if all(isinstance(size, int) for size in sizes) else None


def _source(value: ir.Value) -> str | None:
    """Return the name of the one initializer that a value only moves: a view, a transpose, a cast."""
    node = value.producer()
    while node is not None and node.op_type in ("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Cast", "Identity"):
        first = node.inputs[0]
        if first is None:
            return None
        if first.const_value is not None:
            return first.name
        node = first.producer()
    return None


def settle_forms(model: ir.Model) -> None:
    """Write reshapes with constant shapes, and the forms that the runtime knows; remove what does nothing."""
    graph = model.graph
    for node in list(graph):
        if node.domain:
            continue
        if node.op_type in ("Identity", "Dropout"):
            if node.inputs[0] is not None and not node.inputs[0].is_graph_input():
                replace_node(node, node.inputs[0])
        elif (same := unchanged(node, constant_of)) is not None and not same.is_graph_input():
            replace_node(node, same)
        elif node.op_type in ("MaxPool", "AveragePool"):
            _settle_pool(node)
        elif node.op_type == "Reshape":
            _settle_reshape(graph, node)
        elif node.op_type == "Squeeze":
            _settle_squeeze(graph, node)
        elif node.op_type == "ReduceMean":
            _settle_mean(node)
        elif node.op_type == "Conv":
            _drop_zero_bias(node)
        elif node.op_type == "PRelu":
            _settle_slope(graph, node)
    RemoveUnusedNodesPass()(model)


def _settle_reshape(graph: ir.Graph, node: ir.Node) -> None:
    before = None if node.inputs[0] is None else node.inputs[0].shape
    after = node.outputs[0].shape
    if before is None or after is None or node.graph is not graph:
        return
    same_batch = bool(len(before) and len(after) and before[0] == after[0] and not _unknown(before[0]))
    rest = list(after)[1:] if same_batch else list(after)
    if sum(not isinstance(size, int) for size in rest) > 1 or 0 in rest:
        return
    if same_batch and len(after) == 2 and len(before) > 2:
        node.attributes.clear()
        node.op_type = "Flatten"
        node.attributes["axis"] = ir.AttrInt64("axis", 1)
        node.resize_inputs(1)
        return
    sizes = [0] * same_batch + [size if isinstance(size, int) else -1 for size in rest]
    set_constant(graph, node, 1, f"{node.name}.shape", np.array(sizes, np.int64))
    node.attributes.clear()


def _unknown(size: int | ir.SymbolicDim) -> bool:
    return not isinstance(size, int) and size.value is None


def _settle_squeeze(graph: ir.Graph, node: ir.Node) -> None:
    """Name the axes of size 1 that go. Torch leaves an axis of another size where it is, ONNX takes it for an error."""
    source = node.inputs[0]
    shape = None if source is None else source.shape
    if source is None or shape is None or node.graph is not graph:
        return
    given = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    named = range(len(shape)) if given is None else [int(axis) % len(shape) for axis in given.reshape(-1)]
    axes = [axis for axis in named if shape[axis] == 1]
    if axes:
        set_constant(graph, node, 1, f"{node.name}.axes", np.array(axes, np.int64))
    elif not source.is_graph_input():
        replace_node(node, source)
    else:
        node.op_type = "Identity"
        node.resize_inputs(1)


def _settle_mean(node: ir.Node) -> None:
    axes = constant_of(node.inputs[1]) if len(node.inputs) > 1 else None
    shape = None if node.inputs[0] is None else node.inputs[0].shape
    if axes is None or shape is None or len(shape) != 4 or node.attributes.get_int("keepdims", 1) != 1:
        return
    if sorted(int(axis) % 4 for axis in axes) == [2, 3]:
        node.op_type = "GlobalAveragePool"
        node.attributes.clear()
        node.resize_inputs(1)


def _settle_slope(graph: ir.Graph, node: ir.Node) -> None:
    """Drop the axis of the batch from the slopes: ``[C, 1, 1]`` instead of ``[1, C, 1, 1]``."""
    slope, shape = constant_of(node.inputs[1]), node.outputs[0].shape
    if slope is not None and shape is not None and 1 < slope.ndim == len(shape) and slope.shape[0] == 1:
        name = node.inputs[1].name if node.inputs[1] is not None else None
        set_constant(graph, node, 1, name or "slope", slope[0])


def _settle_pool(node: ir.Node) -> None:
    """Say without ``ceil_mode`` what torch computes without it: it drops a last window that would begin in the padding.

    ONNX before opset 22 does not drop it. Raises UnsupportedError where only the size of the image says which it is.
    """
    if not node.attributes.get_int("ceil_mode", 0):
        return
    kernel = node.attributes.get_ints("kernel_shape", []) or []
    ones, zeros = [1] * len(kernel), [0] * 2 * len(kernel)
    strides, pads = node.attributes.get_ints("strides", ones) or ones, node.attributes.get_ints("pads", zeros) or zeros
    dilations = node.attributes.get_ints("dilations", ones) or ones
    before = None if node.inputs[0] is None else node.inputs[0].shape
    after = node.outputs[0].shape
    whole = []
    for axis, size in enumerate(kernel):
        have = None if before is None else before[2 + axis]
        want = None if after is None else after[2 + axis]
        if not isinstance(have, int) or not isinstance(want, int):
            if any(pads) or strides[axis] > size:
                raise UnsupportedError("a padded pool with ceil_mode needs a fixed image size")
            return
        padded = have + pads[axis] + pads[axis + len(kernel)]
        whole.append(want == (padded - dilations[axis] * (size - 1) - 1) // strides[axis] + 1)
    if all(whole):
        node.attributes["ceil_mode"] = ir.AttrInt64("ceil_mode", 0)


def _drop_zero_bias(node: ir.Node) -> None:
    """Drop the zeros that torch's exporter writes for a layer without a bias."""
    value = node.inputs[2] if len(node.inputs) == 3 else None
    if value is not None and (value.name or "").endswith(".constant"):
        bias = constant_of(value)
        if bias is not None and not np.any(bias):
            node.resize_inputs(2)
