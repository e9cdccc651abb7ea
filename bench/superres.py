"""PSNR and SSIM of a super-resolution model on Set5, Set14 and BSD100, beside bicubic and its float twin, and its time.

    python -m bench.superres zoo:sr_x2_e2fif RUN [--runs 15] [--out docs/results/superres_x2.jsonl]

RUN is the folder ``1-train`` of the float twin. Whole images, luminance, two pixels of the border left out. Both
models run in this process with one thread, by turns: the packed file in latentbit, the twin in stock onnxruntime.
Writes a line a test set, and one of the times on an image of 160×240 pixels. LATENTBIT_DATA says where the images are.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.fidelity import restoration
from latentbit.runtime.files import write_bytes
from latentbit.runtime.machine.environment import environment
from latentbit.runtime.proof.timing import interleaved, stock_session, times
from latentbit.runtime.zoo.catalogue import find_model
from latentbit.training import load_network
from latentbit.training.data.resizing import resize
from latentbit.training.data.superres import benchmark_images

SETS = ("Set5", "Set14", "BSD100")
SCALE = 2
SIZE = (1, 1, 160, 240)


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", help="packed model: a path, or zoo:NAME")
    parser.add_argument("twin", type=Path, help="folder that training left of the float twin")
    parser.add_argument("--runs", type=int, default=15, help="runs that are timed")
    parser.add_argument("--out", type=Path, default=Path("docs/results/superres_x2.jsonl"))
    options = parser.parse_args()
    packed = InferenceSession(find_model(options.model))
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(
            load_network(options.twin), torch.rand(2, 1, 24, 24), Path(folder) / "twin.onnx", dynamic_spatial=True
        )
        stock = stock_session(Path(path).read_bytes(), 1)
    lines = [measured(name, packed, stock) for name in SETS]
    image = np.random.default_rng(0).random(SIZE, np.float32)
    calls = {"binary": lambda: run(packed, image), "float_twin": lambda: run(stock, image)}
    taken = interleaved(calls, options.runs)
    lines.append({"image": list(SIZE), "runs": options.runs, "environment": environment()})
    lines[-1] |= {name: {"median": times(each).median, "best": times(each).best} for name, each in taken.items()}
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    write_bytes(options.out, text.encode())
    print(text)


def run(session: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the only output of a session for its only input."""
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    return np.asarray(found)


def measured(name: str, packed: InferenceSession, stock: Any) -> dict[str, Any]:
    """Return mean PSNR and SSIM of a test set."""
    found: dict[str, list[dict[str, float]]] = {"bicubic": [], "binary": [], "float_twin": []}
    for small, large in benchmark_images(None, name, SCALE).values():
        image, wanted = small[None, None].astype(np.float32) / 255, large[None, None] / 255
        answers = {
            "bicubic": resize(small, (large.shape[0], large.shape[1]))[None, None] / 255,
            "binary": run(packed, image),
            "float_twin": run(stock, image),
        }
        for model, answer in answers.items():
            found[model].append(restoration(answer, wanted, scale=SCALE))
    means = {
        model: {key: float(np.mean([each[key] for each in figures])) for key in figures[0]}
        for model, figures in found.items()
    }
    return {"set": name, "images": len(found["binary"])} | means


if __name__ == "__main__":
    main()
