"""Two-bit layers: what ``convert`` makes of them beside onnxruntime on the float file and on its int8 form, by turns.

    python -m bench.kernels.two_bits [--runs 40] [--out bench/results]

A 3×3 convolution of ``Round(Clip(x, 0, 3))`` with weights of one bit (±1) or two (−1, 0, +1), and one of one bit for
comparison. The answers of the float file and of ours are compared and have to be equal: all sums are integers. The int8
form is onnxruntime's static quantisation of the float file. One thread each.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from latentbit.export import convert
from latentbit.runtime import InferenceSession
from latentbit.runtime.proof.peers import PEERS

from ..harness.report import RESULTS, Times, write_report
from ..harness.timing import by_turns

SHAPES = ((64, 56), (128, 28), (256, 14), (512, 7))
FORMS = (("W1A1", 1, (-1, 1)), ("W1A2", 3, (-1, 1)), ("W2A2", 3, (-1, 0, 1)))


def layer(channels: int, size: int, most: int, weights: tuple[int, ...], rng: np.random.Generator) -> onnx.ModelProto:
    """Return the float file: quantiser and convolution, as an exporter writes them."""
    weight = rng.choice(weights, (channels, channels, 3, 3)).astype(np.float32)
    arrays = {"low": np.float32(0), "high": np.float32(most), "weight": weight}
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["clipped"]),
        helper.make_node("Round", ["clipped"], ["levels"]),
        helper.make_node("Conv", ["levels", "weight"], ["y"], pads=[1, 1, 1, 1]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, size, size]) for name in ("x", "y")]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], constants)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


def measure(channels: int, size: int, most: int, weights: tuple[int, ...], runs: int) -> dict[str, list[float]]:
    """Return the microseconds of both engines for one shape."""
    rng = np.random.default_rng(channels)
    x = (2 * rng.standard_normal((1, channels, size, size))).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.onnx", Path(folder) / "target.onnx"
        onnx.save(layer(channels, size, most, weights, rng), source)
        (outcome,) = convert(source, target).layers
        assert outcome.form == ("binary" if most <= 3 else "weight-only"), outcome
        ours = InferenceSession(target)
        theirs = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(ours.run(None, {"x": x})[0], theirs.run(None, {"x": x})[0])
        calls = {
            "latentbit": lambda: ours.run(None, {"x": x}),
            "onnxruntime fp32": lambda: theirs.run(None, {"x": x}),
            "onnxruntime int8": PEERS["onnxruntime-int8"](source.read_bytes(), {"x": x}, 1),
        }
        return {name: [1000 * one for one in times] for name, times in by_turns(calls, runs).items()}


def main() -> None:
    """Measure all shapes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows: Times = {
        f"{form} 3×3 {channels}@{size}²": measure(channels, size, most, weights, options.runs)
        for channels, size in SHAPES
        for form, most, weights in FORMS
    }
    write_report(options.out / "two_bits", "One convolution of two bits, one thread, microseconds", rows, "latentbit")


if __name__ == "__main__":
    main()
