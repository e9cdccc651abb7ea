"""The popcount peak of this core, and what size costs: latency over channels, resolution and depth.

    python -m bench.kernels.limits [--runs 40] [--out bench/results]

The peak is the best rate at which the kernel counts without its epilogue, over a small, a middle and a large layer:
what no layer can pass. The best run of every layer is then told in per cent of it. One thread, CPU time.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from latentbit.runtime.intake.reading import load
from latentbit.runtime.session.session import InferenceSession
from latentbit.runtime.steps import choose_kernels

from ..harness.networks import binary_resnet18
from ..harness.report import RESULTS, write_report
from ..harness.timing import milliseconds
from .convolutions import binary_model


def peak(channels: int, size: int, runs: int) -> float:
    """Return multiply-accumulates a nanosecond of the counting loop alone, best of the runs."""
    session = InferenceSession(binary_model(channels, size, 3, "bits"))
    feeds = {"input": np.zeros((1, channels, size, size), np.float32)}
    times = []
    for _ in range(runs):
        steps = session.profile(feeds, counting_only=True, clock=time.thread_time_ns)
        times += [step.duration for step in steps if step.name == "conv"]
    return 9 * channels * channels * size * size / (1e3 * min(times))


def layer(channels: int, size: int, runs: int) -> list[float]:
    """Return microseconds of a fused 3×3 convolution with residual."""
    session = InferenceSession(binary_model(channels, size, 3, "residual"))
    feeds = {"input": np.random.default_rng(0).standard_normal((1, channels, size, size)).astype(np.float32)}
    session.run(None, feeds)
    times = []
    for _ in range(runs):
        steps = session.profile(feeds, clock=time.thread_time_ns)
        times.append(sum(step.duration for step in steps if step.name in ("conv", "conv:pair_image")))
    return times


def network(size: int, width: int, runs: int) -> list[float]:
    """Return milliseconds of an exact ResNet-18 of this width on size × size images."""
    with tempfile.TemporaryDirectory() as scratch:
        path = binary_resnet18(Path(scratch) / "model.onnx", size, exact=True, stem="imagenet", width=width)
        session = InferenceSession(path)
    feeds = {"input": np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)}
    session.run(None, feeds)
    return [milliseconds(lambda: session.run(None, feeds)) for _ in range(runs)]


def main() -> None:
    """Measure, print and write three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    ceiling = max(peak(c, s, options.runs) for _ in range(3) for c, s in ((128, 8), (256, 14), (512, 28)))
    (chosen,) = choose_kernels(load(binary_model(64, 16, 3, "bits"))).layers.values()
    rows: dict[str, dict[str, list[float]]] = {}
    for channels, size in ((32, 28), (64, 28), (128, 28), (256, 28), (512, 28), (64, 7), (64, 14), (64, 56), (64, 112)):
        times = layer(channels, size, options.runs)
        percent = 100 * 9 * channels**2 * size**2 / (1e3 * min(times)) / ceiling
        rows[f"3×3 {channels}@{size}²"] = {"microseconds": times, "per cent of peak": [percent]}
    title = f"Fused layer with residual; peak of kernel {chosen.kernel.name}: {ceiling:.0f} GMAC/s"
    write_report(options.out / "layers-over-size", title, rows, "microseconds", digits=1, ratios=False)
    sizes = [(224, 64), (160, 64), (128, 64), (96, 64), (224, 32), (224, 96), (224, 128)]
    nets = {f"{size}², width {width}": {"milliseconds": network(size, width, options.runs)} for size, width in sizes}
    title = "Exact ResNet-18 over resolution and width"
    write_report(options.out / "network-over-size", title, nets, "milliseconds", digits=2, ratios=False)


if __name__ == "__main__":
    main()
