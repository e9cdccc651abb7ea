"""A model of the zoo beside its float twin, in float32 and in int8: accuracy, time and size of the three.

    python -m bench.float_twins zoo:NAME --twin RUN [--runs 200] [--out docs/results/twins/twins.jsonl]

RUN is the folder that ``python -m latentbit.training`` left of the twin: the same network in float (``float_resnet8``
for ``resnet8``), trained on the same data. Both float forms run in stock onnxruntime; int8 is its own static
quantisation, calibrated on training images. Accuracy is that on all test images. Times are of one image and one
thread, taken in this process by turns. Writes a line a model; other lines of the file stay. LATENTBIT_DATA says where
the images are.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.machine.environment import environment
from latentbit.runtime.proof.quantizing import quantize_int8
from latentbit.runtime.proof.timing import stock_session
from latentbit.runtime.zoo.catalogue import find_model
from latentbit.training import load, load_network

from .harness.models import accuracy, answer, keep_lines
from .harness.timing import by_turns

CALIBRATED = 200
"""Training images that calibrate the int8 form."""


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="packed model: a path, or zoo:NAME")
    parser.add_argument("--twin", type=Path, required=True, help="folder of the trained float twin")
    parser.add_argument("--runs", type=int, default=200, help="runs that are timed")
    parser.add_argument("--out", type=Path, default=Path("docs/results/twins/twins.jsonl"))
    options = parser.parse_args()
    line = compare(options.model, options.twin, options.runs)
    print(json.dumps(line, sort_keys=True))
    keep_lines(options.out, [line], "model")


def compare(model: str, twin: Path, runs: int) -> dict[str, Any]:
    """Return what the packed model and both forms of its twin get and cost."""
    trained, network = (
        json.loads((twin / "1-train" / name).read_text(encoding="utf-8")) for name in ("metrics.json", "network.json")
    )
    data = load(trained["dataset"])
    images = data.normalise(data.train_images[:CALIBRATED])
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(load_network(twin / "1-train"), torch.from_numpy(images[:2]), f"{folder}/twin.onnx")
        fp32 = Path(path).read_bytes()
    name = stock_session(fp32, 1).get_inputs()[0].name
    int8 = quantize_int8(fp32, ({name: images[row : row + 1]} for row in range(len(images))))
    packed = find_model(model)
    files = {"binary": Path(packed).read_bytes(), "fp32": fp32, "int8": int8}
    stock = {key: stock_session(files[key], 1) for key in ("fp32", "int8")}
    sessions: dict[str, Any] = {"binary": InferenceSession(packed), **stock}
    times = by_turns({key: partial(answer, session, images[:1]) for key, session in sessions.items()}, runs)
    found = {
        key: {
            "accuracy": accuracy(session, data, data.test_images, data.test_labels),
            "bytes": len(files[key]),
            "cpu_ms": {"median": float(np.median(times[key])), "best": min(times[key])},
        }
        for key, session in sessions.items()
    }
    training = {"model": network["model"], "options": network["options"], "epochs": trained["epochs"]}
    return {"model": model, **found, "twin": training, "runs": runs, "environment": environment()}


if __name__ == "__main__":
    main()
