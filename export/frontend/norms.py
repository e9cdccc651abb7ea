"""Batch norms: into the layer before them, in float64 and rounded once; elsewhere a scale and a shift per channel."""

import numpy as np
import onnx_ir as ir

from ...runtime.bits import DOMAIN
from ...runtime.operators import LAYERS
from ..folding import Affine, batch_norm_affine, fold_binary, fold_real
from .editing import constant_of, insert_before, path_of, replace_node, set_constant

__all__ = ["fold_norms"]


def fold_norms(model: ir.Model) -> None:
    """Fold every BatchNormalization of a graph, in place.

    A layer takes the norm in where nothing else reads it and its weights are its own; its channels must be the norm's,
    which lie on axis 1. Raises UnsupportedError for a norm that has no finite affine form.
    """
    for node in list(model.graph):
        if node.op_type != "BatchNormalization" or node.domain:
            continue
        arrays = [constant_of(value) for value in node.inputs[1:5]]
        if any(array is None for array in arrays):
            continue  # statistics that are computed
        gamma, beta, mean, variance = (np.asarray(array) for array in arrays)
        epsilon = node.attributes.get_float("epsilon", 1e-5) or 0.0
        norm = batch_norm_affine(gamma, beta, mean, variance, _written(epsilon), _name(node))
        layer = node.inputs[0].producer() if node.inputs[0] is not None else None
        if layer is not None and _alone(layer) and _fold_into(model.graph, layer, norm):
            layer.outputs[0].shape = node.outputs[0].shape
            replace_node(node, layer.outputs[0])
        else:
            _as_scale_and_shift(model.graph, node, norm)


def _written(epsilon: float) -> float:
    """Return the number that a file's float32 stands for: 1e-5, not 9.99999974737875e-06."""
    return float(str(np.float32(epsilon)))


def _name(node: ir.Node) -> str:
    mean = node.inputs[3].name if node.inputs[3] is not None else None
    return (mean or "").removesuffix(".running_mean") or node.name or node.op_type


def _alone(layer: ir.Node) -> bool:
    output, weight = layer.outputs[0], layer.inputs[1] if len(layer.inputs) > 1 else None
    return len(output.uses()) == 1 and not output.is_graph_output() and weight is not None and len(weight.uses()) == 1


def _fold_into(graph: ir.Graph, layer: ir.Node, norm: Affine) -> bool:
    weight = constant_of(layer.inputs[1])
    path = path_of(layer)
    if layer.domain == DOMAIN and layer.op_type in LAYERS:
        alpha, bias = constant_of(layer.inputs[2]), constant_of(layer.inputs[3])
        if alpha is None or bias is None:
            return False
        scale, shift = fold_binary(alpha, bias if np.any(bias) else None, norm)
        set_constant(graph, layer, 2, f"{path}.scale", scale)
        set_constant(graph, layer, 3, f"{path}.bias", shift)
        return True
    dense = layer.op_type == "Gemm" and _plain_gemm(layer)
    if layer.domain or weight is None or not (layer.op_type == "Conv" or dense):
        return False
    offset = constant_of(layer.inputs[2]) if len(layer.inputs) > 2 else None
    if len(layer.inputs) > 2 and layer.inputs[2] is not None and offset is None:
        return False
    folded, shift = fold_real(weight, offset, norm)
    set_constant(graph, layer, 1, f"{path}.weight", folded)
    set_constant(graph, layer, 2, f"{path}.bias", shift)
    return True


def _plain_gemm(layer: ir.Node) -> bool:
    factors = [layer.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    return factors == [1.0, 1.0] and layer.attributes.get_int("transB", 0) == 1


def _as_scale_and_shift(graph: ir.Graph, node: ir.Node, norm: Affine) -> None:
    shape = node.outputs[0].shape
    column = (-1, *[1] * (0 if shape is None else len(shape) - 2))
    scaled = insert_before(node, "Mul", [node.inputs[0], None], node.outputs[0], "mul")
    shifted = insert_before(node, "Add", [scaled, None], node.outputs[0], "add")
    path = _name(node)
    for value, key, numbers in ((scaled, "scale", norm.scale), (shifted, "shift", norm.shift)):
        reader = value.producer()
        assert reader is not None
        set_constant(graph, reader, 1, f"{path}.{key}", numbers.astype(np.float32).reshape(column))
    replace_node(node, shifted)
