"""What each kind of block costs when it is deployed: bytes of the file, and time beside plain residual blocks.

    python -m bench.blocks [--model resnet8] [--width 32] [--runs 300] [--out docs/results/blocks/cost.json]

The networks are not trained: neither bytes nor time depend on what the weights are. One image of 32×32 pixels, one
thread, all kinds by turns in one process.
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
from latentbit.runtime.files import write_bytes
from latentbit.runtime.machine.environment import environment
from latentbit.training.models.blocks import NORMS
from latentbit.training.models.catalogue import build_model
from latentbit.training.models.kinds import BLOCKS

from .harness.timing import by_turns


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="resnet8")
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--out", type=Path, help="file that the figures are written to")
    options = parser.parse_args()
    variants = [{"block": kind} for kind in BLOCKS] + [{"norm": norm} for norm in NORMS if norm != "after"]
    found = measure(options.model, options.width, variants, options.runs)
    for name, one in found.items():
        print(f"{name:20} {one['bytes']:8,} bytes  {one['cpu_ms']:.3f} ms  {one['packed']} packed layers")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        where = {"model": options.model, "width": options.width, "runs": options.runs, "environment": environment()}
        write_bytes(options.out, (json.dumps({"costs": found} | where, sort_keys=True) + "\n").encode())


def measure(model: str, width: int, variants: list[dict[str, str]], runs: int) -> dict[str, dict[str, Any]]:
    """Return bytes, packed layers and median CPU milliseconds of each variant of a network."""
    found: dict[str, dict[str, Any]] = {}
    calls = {}
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    with tempfile.TemporaryDirectory() as folder:
        for variant in variants:
            ((option, value),) = variant.items()
            name = f"{option}={value}"
            path = export_onnx(build_model(model, width=width, **variant).eval(), images, f"{folder}/{name}.onnx")
            session = InferenceSession(path)
            feeds = {session.get_inputs()[0].name: images[:1].numpy()}
            found[name] = {"bytes": Path(path).stat().st_size, "packed": len(session.trace(feeds))}
            calls[name] = partial(session.run, None, feeds)
        for name, times in by_turns(calls, runs).items():
            found[name]["cpu_ms"] = float(np.median(times))
    return found


if __name__ == "__main__":
    main()
