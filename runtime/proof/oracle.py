"""The oracle: ``onnx.reference`` executing one binary layer of a file by the function that the file carries.

It shares no code with the kernels, and nothing but the file with onnxruntime: what it says is what the file means.
"""

from collections.abc import Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ..bits import DOMAIN
from ..errors import ModelError

__all__ = ["layer_oracle"]


def layer_oracle(data: bytes) -> Callable[[str, NDArray[np.int8]], NDArray[np.int32]]:
    """Return ``oracle(layer, signs)``: the accumulators int32 of that node of the model on ±1 inputs int8."""
    proto = onnx.load_from_string(data)
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    evaluators: dict[str, ReferenceEvaluator] = {}

    def evaluator(name: str) -> ReferenceEvaluator:
        for node in proto.graph.node:
            if (node.name or node.output[0]) == name and node.domain == DOMAIN:
                break
        else:
            raise ModelError(f"the model has no layer {name}")
        functions = [function for function in proto.functions if function.domain == DOMAIN]
        if node.op_type not in {function.name for function in functions}:
            raise ModelError(f"the file does not carry the function {node.op_type}; export it again")
        weight = weights[node.input[1]]
        outputs = weight.dims[0]
        lone = onnx.NodeProto()
        lone.CopyFrom(node)
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
        if name not in evaluators:
            evaluators[name] = evaluator(name)
        with np.errstate(invalid="ignore"):  # sums of ±1 are numbers; a BLAS has warned of lanes that it does not use
            (result,) = evaluators[name].run(None, {"X": signs.astype(np.float32)})
        return np.asarray(result).astype(np.int32)

    return oracle
