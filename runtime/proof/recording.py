"""Recording a reference: what a plain model answers in stock onnxruntime, and the signs that its binary layers read."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..bits import pack_signs
from ..errors import ModelError, first_line
from ..files import parse_json
from ..operators import SIGNATURES, WRITTEN_OUT
from ..session.float_model import engine_errors
from .timing import stock_session

__all__ = ["record"]


def record(
    model: str | PathLike[str],
    inputs: NDArray[Any] | Mapping[str, NDArray[Any]],
    *,
    signs_of: NDArray[np.int64] | None = None,
    batch_size: int = 256,
    num_threads: int = 0,
) -> dict[str, NDArray[Any]]:
    """Run a folded network, a plain file of ours, over ``inputs`` and return the arrays of a reference.

    inputs: ``[N, ...]`` of the type that the model takes; by name where it takes several.
    signs_of: sorted indices ``[S]`` of the inputs whose signs are kept; None: of all.

    ``logits`` is the output ``[N, ...]``; of several outputs each is ``outputs/<name>``. For every binary layer
    ``signs/<name>`` is its ±1 input packed along axis 1 (uint8 ``[S, ...]``, :mod:`latentbit.runtime.bits`), and
    ``shape/<name>`` the shape of that input without the batch (int64).

    Raises ModelError where onnxruntime cannot run the model, or the file does not say which layers are binary.
    """
    proto = onnx.load(fspath(model))
    feeds = dict(inputs) if isinstance(inputs, Mapping) else {proto.graph.input[0].name: inputs}
    outputs = [info.name for info in proto.graph.output]
    layers = _binary_layers(proto, fspath(model))
    shown = sorted(set(layers.values()) - set(outputs) - set(feeds))
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in shown)
    session = stock_session(proto.SerializeToString(), num_threads)
    count = len(next(iter(feeds.values())))
    wanted = np.arange(count) if signs_of is None else signs_of
    answers: dict[str, list[NDArray[Any]]] = {}
    shapes: dict[str, NDArray[np.int64]] = {}
    for start in range(0, count, batch_size):
        batch = {name: np.ascontiguousarray(array[start : start + batch_size]) for name, array in feeds.items()}
        rows = wanted[(wanted >= start) & (wanted < start + batch_size)] - start
        names = [*outputs, *shown] if rows.size else outputs
        try:
            values = {**batch, **dict(zip(names, session.run(names, batch), strict=True))}
        except engine_errors() as error:
            raise ModelError(f"onnxruntime cannot run {fspath(model)}: {first_line(error)}") from None
        for name in outputs:
            answers.setdefault("logits" if len(outputs) == 1 else f"outputs/{name}", []).append(values[name])
        for layer, value in layers.items() if rows.size else ():
            answers.setdefault(f"signs/{layer}", []).append(pack_signs(values[value][rows], axis=1))
            shapes[f"shape/{layer}"] = np.array(values[value].shape[1:], np.int64)
    return {name: np.concatenate(parts) for name, parts in answers.items()} | shapes


def _binary_layers(proto: onnx.ModelProto, path: str) -> dict[str, str]:
    """Return for every binary layer the value that it reads, as the exporter wrote it into the file."""
    text = next((entry.value for entry in proto.metadata_props if entry.key == WRITTEN_OUT), "")
    try:
        known = {name: (SIGNATURES[entry["operator"]], str(entry["reads"])) for name, entry in parse_json(text).items()}
    except (ValueError, AttributeError, TypeError, KeyError):
        raise ModelError(f"{path} is no folded network of ours: export it with plain=True") from None
    return {name: reads for name, (operator, reads) in known.items() if operator.rank and not operator.real_input}
