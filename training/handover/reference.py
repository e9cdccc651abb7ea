"""The folded network as reference: what it answers is recorded once, and every deployment is compared with it."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from ...runtime.bits import pack_signs
from ...runtime.errors import DataError, first_line
from ...runtime.files import write_bytes
from ..loop.evaluate import named_outputs
from .emission import array, emitted_name
from .fold import fold
from .folded import FoldedBinaryConv2d, FoldedBinaryLinear

__all__ = ["COUNTED_LAYERS", "load_folded", "record", "save_folded"]

COUNTED_LAYERS = (FoldedBinaryConv2d, FoldedBinaryLinear)
"""Exactly these types have ±1 inputs; their weight-only subclasses have real ones."""


def save_folded(folded: fx.GraphModule, path: str | Path) -> None:
    """Write the values of a folded network (its structure is that of the network it was folded from)."""
    buffer = io.BytesIO()
    torch.save(folded.state_dict(), buffer)
    write_bytes(path, buffer.getvalue())


def load_folded(network: nn.Module, path: str | Path, **options: Any) -> fx.GraphModule:
    """Return the folded form of ``network`` with the values of ``path``; ``options`` as :func:`.fold.fold` had them.

    Raises DataError where the values do not fit the network, or the file is damaged or holds anything but tensors.
    """
    folded = fold(network, **options)
    try:
        folded.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise DataError(
            f"{path}: not the folded values of this network ({first_line(error)}); run the stage fold again"
        ) from error
    return folded


class _SignRecorder(fx.Interpreter):
    """Runs a folded network and keeps the input of every binary layer, under its name in the file."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.inputs: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module" and type(self.fetch_attr(str(n.target))) in COUNTED_LAYERS:
            source = n.args[0]
            assert isinstance(source, fx.Node)
            self.inputs[emitted_name(n)] = self.env[source]
        return super().run_node(n)


def record(
    folded: fx.GraphModule,
    inputs: NDArray[Any],
    *,
    signs_of: NDArray[np.int64] | None = None,
    batch_size: int = 256,
) -> dict[str, NDArray[Any]]:
    """Run the reference over ``inputs`` ``[N, ...]`` (float32, or uint8 pixels) and return its arrays.

    ``logits`` ``[N, …]`` of all inputs, for several outputs ``outputs/<name>`` of each. For every binary layer
    ``signs/<name>``, the ±1 input of that layer packed along axis 1 (uint8 ``[S, ...]``, :mod:`latentbit.runtime.bits`)
    and ``shape/<name>``, its shape without the batch (int64). Signs are kept of the inputs with the sorted indices
    ``signs_of``, ``[S]``; None: of all.
    """
    wanted = np.arange(len(inputs)) if signs_of is None else signs_of
    outputs: dict[str, list[NDArray[Any]]] = {}
    signs: dict[str, list[NDArray[np.uint8]]] = {}
    shapes: dict[str, NDArray[np.int64]] = {}
    for start in range(0, len(inputs), batch_size):
        recorder = _SignRecorder(folded)
        with torch.no_grad():
            result = recorder.run(torch.from_numpy(np.ascontiguousarray(inputs[start : start + batch_size])))
        for name, value in named_outputs(result).items():
            outputs.setdefault(name, []).append(array(value))
        rows = wanted[(wanted >= start) & (wanted < start + batch_size)] - start
        for name, value in recorder.inputs.items():
            signs.setdefault(name, []).append(pack_signs(array(value)[rows], axis=1))
            shapes[name] = np.array(value.shape[1:], np.int64)
    only = len(outputs) == 1
    answers = {"logits" if only else f"outputs/{name}": np.concatenate(parts) for name, parts in outputs.items()}
    answers |= {f"signs/{name}": np.concatenate(parts) for name, parts in signs.items()}
    return answers | {f"shape/{name}": shape for name, shape in shapes.items()}
