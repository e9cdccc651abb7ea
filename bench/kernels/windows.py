"""What convolutions of one bit a weight over real inputs could gain: a dense layer over all windows, by turns.

    python -m bench.kernels.windows [--runs 40] [--out bench/results]

The dense kernels on the windows of all pixels of a 3×3 convolution, a row each, which were gathered before and are not
timed, beside the convolution itself in onnxruntime, in float32. One thread each.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from latentbit.runtime.kernels.dense import SIGNED
from latentbit.runtime.machine.library import usable_features

from ..harness.report import RESULTS, Times, write_report
from ..harness.timing import by_turns
from .weight_only import files, session_of

SHAPES = ((256, 14), (512, 7))


def convolution(channels: int, size: int) -> bytes:
    """Return a file with a 3×3 convolution alone."""
    weight = np.random.default_rng(0).choice([-1, 1], (channels, channels, 3, 3)).astype(np.float32)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, size, size]) for name in ("x", "y")]
    nodes = [helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], [numpy_helper.from_array(weight, "weight")])
    model: onnx.ModelProto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    return model.SerializeToString()


def measure(folder: Path, channels: int, size: int, runs: int) -> dict[str, list[float]]:
    """Return the microseconds of every dense kernel of this CPU, and of onnxruntime's convolution."""
    rng = np.random.default_rng(1)
    windows = rng.standard_normal((size * size, 9 * channels)).astype(np.float32)
    image = rng.standard_normal((1, channels, size, size)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    theirs = onnxruntime.InferenceSession(convolution(channels, size), options, providers=["CPUExecutionProvider"])
    _, target, _ = files(folder, channels, 9 * channels)
    usable = [kernel.name for kernel in SIGNED if kernel.features <= usable_features()]
    sessions = {name: session_of(name, target) for name in usable}
    calls = {f"latentbit {name}": lambda of=session: of.run(None, {"x": windows}) for name, session in sessions.items()}
    calls["onnxruntime fp32"] = lambda: theirs.run(None, {"x": image})
    return {name: [1000 * one for one in times] for name, times in by_turns(calls, runs).items()}


def main() -> None:
    """Measure the shapes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        rows: Times = {
            f"{channels} channels, 3×3 at {size}²": measure(Path(scratch), channels, size, options.runs)
            for channels, size in SHAPES
        }
    title = "Sums of all windows with one bit a weight, one thread, microseconds"
    write_report(options.out / "windows", title, rows, "latentbit sixteens")


if __name__ == "__main__":
    main()
