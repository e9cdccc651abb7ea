"""Depthwise and grouped convolutions: latentbit beside onnxruntime (fp32, int8 U8S8).

    python -m bench.kernels.grouped [--runs 40] [--out bench/results]

By the rules of convolutions.py, which measures; OpenVINO's binary convolution knows no groups.
"""

import argparse
from pathlib import Path

from ..harness.report import RESULTS, write_report
from .convolutions import measure

SHAPES = [  # name, groups, inputs and outputs of a group, image, kernel
    ("depthwise 3×3 64@56²", 64, 1, 1, 56, 3),
    ("depthwise 3×3 128@28²", 128, 1, 1, 28, 3),
    ("depthwise 3×3 256@14²", 256, 1, 1, 14, 3),
    ("depthwise 3×3 512@7²", 512, 1, 1, 7, 3),
    ("depthwise 5×5 64@56²", 64, 1, 1, 56, 5),
    ("depthwise 5×5 256@14²", 256, 1, 1, 14, 5),
    ("groups of 3, 3×3 192@28²", 64, 3, 3, 28, 3),
    ("groups of 4, 3×3 128@56²", 32, 4, 4, 56, 3),
    ("groups of 8, 3×3 128@28²", 16, 8, 8, 28, 3),
    ("groups of 8, 3×3 256@28²", 32, 8, 8, 28, 3),
    ("groups of 12, 3×3 192@14²", 16, 12, 12, 14, 3),
    ("groups of 16, 3×3 256@14²", 16, 16, 16, 14, 3),
    ("groups of 16, 3×3 512@14²", 32, 16, 16, 14, 3),
    ("groups of 24, 3×3 384@14²", 16, 24, 24, 14, 3),
    ("groups of 32, 3×3 512@14²", 16, 32, 32, 14, 3),
    ("depthwise, two outputs a channel, 3×3 128@28²", 128, 1, 2, 28, 3),
    ("depthwise, four outputs a channel, 3×3 64@28²", 64, 1, 4, 28, 3),
    ("groups of 8 to 16, 3×3 128@28²", 16, 8, 16, 28, 3),
    ("groups of 16 to 64, 3×3 256@14²", 16, 16, 64, 14, 3),
]


def main() -> None:
    """Measure all shapes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = {
        name: measure(groups * inputs, size, kernel, options.runs, groups, groups * outputs)
        for name, groups, inputs, outputs, size, kernel in SHAPES
    }
    write_report(options.out / "grouped", "One convolution in groups, one thread, microseconds", rows, "latentbit bits")


if __name__ == "__main__":
    main()
