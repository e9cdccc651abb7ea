"""Networks of larq through ``convert``: what is packed, how far the answers differ from larq's, the time.

    python -m bench.foreign.larq_networks [--files runs/larq-files] [--turns 20]

Reads what ``bench.foreign.larq_files`` has written with tensorflow: ``tox -e larq-files,larq-convert``.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentbit.export import convert
from latentbit.runtime import InferenceSession
from latentbit.runtime.proof.timing import stock_session

from ..harness.timing import by_turns

__all__ = ["go_through"]

FAR = 1e-5


def go_through(source: Path, turns: int) -> dict[str, Any]:
    """Convert one file and compare it with larq's answers, kept beside it, and with stock onnxruntime on the source."""
    target = source.with_suffix(".packed")
    report = convert(source, target)
    with np.load(source.with_suffix(".npz")) as kept:
        x, expected = kept["x"], kept["answers"]
    session, stock = InferenceSession(target), stock_session(source.read_bytes(), 1)
    name = session.get_inputs()[0].name
    ask: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
        "latentbit": lambda image: session.run(None, {name: image})[0],
        "onnxruntime": lambda image: stock.run(None, {name: image})[0],
    }
    found = {engine: np.concatenate([run(image[None]) for image in x]) for engine, run in ask.items()}
    apart = {engine: np.abs(answer - expected) / np.abs(expected).max() for engine, answer in found.items()}
    times = by_turns({engine: partial(run, x[:1]) for engine, run in ask.items()}, turns)
    return {
        "layers": {form: report.count(form) for form in ("binary", "weight-only", "float")},
        "reasons": sorted({layer.reason for layer in report.layers if layer.reason}),
        "difference": {engine: float(values.max()) for engine, values in apart.items()},
        "far": {engine: int((values > FAR).sum()) for engine, values in apart.items()},
        "to onnxruntime": float(np.abs(found["latentbit"] - found["onnxruntime"]).max() / np.abs(expected).max()),
        "ms": {engine: float(np.median(values)) for engine, values in times.items()},
    }


def main() -> None:
    """Take every file, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, default=Path("runs/larq-files"))
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    files = sorted(options.files.glob("*.onnx"))
    if not files:
        parser.error(f"no files in {options.files}: write them with tox -e larq-files, or bench/foreign/larq_files.py")
    for path in files:
        print(path.stem, go_through(path, options.turns), flush=True)


if __name__ == "__main__":
    main()
