"""Float weights that remain as int8, one scale an output channel: a quarter of their bytes, still float arithmetic.

``w ≈ scale·q`` with ``scale = max|w| / 127``, ``q = round(w / scale)`` (symmetric, per channel, as in arXiv 1806.08342,
section 2). In the file it is Cast and Mul, which onnxruntime computes once, when it loads. (DequantizeLinear says the
same in one node, but onnxruntime 1.32 keeps it for its int8 kernels and carries it out at every run: the float layers
at the end of a ResNet-18 took 328 µs with it, 219 µs without, best of 200 runs of ``bench/nets/int8_storage.py``.)
"""

import numpy as np
import onnx_ir as ir

from ..folding import round_to_int8
from ..graph.constants import add_constant
from .editing import constant_of, insert_before, path_of

__all__ = ["store_as_int8"]

SMALLEST = 256
"""Layers with fewer weights keep them in float: a scale a channel would save next to nothing."""


def store_as_int8(model: ir.Model) -> None:
    """Store the weights of Conv, Gemm and MatMul as int8 and round them so, in place."""
    graph = model.graph
    for node in list(graph):
        if node.domain or node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        value = node.inputs[1]
        weight = constant_of(value)
        if value is None or weight is None or weight.dtype != np.float32 or weight.size < SMALLEST:
            continue
        last = node.op_type == "MatMul" or (node.op_type == "Gemm" and not node.attributes.get_int("transB", 0))
        if weight.ndim < 2 or (last and weight.ndim != 2):
            continue
        quantised, scale = round_to_int8(weight.T if last else weight)
        column = scale.reshape(1, -1) if last else scale.reshape(-1, *[1] * (weight.ndim - 1))
        path = path_of(node)
        users = list(value.uses())
        graph.initializers.pop(value.name or "")
        stored = add_constant(graph, f"{path}.weight", np.ascontiguousarray(quantised.T if last else quantised))
        factor = add_constant(graph, f"{path}.weight_scale", column)
        first = min((use.node for use in users), key=list(graph).index)
        real = insert_before(
            first, "Cast", [stored], None, "weight.cast", shape=weight.shape, to=int(ir.DataType.FLOAT)
        )
        real = insert_before(first, "Mul", [real, factor], None, "weight.scaled", shape=weight.shape)
        for use in users:
            use.node.replace_input_with(use.idx, real)
