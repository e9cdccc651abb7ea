"""Whole networks: the binary ResNet-18 beside the float and the int8 one of the same architecture, and OpenVINO's.

    python -m bench.nets.resnet18 [--runs 30] [--threads 1] [--batch 1] [--out bench/results]

By turns in one process after a warm-up; with one thread in CPU time of the thread (OpenVINO, which has threads of its
own, in wall time), with more in wall time. A batch is divided by its images. latentbit's integers are compared with
the oracle before any time is taken, layer by layer.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from latentbit.runtime.proof.oracle import layer_oracle
from latentbit.runtime.proof.peers import PEERS
from latentbit.runtime.session.session import InferenceSession

from ..harness.networks import FloatResNet18, binary_resnet18, openvino_binary_resnet18
from ..harness.report import RESULTS, write_report
from ..harness.timing import by_turns, clock_of

NETWORKS = {
    "ResNet-18 224²": (224, 1000, {"7×7 float stem": {"stem": "imagenet"}, "exact": {"stem": "imagenet", "exact": True},
                                   "cheap stem": {"stem": "cheap"}}),
    "CIFAR ResNet-18 32²": (32, 10, {"3×3 float stem": {"stem": "cifar"}, "exact": {"stem": "cifar", "exact": True}}),
}  # fmt: skip


def session_call(data: bytes, size: int, batch: int, threads: int) -> Callable[[], object]:
    """Return a run of latentbit on random images after its integers were compared with the oracle."""
    session = InferenceSession(data, num_threads=threads)
    pixels = session.get_inputs()[0].type == "tensor(uint8)"
    rng = np.random.default_rng(0)
    shape = (batch, size, size, 3) if pixels else (batch, 3, size, size)
    x = rng.integers(0, 256, shape, np.uint8) if pixels else rng.standard_normal(shape).astype(np.float32)
    oracle = layer_oracle(data)
    for layer in session.trace({"input": x[:1]}):
        assert np.array_equal(oracle(layer.name, layer.signs), layer.accumulators), layer.name
    return lambda: session.run(None, {"input": x})


def measure(name: str, runs: int, threads: int, batch: int, folder: Path) -> dict[str, list[float]]:
    """Return milliseconds an image by engine."""
    size, classes, forms = NETWORKS[name]
    calls: dict[str, Callable[[], object]] = {}
    for form, options in forms.items():
        path = binary_resnet18(folder / "model.onnx", size, num_classes=classes, **options)
        calls[f"latentbit, {form}"] = session_call(path.read_bytes(), size, batch, threads)
    x = np.random.default_rng(0).standard_normal((batch, 3, size, size)).astype(np.float32)
    data = FloatResNet18(size, classes, cifar=size == 32, batch=batch).model().SerializeToString()
    calls["onnxruntime fp32"] = PEERS["onnxruntime"](data, {"input": x}, threads)
    calls["onnxruntime int8"] = PEERS["onnxruntime-int8"](data, {"input": x}, threads)
    if size == 224 and (openvino := openvino_binary_resnet18(x, threads)) is not None:
        calls["OpenVINO binary"] = openvino
    times = by_turns(calls, runs, clock_of if threads == 1 else lambda engine: time.perf_counter_ns, warm_up=2)
    return {engine: [value / batch for value in values] for engine, values in times.items()}


def main() -> None:
    """Measure the networks, print and write a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for name in NETWORKS:
            times = measure(name, options.runs, options.threads, options.batch, Path(scratch))
            ours = [engine for engine in times if engine.startswith("latentbit")]
            title = f"{name}, batch {options.batch}, threads {options.threads}, milliseconds an image"
            label = f"resnet18-{NETWORKS[name][0]}-threads{options.threads}-batch{options.batch}"
            rows = {
                form: {"latentbit": times[form], **{e: v for e, v in times.items() if e not in ours}} for form in ours
            }
            write_report(options.out / label, title, rows, "latentbit", digits=2)


if __name__ == "__main__":
    main()
