"""What storing float layers as int8 costs in onnxruntime, by the operators that say so in the file.

    python -m bench.nets.int8_storage

A 1×1 convolution of 256 to 512 channels at 7×7, a global pool and a dense layer of 512 to 1,000: the float layers at
the end of a ResNet-18. The three models run interleaved in one process; microseconds, median and best.
"""

import platform
import time
from functools import partial

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from ..harness.timing import by_turns

RUNS = 200


def model(form: str) -> bytes:
    """Return the model with float weights, or int8 weights behind DequantizeLinear, or behind Cast and Mul."""
    rng = np.random.default_rng(0)
    constants, nodes = [], []
    for name, shape in (("fc", (1000, 512)), ("conv", (512, 256, 1, 1))):
        quantised = rng.integers(-127, 128, shape).astype(np.int8)
        scale = (rng.random(shape[0]) * 0.01).astype(np.float32)
        column = scale.reshape(-1, *[1] * (len(shape) - 1))
        if form == "float32":
            constants.append(numpy_helper.from_array(quantised * column, name))
            continue
        constants.append(numpy_helper.from_array(quantised, f"{name}.int8"))
        constants.append(numpy_helper.from_array(scale if form == "DequantizeLinear" else column, f"{name}.scale"))
        if form == "DequantizeLinear":
            nodes.append(helper.make_node(form, [f"{name}.int8", f"{name}.scale"], [name], axis=0))
        else:
            nodes.append(helper.make_node("Cast", [f"{name}.int8"], [f"{name}.real"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}.real", f"{name}.scale"], [name]))
    nodes += [
        helper.make_node("Conv", ["x", "conv"], ["y"]),
        helper.make_node("GlobalAveragePool", ["y"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc"], ["z"], transB=1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 256, 7, 7])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 1000])
    graph = helper.make_graph(nodes, form, [x], [z], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def main() -> None:
    """Time the forms and print a table."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    forms = ("float32", "DequantizeLinear", "Cast, Mul")
    sessions = {form: onnxruntime.InferenceSession(model(form), options) for form in forms}
    x = np.random.default_rng(1).normal(size=(1, 256, 7, 7)).astype(np.float32)
    calls = {form: partial(session.run, None, {"x": x}) for form, session in sessions.items()}
    samples = by_turns(calls, RUNS, lambda form: time.perf_counter_ns, warm_up=10)
    print(f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}, {platform.machine()}, one thread")
    print("| weights | median µs | best µs | bytes |\n|---|---|---|---|")
    for form in forms:
        median, best = 1e3 * np.median(samples[form]), 1e3 * min(samples[form])
        print(f"| {form} | {median:.0f} | {best:.0f} | {len(model(form)):,} |")


if __name__ == "__main__":
    main()
