"""Dense layers of one bit a weight over real inputs, beside onnxruntime on the same layer in float32, by turns.

    python -m bench.kernels.weight_only [--runs 40] [--out bench/results]

Two tables. Times: every kernel that this CPU can run, one thread; in the rows *cold*, the first of them when other work
has used the caches before. The answers are compared, within the bound of ``runtime/kernels/signed_sums.py``. Memory:
how much a process grows by that opens the layer and runs it once, at most and when it is done; onnxruntime on the float
file, and on the packed one, whose weights it makes floats.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latentbit.export import convert
from latentbit.runtime import InferenceSession
from latentbit.runtime.kernels.dense import SIGNED
from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.steps import choice

from ..harness.report import RESULTS, Times, write_report
from ..harness.timing import by_turns

SHAPES = ((1024, 1024), (4096, 1024), (1024, 4096), (4096, 4096))
ROWS = (1, 4, 32)
_GROWTH = """
import gc, json, sys
import numpy as np, onnxruntime
from latentbit.runtime import InferenceSession
def told(key):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(key))
def opened(path):
    if sys.argv[1] == "latentbit":
        return InferenceSession(path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
opened(sys.argv[2]).run(None, {"x": np.zeros((1, 1024), np.float32)})  # what every process takes once
gc.collect()
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")
before = told("VmRSS")
session = opened(sys.argv[3])
session.run(None, {"x": np.zeros((1, 4096), np.float32)})
print(json.dumps([told("VmHWM") - before, told("VmRSS") - before]))
"""


def layer(outputs: int, inputs: int) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    """Return the float file of a layer whose weights are ±1, as an exporter writes it, and the weight."""
    weight = np.random.default_rng(outputs).choice([-1, 1], (outputs, inputs)).astype(np.float32)
    arrays = {"weight": weight, "bias": np.zeros(outputs, np.float32)}
    node = helper.make_node("Gemm", ["x", "weight", "bias"], ["y"], transB=1)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in (("x", inputs), ("y", outputs))
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([node], "layer", ends[:1], ends[1:], constants)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)]), weight


def files(folder: Path, outputs: int, inputs: int) -> tuple[Path, Path, NDArray[np.float32]]:
    """Write the float file and the packed one; return their paths and the weight."""
    source, target = folder / f"float{outputs}x{inputs}.onnx", folder / f"packed{outputs}x{inputs}.onnx"
    model, weight = layer(outputs, inputs)
    onnx.save(model, source)
    (outcome,) = convert(source, target).layers
    assert outcome.form == "weight-only", outcome
    return source, target, weight


def session_of(kernel: str, path: Path) -> InferenceSession:
    """Return a session that runs the layer by this kernel."""
    all_of_them = choice.SIGNED
    choice.SIGNED = tuple(one for one in SIGNED if one.name == kernel)
    try:
        model = onnx.load(path)
        model.doc_string = kernel  # sessions on one file share what the first has prepared
        session = InferenceSession(model.SerializeToString())
    finally:
        choice.SIGNED = all_of_them
    assert [step.kernel for step in session.get_steps()] == [kernel]
    return session


def measure(folder: Path, outputs: int, inputs: int, rows: int, runs: int) -> Times:
    """Return the microseconds of every engine for one shape, with warm caches and, for one row, with cold ones."""
    source, target, weight = files(folder, outputs, inputs)
    x = np.random.default_rng(1).standard_normal((rows, inputs)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    theirs = onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    usable = [kernel.name for kernel in SIGNED if kernel.features <= usable_features()]
    sessions = {f"latentbit {name}": session_of(name, target) for name in usable} | {"onnxruntime fp32": theirs}
    exact, size = x.astype(np.float64) @ weight.T.astype(np.float64), np.abs(x).sum(1, dtype=np.float64)[:, None]
    for name, session in sessions.items():
        depth = inputs if session is theirs else 4 + -(-inputs // 32)
        assert np.all(np.abs(session.run(None, {"x": x})[0] - exact) <= 1.01 * depth * 2.0**-24 * size), name

    def caller(session: InferenceSession) -> Callable[[], object]:
        return lambda: session.run(None, {"x": x})

    calls = {name: caller(session) for name, session in sessions.items()}
    first = {name: _cold(calls[name]) for name in (f"latentbit {usable[0]}", "onnxruntime fp32")}
    label = f"{outputs} × {inputs}, {rows} row{'s' if rows > 1 else ''}"
    return {
        row: {name: [1000 * one for one in times] for name, times in by_turns(which, runs).items()}
        for row, which in ((label, calls), (f"{label}, cold", first))
        if rows == 1 or which is calls
    }


def _cold(call: Callable[[], object]) -> Callable[[], object]:
    """Return what does the call every second time, which the harness times, and uses the caches up in between."""
    other = np.zeros(2**25, np.float32)
    turns = cycle((lambda: other.__iadd__(1), call))
    return lambda: next(turns)()


def memory(folder: Path) -> Times:
    """Return the MiB that a process grows by, of each engine and file: at most, and at the end."""
    small, large = files(folder, 1024, 1024), files(folder, 4096, 4096)
    found: dict[str, list[float]] = {}
    for name, which in (("latentbit", 1), ("onnxruntime fp32", 0), ("onnxruntime, packed file", 1)):
        command = [sys.executable, "-c", _GROWTH, name, str(small[which]), str(large[which])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = json.loads(done.stdout)
    return {
        f"4096 × 4096, {when}": {name: [figures[index]] for name, figures in found.items()}
        for index, when in enumerate(("at most", "in the end"))
    }


def main() -> None:
    """Measure all shapes and the memory, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        times: Times = {}
        for outputs, inputs in SHAPES:
            for rows in ROWS:
                times |= measure(Path(scratch), outputs, inputs, rows, options.runs)
        first = next(iter(next(iter(times.values()))))
        title = "A dense layer of one bit a weight, one thread, microseconds"
        write_report(options.out / "weight_only", title, times, first)
        write_report(
            options.out / "weight_only_memory", "What a process grows by, MiB", memory(Path(scratch)), "latentbit"
        )


if __name__ == "__main__":
    main()
