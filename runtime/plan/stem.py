"""The exact stem: the first convolution over pixels, with int8 weights, found in the graph as one part.

::

    uint8 NHWC ─ Transpose ─ Cast ─ [Sub zero_point] ─ Conv(int8 weights) ─ Round ─ Mul scale ─ Add bias ─ [MaxPool]

All sums are integers below 2^24, so float32 executors compute them exactly, and so do integers. Rounding and scaling
keep order: the maximum over a window may be taken of the integers, once the channels of a negative scale are negated.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..intake.windows import Window, pool_window
from ..operators import STANDARD_DOMAINS, channel_vector
from .graph import Graph

__all__ = ["Stem", "find_stem"]

_EXACT = 2**24


@dataclass(frozen=True, eq=False)
class Stem:
    """``output = maxpool(fl(fl(acc·scale) + bias))``, acc = conv(pixels − zero_point), padded with zero_point.

    ``source`` names the pixels, uint8 ``[N, H, W, C]`` as the caller gives them. ``weight`` is int16
    ``[O, C, kh, kw]``, negated where the file's scale is negative (so ``scale`` ≥ 0), ``zero_point`` int16 ``[C]``,
    ``scale`` and ``bias`` float32 ``[O]``.
    """

    kind: ClassVar[str] = "integer"
    rank: ClassVar[int] = 4
    reads: ClassVar[tuple[str, ...]] = ()  # it reads pixels, no floats

    name: str
    source: str
    output: str
    weight: NDArray[np.int16]
    zero_point: NDArray[np.int16]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    window: Window
    pool: Window | None
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def channels_out(self) -> int:
        """Output channels O."""
        return int(self.weight.shape[0])


def find_stem(model: Model, graph: Graph, packed: Collection[str]) -> Stem | None:
    """Return the exact stem of a model, or None where its beginning is anything else.

    ``packed`` are the values that units pack: a pool behind one of them is the unit's.
    """
    for index, node in enumerate(graph.nodes):
        if node.op_type == "Conv" and node.domain in STANDARD_DOMAINS:
            return _match(model, graph, index, packed)
    return None


class _Chain:
    """A row of nodes, each the only reader of the one before, that grows at either end."""

    def __init__(self, graph: Graph, start: int) -> None:
        self._graph = graph
        self.nodes = [start]

    def before(self, name: str, op_type: str) -> onnx.NodeProto | None:
        """Take in the node that makes ``name`` if it is of this type and nothing else reads the value."""
        index = self._graph.producer.get(name)
        if index is None or len(self._graph.consumers.get(name, [])) != 1:
            return None
        return self._take(index, op_type, 0)

    def behind(self, name: str, op_type: str) -> onnx.NodeProto | None:
        """Take in the node that alone needs ``name`` if it is of this type."""
        index = self._graph.only_reader(name)
        return None if index is None else self._take(index, op_type, len(self.nodes))

    def _take(self, index: int, op_type: str, place: int) -> onnx.NodeProto | None:
        node: onnx.NodeProto = self._graph.nodes[index]
        if node.op_type != op_type:
            return None
        self.nodes.insert(place, index)
        return node


def _match(model: Model, graph: Graph, index: int, packed: Collection[str]) -> Stem | None:
    conv, chain = graph.nodes[index], _Chain(graph, index)
    window, weight = pool_window(conv), _weight(model, graph, conv, chain)
    if len(conv.input) != 2 or window is None or weight is None or weight.shape[0] % 8:
        return None
    if weight.shape[2:] != window.kernel or not weight.size:
        return None
    pixels = _pixels(model, chain, conv.input[0], weight.shape[1])
    scaled = _scaled(model, chain, conv.output[0], weight.shape[0])
    if pixels is None or scaled is None:
        return None
    (source, zero), (output, scale, bias) = pixels, scaled
    if np.abs(weight).sum(axis=(1, 2, 3)).max() * 255 >= _EXACT or not np.all(np.isfinite(scale)):
        return None
    pool = None
    if output not in packed and (pooled := chain.behind(output, "MaxPool")) is not None:
        pool = pool_window(pooled)
        if pool is None:
            chain.nodes.pop()
        else:
            output = pooled.output[0]
    signs = np.where(scale < 0, -1, 1)
    return Stem(
        name=conv.name or conv.output[0],
        source=source,
        output=output,
        weight=(weight * signs[:, None, None, None]).astype(np.int16),
        zero_point=zero.astype(np.int16),
        scale=np.abs(scale),
        bias=bias,
        window=window,
        pool=pool,
        nodes=tuple(chain.nodes),
        ops=tuple(graph.nodes[place].op_type for place in chain.nodes),
    )


def _pixels(model: Model, chain: _Chain, value: str, channels: int) -> tuple[str, NDArray[np.float32]] | None:
    """Return the uint8 input that the convolution's input ``value`` is made of, and the zero points ``[C]``."""
    zero = np.zeros(channels, np.float32)
    if (centre := chain.before(value, "Sub")) is not None:
        found = channel_vector(model.constants.get(centre.input[1]), 4, channels)
        if found is None:
            return None
        value, zero = centre.input[0], found
    cast = chain.before(value, "Cast")
    turn = None if cast is None else chain.before(cast.input[0], "Transpose")
    perm = [] if turn is None else [list(entry.ints) for entry in turn.attribute if entry.name == "perm"]
    if turn is None or perm != [[0, 3, 1, 2]]:
        return None
    source = turn.input[0]
    is_input = source in {info.name for info in model.proto.graph.input}
    if not is_input or model.types[source].elem != onnx.TensorProto.UINT8 or not _whole(zero, 0, 255):
        return None
    return source, zero


def _scaled(
    model: Model, chain: _Chain, value: str, channels: int
) -> tuple[str, NDArray[np.float32], NDArray[np.float32]] | None:
    """Return the value behind the rounding, the scale and the bias of the convolution's output ``value``, and both."""
    constants = []
    for op_type in ("Round", "Mul", "Add"):
        node = chain.behind(value, op_type)
        if node is None:
            return None
        if op_type != "Round":
            constants.append(channel_vector(model.constants.get(node.input[1]), 4, channels))
        value = node.output[0]
    scale, bias = constants
    return None if scale is None or bias is None else (value, scale, bias)


def _weight(model: Model, graph: Graph, conv: onnx.NodeProto, chain: _Chain) -> NDArray[Any] | None:
    """Return the integer weight of a convolution, stored as floats or as int8 behind a Cast."""
    name = conv.input[1]
    weight = model.constants.get(name)
    if weight is None and (maker := graph.producer.get(name)) is not None and graph.nodes[maker].op_type == "Cast":
        weight = model.constants.get(graph.nodes[maker].input[0])
        chain.nodes.insert(0, maker)
    if weight is None or weight.ndim != 4 or not _whole(weight, -128, 127):
        return None
    return weight.astype(np.int64)


def _whole(values: NDArray[Any], low: int, high: int) -> bool:
    return bool(values.size and np.all(values == np.rint(values)) and values.min() >= low and values.max() <= high)
