"""Convolutions of one bit a weight over activations of eight bits, beside onnxruntime in float32 and int8, by turns.

    python -m bench.kernels.eight_bits [--runs 40] [--out bench/results]

A 3×3 convolution of ``Round(Clip(x, 0, 255))`` with weights of ±1, alone in its file. The answers of the float file and
of ours have to be equal: all sums are integers. One thread each.
"""

import argparse
from pathlib import Path

from ..harness.report import RESULTS, Times, write_report
from .two_bits import SHAPES, measure


def main() -> None:
    """Measure all shapes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows: Times = {
        f"W1A8 3×3 {channels}@{size}²": measure(channels, size, 255, (-1, 1), options.runs) for channels, size in SHAPES
    }
    title = "One convolution of one bit a weight over eight bits, one thread, microseconds"
    write_report(options.out / "eight_bits", title, rows, "latentbit")


if __name__ == "__main__":
    main()
