"""Accuracy of packed models on test images as they are, and on the same images corrupted in nine ways, five strengths.

    python -m bench.shift NAME=MODEL ... [--images 2000] [--out docs/results/shift/cifar10.jsonl]

MODEL is a packed file or zoo:NAME; NAME is how its lines are called. The data set is that of the file. Several files of
one NAME are seeds of one training. Writes a line a file, and prints a row a NAME: clean accuracy, the mean under every
corruption, and that of all of them. LATENTBIT_DATA says where the images are.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from latentbit.runtime import InferenceSession
from latentbit.runtime.files import write_bytes
from latentbit.runtime.zoo.catalogue import find_model
from latentbit.training import load
from latentbit.training.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt

from .harness.models import accuracy


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL", help="what to measure, and how to call it")
    parser.add_argument("--images", type=int, default=2000, help="test images, the first of the data set")
    parser.add_argument("--out", type=Path, help="file that the lines are written to")
    options = parser.parse_args()
    lines = list(figures(options.models, options.images))
    for name in dict.fromkeys(line["name"] for line in lines):
        own = [line for line in lines if line["name"] == name]
        print(row(name, own))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(options.out, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode())


def figures(models: list[str], count: int) -> Iterator[dict[str, Any]]:
    """Yield, for each file, its accuracy on clean images and the mean over strengths under each corruption."""
    corrupted: dict[tuple[str, str, int], Any] = {}
    for text in models:
        name, _, model = text.partition("=")
        session = InferenceSession(find_model(model))
        data = load(json.loads(session.get_modelmeta().custom_metadata_map["latentbit.dataset"])["name"])
        images, labels = data.test_images[:count], data.test_labels[:count]
        line = {
            "name": name,
            "data": data.name,
            "images": len(labels),
            "clean": accuracy(session, data, images, labels),
        }
        for kind in CORRUPTIONS:
            shares = []
            for severity in range(1, SEVERITIES + 1):
                key = data.name, kind, severity
                if key not in corrupted:
                    corrupted[key] = corrupt(images, kind, severity, white=int(data.train_images.max()))
                shares.append(accuracy(session, data, corrupted[key], labels))
            line[kind] = fmean(shares)
        yield line


def row(name: str, lines: list[dict[str, Any]]) -> str:
    """Return a row of a Markdown table: means over the files of one name, in percent."""
    kinds = [np.mean([line[kind] for line in lines]) for kind in CORRUPTIONS]
    cells = [np.mean([line["clean"] for line in lines]), np.mean(kinds), *kinds]
    return f"| {name} | {len(lines)} | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |"


if __name__ == "__main__":
    main()
