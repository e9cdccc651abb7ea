"""Kernel perm, byte permutes of AVX-512 (VBMI), beside csa on the 3×3 layers of a ResNet-18: microseconds.

    python -m bench.kernels.permutes [--runs 40] [--out bench/results]

Both kernels run each layer, bits in and bits out, by turns in one process, in CPU time of the thread. Their outputs are
compared before any time is taken.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.session.session import InferenceSession

from ..harness.report import RESULTS, write_report
from .convolutions import binary_model

SHAPES = [(64, 56), (128, 28), (256, 14), (512, 7)]  # channels, image
KERNELS = ["csa", "perm"]


def layer(channels: int, size: int, kernel: str) -> tuple[Callable[[], float], list[Any]]:
    """Return what runs a layer and tells the microseconds of its convolution; and what the layer answers."""
    session = InferenceSession(binary_model(channels, size, 3, "bits"), kernel=kernel)
    feeds = {"input": np.random.default_rng(1).standard_normal((1, channels, size, size)).astype(np.float32)}

    def run() -> float:
        steps = session.profile(feeds, clock=time.thread_time_ns)
        return float(next(step.duration for step in steps if step.name == "conv"))

    return run, session.run(None, feeds)


def measure(channels: int, size: int, runs: int) -> dict[str, list[float]]:
    """Return microseconds by kernel."""
    layers = {kernel: layer(channels, size, kernel) for kernel in KERNELS}
    (_, expected), (_, found) = layers.values()
    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other), "the kernels differ"
    times: dict[str, list[float]] = {kernel: [] for kernel in KERNELS}
    for turn in range(-3, runs):
        for kernel, (run, _) in layers.items():
            run()  # what the other kernel left in the caches is none of its business
            taken = run()
            if turn >= 0:
                times[kernel].append(taken)
    return times


def main() -> None:
    """Measure all shapes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if "avx512vbmi" not in usable_features():
        parser.exit(1, "this CPU has no byte permutes of AVX-512 (VBMI)\n")
    rows = {f"3×3 {channels}@{size}²": measure(channels, size, options.runs) for channels, size in SHAPES}
    write_report(
        options.out / "permutes", "One convolution, one thread, microseconds", rows, "perm", digits=1, ratio_digits=2
    )


if __name__ == "__main__":
    main()
