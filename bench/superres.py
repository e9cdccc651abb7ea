"""PSNR and SSIM of a super-resolution model on Set5, Set14 and BSD100, beside bicubic and its float twin, and its time.

    python -m bench.superres zoo:sr_x2_e2fif --twin RUN [--runs 15] [--out docs/results/superres/x2.jsonl]

RUN is the folder ``1-train`` of the float twin; without it the packed model and bicubic alone are measured. The model
says how many times it enlarges; as many pixels of the border are left out. Whole images, luminance. One thread: the
packed file in latentbit, the twin in stock onnxruntime. Writes a line a model and test set, and one of the times of
both on an image of 160×240 pixels, taken in this process by turns; other lines of the file stay. LATENTBIT_DATA says
where the images are.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.fidelity import restoration
from latentbit.runtime.machine.environment import environment
from latentbit.runtime.proof.timing import stock_session
from latentbit.runtime.zoo.catalogue import find_model
from latentbit.training import load_network
from latentbit.training.data.resizing import resize
from latentbit.training.data.superres import benchmark_images

from .harness.models import answer, keep_lines
from .harness.timing import by_turns

SETS = ("Set5", "Set14", "BSD100")
SIZE = (1, 1, 160, 240)


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="packed model: a path, or zoo:NAME")
    parser.add_argument("--twin", type=Path, help="folder that training left of the float twin")
    parser.add_argument("--runs", type=int, default=15, help="runs that are timed")
    parser.add_argument("--out", type=Path, help="default: docs/results/superres/xSCALE.jsonl")
    options = parser.parse_args()
    sessions: dict[str, Any] = {"binary": InferenceSession(find_model(options.model))}
    if options.twin:
        with tempfile.TemporaryDirectory() as folder:
            example = torch.rand(2, 1, 24, 24)
            path = export_onnx(load_network(options.twin), example, f"{folder}/twin.onnx", dynamic_spatial=True)
            sessions = {"float_twin": stock_session(Path(path).read_bytes(), 1), **sessions}
    scale = answer(sessions["binary"], np.zeros(SIZE, np.float32)).shape[-1] // SIZE[-1]
    out = options.out or Path(f"docs/results/superres/x{scale}.jsonl")
    for line in figures(sessions, scale, options.runs):
        print(json.dumps(line, sort_keys=True), flush=True)
        keep_lines(out, [line], "model", "set")


def figures(sessions: dict[str, Any], scale: int, runs: int) -> Iterator[dict[str, Any]]:
    """Yield the times where there are two models, and what each and bicubic give on each test set."""
    image = np.random.default_rng(0).random(SIZE, np.float32)
    calls = {name: partial(answer, session, image) for name, session in sessions.items()}
    if len(calls) > 1:
        measured = {
            name: {"median": float(np.median(each)), "best": min(each)} for name, each in by_turns(calls, runs).items()
        }
        where = {"image": list(SIZE), "runs": runs, "environment": environment()}
        yield {"model": "all", "set": "CPU milliseconds"} | measured | where
    for name in SETS:
        images = list(benchmark_images(None, name, scale).values())
        for model, session in {"bicubic": None, **sessions}.items():
            each = [score(session, small, large, scale) for small, large in images]
            means = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
            yield {"model": model, "set": name, "images": len(images)} | means


def score(session: Any, small: NDArray[np.uint8], large: NDArray[np.uint8], scale: int) -> dict[str, float]:
    """Return PSNR and SSIM of one image ``[H, W]``; without a session those of bicubic interpolation."""
    if session is None:
        upscaled = resize(small, (large.shape[0], large.shape[1]))[None, None] / 255
    else:
        upscaled = answer(session, small[None, None].astype(np.float32) / 255)
    return restoration(upscaled, large[None, None] / 255, scale=scale)


if __name__ == "__main__":
    main()
