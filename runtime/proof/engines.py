"""A model file answered by each engine that users have: this runtime, and stock onnxruntime, with the signs they read.

What an export proves is about the file, so both run the same bytes. onnxruntime has no trace: what a packed layer reads
is made an output of the graph, and what it sums is not seen.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..bits import DOMAIN
from ..errors import ModelError, first_line
from ..operators import LAYERS, SIGNATURES
from ..session.float_model import engine_errors
from ..session.session import InferenceSession, ValueInfo
from .timing import stock_session

__all__ = ["Answer", "Candidate"]

_COUNTED = {name for name in LAYERS if not SIGNATURES[name].real_input}
"""The operators that read signs and count; the others read real numbers."""


@dataclass(frozen=True)
class Answer:
    """What an engine answered: ``outputs`` in the order of the file, and by packed layer what it read and summed.

    Layers are in the order of the file. ``signs`` ±1 of the shape that the layer reads; ``sums`` int32, empty where the
    engine does not show them.
    """

    outputs: list[NDArray[Any]]
    signs: dict[str, NDArray[Any]]
    sums: dict[str, NDArray[np.int32]] = field(default_factory=dict)


class Candidate:
    """A model, of bytes ``data``, ready to be asked: ``engines`` maps the name of each to a function of the feeds.

    Raises :class:`ModelError` for a model that cannot be run, here and in the calls; :class:`InputError` for feeds that
    do not fit it.
    """

    def __init__(self, data: bytes) -> None:
        self._proto = onnx.load_from_string(data)
        self._session = InferenceSession(data)
        graph = self._proto.graph
        self._read = {
            node.name or node.output[0]: node.input[0]
            for node in graph.node
            if node.domain == DOMAIN and node.op_type in _COUNTED
        }
        self._stock = stock_session(self._showing(self._read.values()), 1)
        self.inputs: list[ValueInfo] = self._session.get_inputs()
        self.outputs = [info.name for info in self._session.get_outputs()]
        self.engines: dict[str, Callable[[Mapping[str, NDArray[Any]]], Answer]] = {
            "latentbit": self._packed,
            "onnxruntime": self._plain,
        }

    def nodes(self) -> list[tuple[str, str]]:
        """Return ``(name, first output)`` of every node, in the order of the file."""
        return [(node.name or node.output[0], node.output[0]) for node in self._proto.graph.node]

    def values(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return what stock onnxruntime computes on the way: the value of each node by the name of its first output."""
        wanted = [output for _, output in self.nodes() if output]
        found = _run(stock_session(self._showing(wanted), 1), wanted, feeds)
        return dict(zip(wanted, found, strict=True))

    def _packed(self, feeds: Mapping[str, NDArray[Any]]) -> Answer:
        outputs = self._session.run(None, feeds)
        traced = {layer.name: layer for layer in self._session.trace(feeds)} if self._read else {}
        layers = [traced[name] for name in self._read if name in traced]  # a session may run them in another order
        return Answer(
            outputs, {layer.name: layer.signs for layer in layers}, {layer.name: layer.accumulators for layer in layers}
        )

    def _plain(self, feeds: Mapping[str, NDArray[Any]]) -> Answer:
        computed = sorted(set(self._read.values()) - set(feeds))
        names = [*self.outputs, *computed]
        found = {**feeds, **dict(zip(names, _run(self._stock, names, feeds), strict=True))}
        signs = {layer: np.asarray(found[value]) for layer, value in self._read.items()}
        return Answer([found[name] for name in self.outputs], signs)

    def _showing(self, values: Iterable[str]) -> bytes:
        """Return the model with these values as outputs too."""
        shown = onnx.ModelProto()
        shown.CopyFrom(self._proto)
        known = {info.name for info in (*shown.graph.output, *shown.graph.input)}
        shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(set(values) - known - {""}))
        return bytes(shown.SerializeToString())


def _run(session: Any, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    try:
        found: list[NDArray[Any]] = session.run(names, dict(feeds))
    except engine_errors() as error:
        raise ModelError(f"onnxruntime cannot run it: {first_line(error)}") from None
    return found
