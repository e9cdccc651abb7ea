"""The exact stem: the first convolution over pixels, with int8 weights, found in the graph as one native unit.

::

    uint8 NHWC ─ Transpose ─ Cast ─ [Sub zero_point] ─ Conv(int8 weights) ─ Round ─ Mul scale ─ Add bias ─ [MaxPool]

All sums are integers below 2^24, so float32 executors compute them exactly, and so do integers. Rounding and scaling
keep order: the maximum over a window may be taken of the integers, once the channels of a negative scale are negated.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..intake.windows import Window, pool_window
from ..operators import channel_vector
from .units import Graph, Unit

__all__ = ["Stem", "find_stem"]

_EXACT = 2**24


@dataclass(eq=False)
class Stem:
    """``output = maxpool(fl(fl(acc·scale) + bias))``, acc = conv(pixels − zero_point), padded with zero_point.

    ``weight`` int16 ``[O, C, kh, kw]``, negated where the file's scale is negative (so ``scale`` ≥ 0); ``zero_point``
    int16 ``[C]``. ``bits_for`` and ``stored`` are filled by the plan, as for a unit.
    """

    name: str
    source: str
    output: str
    weight: NDArray[np.int16]
    zero_point: NDArray[np.int16]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    window: Window
    pool: Window | None
    nodes: list[int] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    bits_for: Unit | None = None
    stored: bool = False
    residual: None = None
    dense: bool = False
    groups: int = 1

    @property
    def channels_out(self) -> int:
        """Output channels O."""
        return int(self.weight.shape[0])


def find_stem(model: Model, graph: Graph) -> Stem | None:
    """Return the exact stem of a model, or None where its beginning is anything else."""
    for index, node in enumerate(graph.nodes):
        if node.op_type == "Conv" and node.domain in ("", "ai.onnx"):
            return _match(model, graph, index)
    return None


def _match(model: Model, graph: Graph, index: int) -> Stem | None:
    nodes, chain = graph.nodes, [index]

    def back(name: str, op_type: str) -> onnx.NodeProto | None:
        """Return the node of this type that alone makes ``name`` for the chain."""
        found = graph.producer.get(name)
        if found is None or nodes[found].op_type != op_type or len(graph.consumers.get(name, [])) != 1:
            return None
        chain.insert(0, found)
        node: onnx.NodeProto = nodes[found]
        return node

    def ahead(name: str, op_type: str) -> onnx.NodeProto | None:
        """Return the node of this type that alone reads ``name``."""
        readers = graph.consumers.get(name, [])
        if len(readers) != 1 or name in graph.outputs or nodes[readers[0]].op_type != op_type:
            return None
        chain.append(readers[0])
        node: onnx.NodeProto = nodes[readers[0]]
        return node

    conv = nodes[index]
    window = pool_window(conv)
    weight = _weight(model, graph, conv, chain)
    if len(conv.input) != 2 or window is None or weight is None or weight.shape[0] % 8:
        return None
    value, zero = conv.input[0], np.zeros(weight.shape[1], np.float32)
    if (centre := back(value, "Sub")) is not None:
        known = model.constants.get(centre.input[1])
        found = channel_vector(known, 4, weight.shape[1])
        if found is None:
            return None
        value, zero = centre.input[0], found
    cast = back(value, "Cast")
    turn = None if cast is None else back(cast.input[0], "Transpose")
    if turn is None or list(onnx.helper.get_node_attr_value(turn, "perm")) != [0, 3, 1, 2]:
        return None
    source = turn.input[0]
    is_input = source in {info.name for info in model.proto.graph.input}
    if not is_input or model.types[source].elem != onnx.TensorProto.UINT8 or not _whole(zero, 0, 255):
        return None
    constants = []
    rounded = ahead(conv.output[0], "Round")
    step = rounded
    for op_type in ("Mul", "Add"):
        step = None if step is None else ahead(step.output[0], op_type)
        known = None if step is None else model.constants.get(step.input[1])
        per_channel = channel_vector(known, 4, weight.shape[0])
        if per_channel is None:
            return None
        constants.append(per_channel)
    assert step is not None
    scale, bias = constants
    if np.abs(weight).sum(axis=(1, 2, 3)).max() * 255 >= _EXACT or not np.all(np.isfinite(scale)):
        return None
    pool, output = None, step.output[0]
    if (pooled := ahead(output, "MaxPool")) is not None:
        pool = pool_window(pooled)
        if pool is None:
            chain.pop()
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
        nodes=chain,
        ops=[nodes[place].op_type for place in chain],
    )


def _weight(model: Model, graph: Graph, conv: onnx.NodeProto, chain: list[int]) -> NDArray[Any] | None:
    """Return the integer weight of a convolution, stored as floats or as int8 behind a Cast."""
    name = conv.input[1]
    weight = model.constants.get(name)
    if weight is None and (maker := graph.producer.get(name)) is not None and graph.nodes[maker].op_type == "Cast":
        weight = model.constants.get(graph.nodes[maker].input[0])
        chain.insert(0, maker)
    if weight is None or weight.ndim != 4 or not _whole(weight, -128, 127):
        return None
    return weight.astype(np.int64)


def _whole(values: NDArray[Any], low: int, high: int) -> bool:
    return bool(np.all(values == np.rint(values)) and values.min() >= low and values.max() <= high)
