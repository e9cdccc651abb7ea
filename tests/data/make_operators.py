"""Write operators.onnx: the operators of ai.latentbit as functions in a small model, for tests without onnxscript.

    python tests/data/make_operators.py

tests/export/test_stored_operators.py fails when the file is not what this script writes.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from latentbit.export.opset import ONNX_OPSET, functions
from latentbit.runtime.bits import DOMAIN, OPSET_VERSION, pack_conv_weight, pack_signs

PATH = Path(__file__).with_name("operators.onnx")


def operators_model() -> onnx.ModelProto:
    """Return Binarize → BinaryConv2d → Binarize → Flatten → BinaryGemm over [N, 5, 6, 6], weights from a seed."""
    rng = np.random.default_rng(0)
    conv, dense = rng.choice([-1, 1], (7, 5, 3, 3)), rng.choice([-1, 1], (4, 7 * 3 * 3))
    constants = {
        "conv.weight": pack_conv_weight(conv),
        "conv.scale": np.full(7, 0.25, np.float32),
        "conv.bias": rng.integers(-3, 4, 7).astype(np.float32),
        "dense.weight": pack_signs(dense),
        "dense.scale": np.full(4, 0.5, np.float32),
        "dense.bias": rng.integers(-3, 4, 4).astype(np.float32),
        "zero5": np.zeros((5, 1, 1), np.float32),
        "zero7": np.zeros((7, 1, 1), np.float32),
    }
    nodes = [
        helper.make_node("Binarize", ["input", "zero5"], ["sign.out"], "sign", domain=DOMAIN),
        helper.make_node(
            "BinaryConv2d", ["sign.out", "conv.weight", "conv.scale", "conv.bias"], ["conv.out"], "conv", domain=DOMAIN,
            weight_shape=[7, 5, 3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], group=1, pad_value=0.0,
        ),
        helper.make_node("Binarize", ["conv.out", "zero7"], ["sign2.out"], "sign2", domain=DOMAIN),
        helper.make_node("Flatten", ["sign2.out"], ["flat.out"], "flat", axis=1),
        helper.make_node(
            "BinaryGemm", ["flat.out", "dense.weight", "dense.scale", "dense.bias"], ["logits"], "dense", domain=DOMAIN,
            weight_shape=[4, 63],
        ),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "operators",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 5, 6, 6])],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid(DOMAIN, OPSET_VERSION)]
    return helper.make_model(
        graph, ir_version=8, opset_imports=imports, functions=functions(), producer_name="latentbit"
    )


if __name__ == "__main__":
    PATH.write_bytes(operators_model().SerializeToString(deterministic=True))
