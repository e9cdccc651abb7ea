"""Networks of Brevitas and bitorch through ``convert``: what is packed, how far the answers differ, the time.

    python -m bench.foreign.networks [--only WORD] [--turns N] [--out NAME]

Runs where these packages are installed: ``tox -e qonnx``. Every network is random, its batch norms have the statistics
of random inputs, and its file is converted as its exporter wrote it. The answers are compared with those of the package
itself, in torch; the time beside stock onnxruntime's for the same file in plain float ONNX.
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from latentbit.export import convert
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import LatentbitError
from latentbit.runtime.machine.environment import environment

from ..any_network.measuring import calibrate
from ..harness.report import RESULTS, command_line
from ..harness.timing import by_turns
from .catalogue import ENTRIES, Entry

__all__ = ["go_through", "settle", "table"]

SAMPLES = 2
FAR = 1e-5
"""Beyond this share of the largest output a difference is no rounding: a quantiser or a sign took another step."""


def go_through(entry: Entry, folder: Path, turns: int) -> dict[str, Any]:
    """Export one network, convert it, and return what was found: ``status`` is "right", "refused" or "no export"."""
    torch.manual_seed(0)
    source, packed, plain = (folder / f"{name}.onnx" for name in ("source", "packed", "plain"))
    network = entry.build()
    x = torch.randn(SAMPLES, *entry.shape)
    network.train()
    with torch.no_grad():
        network(x)
    network.eval()
    settle(network, x)
    with torch.no_grad():
        expected = np.concatenate([network(image[None]).numpy() for image in x])
    try:
        entry.export(network, x[:1], source)
    except Exception as error:
        return {"status": "no export", "reason": f"{type(error).__name__}: {error}".splitlines()[0][:160]}
    try:
        report = convert(source, packed)
        convert(source, plain, weight_only=False, inline=True)
    except LatentbitError as error:
        return {"status": "refused", "reason": str(error).replace(str(source), "the file")}
    session = InferenceSession(packed)
    name = session.get_inputs()[0].name
    answers = np.concatenate([session.run(None, {name: image[None].numpy()})[0] for image in x])
    differences = np.abs(answers - expected) / np.abs(expected).max()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    stock = onnxruntime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
    feeds = {name: x[:1].numpy()}
    calls = {"latentbit": lambda: session.run(None, feeds), "onnxruntime": lambda: stock.run(None, feeds)}
    times = by_turns(calls, turns)
    notes = [note for layer in report.layers for note in layer.notes]
    return {
        "status": "right",
        "layers": {form: report.count(form) for form in ("binary", "weight-only", "float")},
        "difference": float(differences.max()),
        "far": int((differences > FAR).sum()),
        "outputs": int(differences.size),
        "noted": len(notes),
        "ms": {engine: float(np.median(values)) for engine, values in times.items()},
    }


def settle(network: nn.Module, x: torch.Tensor) -> None:
    """Give the batch norms statistics as after training: of ``x``, and next to no value that a sum can have."""
    calibrate(network, x)
    for norm in network.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None and norm.running_var is not None:
            norm.running_mean += 0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the Markdown table of what was found so far."""
    lines = ["| network and exporter | binary / weight-only / float | largest difference | steps | ms | onnxruntime |"]
    lines.append("|---|---|---|---|---|---|")
    for name, row in found.items():
        if row["status"] != "right":
            lines.append(f"| {name} | {row['status']}: {row['reason']} | – | – | – | – |")
            continue
        layers = " / ".join(str(count) for count in row["layers"].values())
        ours, theirs = row["ms"]["latentbit"], row["ms"]["onnxruntime"]
        times = f"{ours:.3g} | {theirs:.3g}, **{theirs / ours:.1f}×**"
        lines.append(f"| {name} | {layers} | {row['difference']:.1e} | {row['far']} of {row['outputs']} | {times} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Take every network, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="networks whose names hold this word")
    parser.add_argument("--turns", type=int, default=20, help="timed runs of each engine")
    parser.add_argument("--out", type=Path, default=RESULTS / "foreign", help="where the table goes, without suffix")
    options = parser.parse_args()
    found = {}
    for name, entry in ENTRIES.items():
        if options.only.lower() not in name.lower():
            continue
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporters, about their own work
            found[name] = go_through(entry, Path(folder), options.turns)
        print(name, found[name], flush=True)
        whole = {"command": command_line(), "environment": environment(), "networks": found}
        options.out.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(table(found))


if __name__ == "__main__":
    main()
