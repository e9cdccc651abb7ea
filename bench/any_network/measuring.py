"""One network: made binary, exported, proven; and timed beside onnxruntime on the float original."""

import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from latentbit.export import export_onnx, inspect
from latentbit.runtime.errors import LatentbitError
from latentbit.runtime.session import InferenceSession
from latentbit.training import binarize, prove
from latentbit.training.models.binarize import KEPT_FLOAT

from ..harness.timing import by_turns
from .catalogue import NETWORKS, Entry

__all__ = ["go_through", "take_times"]

SAMPLES = 2
SECONDS = 5.0
"""How long the turns of a network may take."""


def paths(name: str, folder: Path) -> tuple[Path, Path]:
    """Return where the packed file of a network lies, and the float one."""
    stem = "".join(letter if letter.isalnum() else "_" for letter in name)
    return folder / f"{stem}.onnx", folder / f"{stem}-float.onnx"


def go_through(name: str, folder: Path) -> dict[str, Any]:
    """Binarize a network, export it, and return what the proof and the file say of it.

    ``status`` is "right", "refused" (a LatentbitError, ``reason``), "wrong" (the file answers otherwise) or "crash".
    """
    entry = NETWORKS[name]
    packed, plain = paths(name, folder)
    found: dict[str, Any] = {"family": entry.family, "shape": [SAMPLES, *entry.shape]}
    torch.manual_seed(0)
    start = time.perf_counter()
    try:
        network = entry.build().eval()
        wake(network)
        x = torch.randn(SAMPLES, *entry.shape)
        calibrate(network, x)
        found["parameters"] = sum(parameter.numel() for parameter in network.parameters())
        binary = binarize(network, x)
        calibrate(binary, x)
        found["kept"] = dict(binary.meta[KEPT_FLOAT])
        export_onnx(binary, x, packed, prove=False)
        proof = prove(binary, x, packed)
    except LatentbitError as error:
        return found | {"status": "refused", "reason": str(error), "seconds": time.perf_counter() - start}
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return found | {"status": "crash", "reason": reason, "seconds": time.perf_counter() - start}
    found["seconds"] = round(time.perf_counter() - start, 1)
    found |= {"status": "wrong" if proof.failure else "right", "reason": proof.failure or ""}
    found |= {"samples": proof.samples, "judged": proof.judged, "difference": proof.largest_difference}
    found |= {"signs": proof.signs, "turned": sum(proof.turned.values()), "integers": proof.integers}
    found["largest"] = largest_output(binary, x)
    layers = inspect(packed)
    found |= {"macs": layers.macs, "packed_macs": layers.binary_macs, "unknown_macs": layers.unknown_macs}
    found["not_packed"] = {
        layer.name: layer.reason
        for layer in layers.layers
        if layer.form == "float" and not any(layer.name.startswith(path) for path in found["kept"])
    }
    found["bytes"] = packed.stat().st_size
    found["float_bytes"] = write_float(network, entry, plain)
    return found


def wake(network: nn.Module) -> None:
    """Give weights and scales that begin as zeros a value: a network may answer nothing but zeros with them."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.endswith("bias") and float(parameter.abs().max()) < 1e-3:
                nn.init.uniform_(parameter, 0.2, 1) if parameter.dim() == 1 else nn.init.normal_(parameter, 0, 0.1)


def calibrate(network: nn.Module, x: torch.Tensor) -> None:
    """Give every batch norm the statistics of ``x``; all else stays in eval mode."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all passes
        norm.train()
    with torch.no_grad():
        for _ in range(2):
            network(x + 0.1 * torch.randn_like(x))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def largest_output(network: nn.Module, x: torch.Tensor) -> float:
    """Return the largest value that the network answers on ``x``."""
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(network(x))
    return max(float(leaf.abs().max()) for leaf in leaves if isinstance(leaf, torch.Tensor))


def write_float(network: nn.Module, entry: Entry, path: Path) -> int | None:
    """Write the float network as torch's exporter does, for a batch of one; None where it cannot."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                network, (torch.randn(1, *entry.shape),), path, dynamo=True, external_data=False, verbose=False
            )
        except Exception as error:
            print(f"torch.onnx.export: {error}")
            return None
    return path.stat().st_size


def take_times(name: str, folder: Path) -> Mapping[str, list[float]]:
    """Return the milliseconds of one sample by engine, by turns in this process, one thread, in its CPU time."""
    packed, plain = paths(name, folder)
    x = np.random.default_rng(0).standard_normal((1, *NETWORKS[name].shape)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    ours = InferenceSession(packed, num_threads=1)
    theirs = onnxruntime.InferenceSession(os.fspath(plain), options, providers=["CPUExecutionProvider"])
    feeds = [{session.get_inputs()[0].name: x} for session in (ours, theirs)]
    calls = {
        "latentbit": lambda: ours.run(None, feeds[0]),
        "onnxruntime float": lambda: theirs.run(None, feeds[1]),
    }
    start = time.perf_counter()
    by_turns(calls, 0, warm_up=1)
    turn = time.perf_counter() - start
    runs = int(min(200, max(3, SECONDS / turn)))
    return by_turns(calls, runs, warm_up=1)
