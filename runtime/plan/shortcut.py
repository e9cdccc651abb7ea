"""The float shortcut over a stride: an average pool and a 1×1 convolution between binary layers, as one part.

::

    value of a unit, NHWC ─ [AveragePool k/k] ─ Conv 1×1 + bias ─► residual of a unit, NHWC

It runs beside the binary layers, without the transposes and the call that a session of onnxruntime would cost between
them. Its sums are of float32, in the order of the input channels with one rounding a multiply-add: the same on every
CPU, though not the bits of onnxruntime, whose order depends on the CPU. Anything else about a 1×1 stays float.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..intake.windows import Window, pool_window
from ..operators import STANDARD_DOMAINS
from .graph import Graph
from .units import Unit

__all__ = ["Shortcut", "find_shortcuts"]


@dataclass(frozen=True, eq=False)
class Shortcut:
    """``output = mean(source over the pool's window) · weight + bias``, weight float32 ``[O, C]``, bias ``[O]``."""

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 4

    name: str
    source: str
    output: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    pool: Window | None
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)

    @property
    def channels_out(self) -> int:
        """Output channels O."""
        return int(self.weight.shape[0])


def find_shortcuts(model: Model, graph: Graph, units: Sequence[Unit], stems: Collection[str]) -> list[Shortcut]:
    """Return the shortcuts that lead from the value of a unit, or of a stem (by name), to residuals alone."""
    made = {unit.output for unit in units} | set(stems)
    wanted = {unit.residual for unit in units} - {unit.source for unit in units} - {None}
    in_units = {node for unit in units for node in unit.nodes}
    found = []
    for index, node in enumerate(graph.nodes):
        if node.op_type == "Conv" and node.domain in STANDARD_DOMAINS and node.output[0] in wanted:
            shortcut = _match(model, graph, index, in_units)
            if shortcut is not None and shortcut.source in made:
                found.append(shortcut)
    return found


def _match(model: Model, graph: Graph, index: int, in_units: set[int]) -> Shortcut | None:
    conv = graph.nodes[index]
    window, weight = pool_window(conv), model.constants.get(conv.input[1])
    bias = model.constants.get(conv.input[2]) if len(conv.input) > 2 else None
    if window != Window((1, 1), (1, 1), (0, 0, 0, 0)) or weight is None or weight.dtype != np.float32:
        return None
    if weight.ndim != 4 or weight.shape[2:] != (1, 1) or not weight.size:
        return None
    if len(conv.input) > 2 and (bias is None or bias.dtype != np.float32 or bias.shape != weight.shape[:1]):
        return None
    output = conv.output[0]
    if output in graph.outputs or not set(graph.consumers.get(output, [])) <= in_units:
        return None
    source, pool, nodes = str(conv.input[0]), None, [index]
    maker = graph.producer.get(source)
    if maker is not None and graph.nodes[maker].op_type == "AveragePool":
        pool = _plain_pool(graph.nodes[maker])
        if pool is None or source in graph.outputs or len(graph.consumers[source]) != 1:
            return None
        source, nodes = str(graph.nodes[maker].input[0]), [maker, index]
    return Shortcut(
        name=conv.name or output,
        source=source,
        output=output,
        weight=weight[:, :, 0, 0],
        bias=np.zeros(weight.shape[0], np.float32) if bias is None else bias,
        pool=pool,
        nodes=tuple(nodes),
        ops=tuple(graph.nodes[node].op_type for node in nodes),
    )


def _plain_pool(node: onnx.NodeProto) -> Window | None:
    """Return the window of an AveragePool that divides by the pixels inside the image, without pads."""
    window = pool_window(node)
    if window is None or any(window.pads):
        return None
    include = next((entry.i for entry in node.attribute if entry.name == "count_include_pad"), 0)
    return None if window.ceil and include else window
