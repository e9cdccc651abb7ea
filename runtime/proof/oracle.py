"""The oracle: ``onnx.reference`` executing one binary layer of a file by the function that the file carries.

It shares no code with the kernels, and nothing but the file with onnxruntime: what it says is what the file means.
For a dilated convolution ``onnx.reference`` fills the gaps between taps with zeros: a 3×3 of dilation 36 becomes 73×73.
A layer of many channels would take all memory then, so input channels are summed by parts.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..bits import DOMAIN
from ..errors import ModelError

__all__ = ["layer_oracle"]

_FLOATS = 2**26
"""Numbers at most, about, in a kernel with its gaps filled, and in the windows that it meets."""


def layer_oracle(data: bytes) -> Callable[[str, NDArray[np.int8]], NDArray[np.int32]]:
    """Return ``oracle(layer, signs)``: the accumulators int32 of that node of the model on ±1 inputs int8."""
    proto = onnx.load_from_string(data)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    evaluators: dict[tuple[str, int, int], ReferenceEvaluator] = {}

    def layer(name: str) -> onnx.NodeProto:
        for node in proto.graph.node:
            if (node.name or node.output[0]) == name and node.domain == DOMAIN:
                return cast("onnx.NodeProto", node)
        raise ModelError(f"the model has no layer {name}")

    def evaluator(name: str, first: int, count: int) -> ReferenceEvaluator:
        node = layer(name)
        functions = [function for function in proto.functions if function.domain == DOMAIN]
        if node.op_type not in {function.name for function in functions}:
            raise ModelError(f"the file does not carry the function {node.op_type}; export it again")
        weight = weights[node.input[1]]
        outputs = weight.dims[0]
        lone = onnx.NodeProto()
        lone.CopyFrom(node)
        shape = next(entry for entry in lone.attribute if entry.name == "weight_shape")
        if count < shape.ints[1]:
            packed = numpy_helper.to_array(weight)[..., first // 8 : -(-(first + count) // 8)]
            weight, shape.ints[1] = numpy_helper.from_array(packed, weight.name), count
        lone.input[:] = ["X", weight.name, "one", "zero"]  # scale 1, bias 0: the result is the accumulator
        lone.output[:] = ["Y"]
        float_type = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            [lone],
            "layer",
            [helper.make_tensor_value_info("X", float_type, None)],
            [helper.make_tensor_value_info("Y", float_type, None)],
            [
                weight,
                numpy_helper.from_array(np.ones(outputs, np.float32), "one"),
                numpy_helper.from_array(np.zeros(outputs, np.float32), "zero"),
            ],
        )
        model = helper.make_model(graph, opset_imports=list(proto.opset_import), ir_version=proto.ir_version)
        model.functions.extend(functions)
        return ReferenceEvaluator(model)

    def oracle(name: str, signs: NDArray[np.int8]) -> NDArray[np.int32]:
        channels, step = signs.shape[1], _channels_at_once(layer(name), signs.shape)
        sums: list[NDArray[np.int32]] = []
        for first in range(0, channels, step):
            part = name, first, min(step, channels - first)
            if part not in evaluators:
                evaluators[part] = evaluator(*part)
            some = signs[:, first : first + step].astype(np.float32)
            with np.errstate(invalid="ignore"):  # sums of ±1 are numbers; a BLAS warned of lanes that it does not use
                (result,) = evaluators[part].run(None, {"X": some})
            sums.append(np.asarray(result).astype(np.int32))
        return sum(sums[1:], sums[0])

    return oracle


def _channels_at_once(node: onnx.NodeProto, shape: Sequence[int]) -> int:
    """Return how many input channels of signs ``[N, C, H, W]`` are summed at once: whole bytes of weights, or all."""
    given: dict[str, Any] = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    dilations = given.get("dilations", [1])
    if max(dilations) == 1 or given["group"] != 1:
        return shape[1]
    outputs, _, *kernel = map(int, given["weight_shape"])
    taps = math.prod(1 + (size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True))
    windows = shape[0] * math.prod(shape[2:])
    return int(max(8, _FLOATS // (taps * max(outputs, windows)) // 8 * 8))
