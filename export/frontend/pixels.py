"""Raw pixels as the input of a graph: normalisation in front of it, or an exact first convolution."""

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.errors import UnsupportedError
from ..folding import round_stem
from ..graph.constants import add_constant
from .editing import constant_of, insert_before, path_of, replace_node

__all__ = ["take_pixels"]


def take_pixels(model: ir.Model, pixels: tuple[Any, Any, float], exact_stem: bool) -> None:
    """Let a graph of one float32 input ``[N, C, H, W]`` take uint8 ``[N, H, W, C]``, in place.

    pixels: ``(mean, std, range)``. exact_stem: round the first convolution to int8 weights and exact sums, instead of
    normalising in front of it. Raises UnsupportedError where the graph has several inputs, or no such convolution.
    """
    graph = model.graph
    if len(graph.inputs) != 1:
        raise UnsupportedError(f"pixels as input need a network of one input, not {len(graph.inputs)}")
    image = graph.inputs[0]
    if image.shape is None or len(image.shape) != 4:
        raise UnsupportedError("pixels as input need a network that takes images [N, C, H, W]")
    readers = [use.node for use in image.uses()]
    stem = readers[0] if exact_stem else None
    if stem is not None and (len(readers) != 1 or stem.op_type != "Conv" or constant_of(stem.inputs[1]) is None):
        raise UnsupportedError("an exact stem needs a network that begins with one convolution and nothing beside it")
    first = graph[0]
    value = ir.Value(name=image.name, shape=image.shape, type=image.type)
    image.replace_all_uses_with(value)  # a stand-in, until the nodes that make it are there
    n, channels, height, width = image.shape
    image.shape, image.type = ir.Shape([n, height, width, channels]), ir.TensorType(ir.DataType.UINT8)
    where = stem if stem is not None else first
    moved = insert_before(where, "Transpose", [image], value, "transpose", dtype=ir.DataType.UINT8, perm=[0, 3, 1, 2])
    real = insert_before(where, "Cast", [moved], value, "cast", to=int(ir.DataType.FLOAT))
    if stem is not None:
        _round(graph, stem, real, pixels)
        return
    mean, std = (np.asarray(entry, np.float32).reshape(-1, 1, 1) for entry in pixels[:2])
    steps = (("Div", "unit", "range", np.array(pixels[2], np.float32)), ("Sub", "centre", "mean", mean))
    result = real
    for op_type, suffix, key, numbers in (*steps, ("Div", "scaled", "std", std)):
        constant = add_constant(graph, f"pixels.{key}", numbers)
        result = insert_before(where, op_type, [result, constant], value, suffix)
        producer = result.producer()
        assert producer is not None
    result_node = result.producer()
    assert result_node is not None
    value.replace_all_uses_with(result)
    for suffix, node in zip(("transpose", "cast", "unit", "centre", ""), _chain(result_node), strict=True):
        node.metadata_props.clear()
        node.metadata_props["latentbit.name"] = f"pixels.{suffix}" if suffix else "pixels"


def _chain(last: ir.Node) -> list[ir.Node]:
    nodes = [last]
    while (value := nodes[0].inputs[0]) is not None and (before := value.producer()) is not None:
        nodes.insert(0, before)
    return nodes


def _round(graph: ir.Graph, stem: ir.Node, real: ir.Value, pixels: tuple[Any, Any, float]) -> None:
    """Put the exact form in the place of a convolution, with Round as the barrier that keeps the scale out of it."""
    name = path_of(stem)
    bias = constant_of(stem.inputs[2]) if len(stem.inputs) > 2 else None
    weight = np.asarray(constant_of(stem.inputs[1]))
    group = stem.attributes.get_int("group", 1) or 1
    if stem.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise UnsupportedError(f"{name}: an exact stem takes a convolution with numeric zero padding")
    rounded = round_stem(weight, bias, pixels, group, name)
    output = stem.outputs[0]
    column = (-1, 1, 1)
    for entry in stem.inputs[1:]:
        if entry is not None and entry.name and entry.name in graph.initializers and len(entry.uses()) == 1:
            graph.initializers.pop(entry.name)
    arrays: dict[str, NDArray[Any]] = {
        "zero_point": rounded.zero_point,
        "weight": rounded.weight.astype(np.int8),
        "scale": rounded.scale.reshape(column),
        "bias": rounded.bias.reshape(column),
    }
    constants = {key: add_constant(graph, f"{name}.{key}", array) for key, array in arrays.items()}
    centred = insert_before(stem, "Sub", [real, constants["zero_point"]], real, "centre")
    kernel = insert_before(
        stem, "Cast", [constants["weight"]], None, "weight.cast", shape=weight.shape, to=int(ir.DataType.FLOAT)
    )
    attributes: dict[str, Any] = {key: stem.attributes[key] for key in stem.attributes if key != "auto_pad"}
    sums = insert_before(stem, "Conv", [centred, kernel], output, "conv", **attributes)
    whole = insert_before(stem, "Round", [sums], output, "round")
    scaled = insert_before(stem, "Mul", [whole, constants["scale"]], output, "scaled")
    replace_node(stem, insert_before(stem, "Add", [scaled, constants["bias"]], output, "shifted"))
