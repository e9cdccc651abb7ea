"""Single convolutions: latentbit beside onnxruntime (fp32, int8 U8S8) and OpenVINO's BinaryConvolution.

    python -m bench.kernels.convolutions [--runs 40] [--out bench/results]

Every engine runs the same convolution, one thread, by turns in one process, after a warm-up, in CPU time of its thread.
latentbit's integers are compared with the oracle before any time is taken.

Ours is timed in three forms: float out, bits out (integer thresholds), and residual (scale, bias, residual, RPReLU,
threshold, floats and bits out). Each includes the work that a kernel needs before it (its pair image or copies).
onnxruntime and OpenVINO run a chain of four, and the time is divided by four. So a call, and the changes of layout at
its ends, cost what they cost in a network. A convolution with other outputs than inputs cannot be chained: there
onnxruntime runs one, and ours has no residual form.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from latentbit.runtime.bits import DOMAIN
from latentbit.runtime.proof.oracle import layer_oracle
from latentbit.runtime.proof.peers import PEERS
from latentbit.runtime.session.session import InferenceSession
from tests.support.graph import Graph

from ..harness.report import RESULTS, write_report
from ..harness.timing import clock_of, milliseconds

SHAPES = [  # name, channels, image, kernel
    ("3×3 64@56²", 64, 56, 3),
    ("3×3 128@28²", 128, 28, 3),
    ("3×3 256@14²", 256, 14, 3),
    ("3×3 512@7²", 512, 7, 3),
    ("1×1 256@14²", 256, 14, 1),
    ("3×3 64@32²", 64, 32, 3),
    ("3×3 128@16²", 128, 16, 3),
    ("3×3 256@8²", 256, 8, 3),
    ("3×3 512@4²", 512, 4, 3),
]
FORMS = ("float", "bits", "residual")
CHAIN = 4


def binary_model(channels: int, size: int, kernel: int, form: str, group: int = 1, outputs: int | None = None) -> bytes:
    """Return a model whose node ``conv`` is the convolution in this form; what reads its bits is a 1×1."""
    made = outputs or channels
    rng, graph = np.random.default_rng(0), Graph()

    def sign(value: str, width: int) -> str:
        return graph.node("Binarize", [value, graph.constant(np.zeros((width, 1, 1), np.float32))], DOMAIN)

    def conv(name: str, value: str, inputs: int, side: int, group: int) -> str:
        weight = rng.choice(np.array([-1, 1], np.int8), (made, inputs // group, side, side))
        scale, bias = rng.uniform(0.01, 0.1, made), rng.normal(0, 0.1, made)
        geometry = {"strides": [1, 1], "pads": [side // 2] * 4, "dilations": [1, 1], "group": group, "pad_value": 0.0}
        return graph.binary("BinaryConv2d", value, weight, scale, bias, name, **geometry)

    value, results = conv("conv", sign("input", channels), channels, kernel, group), []
    if form == "residual":
        shift, slope, back = (graph.constant(rng.uniform(0, 0.5, (channels, 1, 1))) for _ in range(3))
        value = graph.node("Sub", [graph.node("Add", [value, "input"]), shift])
        value = graph.node("Add", [graph.node("PRelu", [value, slope]), back])
        results.append(value)
    if form in ("bits", "residual"):
        value = conv("next", sign(value, made), made, 1, 1)
    results.append(value)
    model = graph.build({"input": [1, channels, size, size]}, dict.fromkeys(results))
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def float_chain(
    channels: int, size: int, kernel: int, group: int = 1, outputs: int | None = None, length: int = CHAIN
) -> bytes:
    """Return a chain of float convolutions."""
    made = outputs or channels
    rng, graph, value = np.random.default_rng(0), Graph(), "input"
    for _ in range(length):
        inputs = channels // group
        weight = rng.standard_normal((made, inputs, kernel, kernel)) / np.sqrt(inputs * kernel * kernel)
        reads = [value, graph.constant(weight), graph.constant(np.zeros(made))]
        value = graph.node("Conv", reads, group=group, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4)
    model = graph.build({"input": [1, channels, size, size]}, {value: [1, made, size, size]}, domains={})
    return model.SerializeToString()


def openvino_chain(channels: int, size: int, kernel: int, x: np.ndarray) -> Callable[[], object] | None:
    """Return a chain of CHAIN BinaryConvolutions in OpenVINO, each with its binarisation; None without openvino."""
    try:
        import openvino as ov
        from openvino import opset1 as op
    except ModuleNotFoundError:
        return None
    rng = np.random.default_rng(0)
    first = value = op.parameter([1, channels, size, size], np.float32)
    zero = op.constant(np.zeros((1, channels, 1, 1), np.float32))
    low, high = (op.constant(np.full((1, 1, 1, 1), level, np.float32)) for level in (0, 1))  # must be 0 and 1
    for _ in range(CHAIN):
        bits = op.fake_quantize(value, zero, zero, low, high, 2)
        shape = [channels, channels, kernel, kernel]
        weight = ov.op.Constant(ov.Type.u1, ov.Shape(shape), rng.integers(0, 2, int(np.prod(shape))).tolist())
        pads = [kernel // 2] * 2
        value = op.binary_convolution(bits, weight, [1, 1], pads, pads, [1, 1], "xnor-popcount", -1.0)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(ov.Model([value], [first], "chain"), "CPU", hints).create_infer_request()
    return lambda: request.infer({0: x})


def measure(
    channels: int, size: int, kernel: int, runs: int, group: int = 1, outputs: int | None = None
) -> dict[str, list[float]]:
    """Return microseconds of one convolution by engine; OpenVINO's binary convolution knows no groups."""
    length = CHAIN if outputs in (None, channels) else 1
    x = np.random.default_rng(1).standard_normal((1, channels, size, size)).astype(np.float32)
    sessions = {}
    for form in FORMS if length == CHAIN else FORMS[:2]:
        data = binary_model(channels, size, kernel, form, group, outputs)
        session = sessions[form] = InferenceSession(data)
        layer = session.trace({"input": x})[0]
        assert np.array_equal(layer_oracle(data)(layer.name, layer.signs), layer.accumulators), "integers differ"
    chain = float_chain(channels, size, kernel, group, outputs, length)
    peers: dict[str, Callable[[], object]] = {
        "onnxruntime fp32": PEERS["onnxruntime"](chain, {"input": x}, 1),
        "onnxruntime int8": PEERS["onnxruntime-int8"](chain, {"input": x}, 1),
    }
    if group == 1 and (openvino := openvino_chain(channels, size, kernel, x)) is not None:
        peers["OpenVINO binary"] = openvino
    times: dict[str, list[float]] = {name: [] for name in (*(f"latentbit {form}" for form in sessions), *peers)}
    for turn in range(-3, runs):
        for form, session in sessions.items():
            session.run(None, {"input": x})
            steps = session.profile({"input": x}, clock=time.thread_time_ns)
            if turn >= 0:
                names = ("conv", "conv:pair_image", "conv:turned_image", "conv:spread_image")
                times[f"latentbit {form}"].append(sum(step.duration for step in steps if step.name in names))
        for name, call in peers.items():
            call()
            taken = milliseconds(call, clock_of(name))
            if turn >= 0:
                times[name].append(1e3 * taken / length)
    return times


def main() -> None:
    """Measure all shapes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = {name: measure(channels, size, kernel, options.runs) for name, channels, size, kernel in SHAPES}
    write_report(options.out / "convolutions", "One convolution, one thread, microseconds", rows, "latentbit bits")


if __name__ == "__main__":
    main()
