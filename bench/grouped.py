"""Depthwise and grouped convolutions: latentbit beside onnxruntime (fp32, int8 U8S8).

    python bench/grouped.py [--runs 40] [--out bench/results]

By the rules of convolutions.py, which measures; OpenVINO's binary convolution knows no groups.
"""

import argparse
from pathlib import Path

from convolutions import measure
from report import write_report

SHAPES = [  # name, channels, image, kernel, channels a group
    ("depthwise 3×3 64@56²", 64, 56, 3, 1),
    ("depthwise 3×3 128@28²", 128, 28, 3, 1),
    ("depthwise 3×3 256@14²", 256, 14, 3, 1),
    ("depthwise 3×3 512@7²", 512, 7, 3, 1),
    ("depthwise 5×5 64@56²", 64, 56, 5, 1),
    ("depthwise 5×5 256@14²", 256, 14, 5, 1),
    ("groups of 4, 3×3 128@56²", 128, 56, 3, 4),
    ("groups of 8, 3×3 128@28²", 128, 28, 3, 8),
    ("groups of 8, 3×3 256@28²", 256, 28, 3, 8),
    ("groups of 16, 3×3 256@14²", 256, 14, 3, 16),
    ("groups of 16, 3×3 512@14²", 512, 14, 3, 16),
    ("groups of 12, 3×3 192@14²", 192, 14, 3, 12),
    ("groups of 32, 3×3 512@14²", 512, 14, 3, 32),
]


def main() -> None:
    """Measure all shapes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    rows = {
        name: measure(channels, size, kernel, options.runs, channels // inputs)
        for name, channels, size, kernel, inputs in SHAPES
    }
    write_report(options.out / "grouped", "One convolution in groups, one thread, microseconds", rows, "latentbit bits")


if __name__ == "__main__":
    main()
