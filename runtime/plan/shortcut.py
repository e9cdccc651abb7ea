"""The float shortcut over a stride: an average pool and a 1×1 convolution between binary layers, as one native unit.

::

    value of a unit, NHWC ─ [AveragePool k/k] ─ Conv 1×1 + bias ─► residual of a unit, NHWC

It runs beside the binary layers, without the transposes and the call that a session of onnxruntime would cost between
them. Its sums are of float32, in the order of the input channels with one rounding a multiply-add: the same on every
CPU, though not the bits of onnxruntime, whose order depends on the CPU. Anything else about a 1×1 stays float.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..intake.windows import Window, pool_window
from ..kernels.registry import SHORTCUT_LANES, can_project
from ..machine.library import usable_features
from .stem import Stem
from .units import Graph, Unit

__all__ = ["Projection", "find_projections"]


@dataclass(eq=False)
class Projection:
    """``output = mean(source over the pool's window) · weight + bias``, weight float32 ``[O, C]``, bias ``[O]``."""

    name: str
    source: str
    output: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    pool: Window | None
    nodes: list[int] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    stored: bool = True
    residual: None = None
    bits_for: None = None
    dense: bool = False
    groups: int = 1

    @property
    def channels_out(self) -> int:
        """Output channels O."""
        return int(self.weight.shape[0])


def find_projections(model: Model, graph: Graph, units: Sequence[Unit], stem: Stem | None) -> list[Projection]:
    """Return the shortcuts that lead from the value of a unit or the stem to residuals alone.

    There are none on a CPU without a fused multiply-add, where onnxruntime is as fast.
    """
    if not can_project(usable_features()):
        return []
    made = {unit.output for unit in units} | ({stem.output} if stem is not None else set())
    wanted = {unit.residual for unit in units} - {unit.source for unit in units} - {None}
    found = []
    for index, node in enumerate(graph.nodes):
        if node.op_type == "Conv" and node.domain in ("", "ai.onnx") and node.output[0] in wanted:
            projection = _match(model, graph, index, {node_index for unit in units for node_index in unit.nodes})
            if projection is not None and projection.source in made:
                found.append(projection)
    return found


def _match(model: Model, graph: Graph, index: int, in_units: set[int]) -> Projection | None:
    conv = graph.nodes[index]
    window, weight = pool_window(conv), model.constants.get(conv.input[1])
    bias = model.constants.get(conv.input[2]) if len(conv.input) > 2 else None
    if window != Window((1, 1), (1, 1), (0, 0, 0, 0)) or weight is None or weight.dtype != np.float32:
        return None
    if len(conv.input) > 2 and (bias is None or bias.dtype != np.float32):
        return None
    output = conv.output[0]
    if (
        weight.shape[0] % SHORTCUT_LANES
        or output in graph.outputs
        or not set(graph.consumers.get(output, [])) <= in_units
    ):
        return None
    source, pool, nodes, ops = str(conv.input[0]), None, [index], ["Conv"]
    maker = graph.producer.get(source)
    if maker is not None and graph.nodes[maker].op_type == "AveragePool":
        pool = _plain_pool(graph.nodes[maker])
        if pool is None or source in graph.outputs or len(graph.consumers[source]) != 1:
            return None
        source, nodes, ops = str(graph.nodes[maker].input[0]), [maker, index], ["AveragePool", "Conv"]
    zeros = np.zeros(weight.shape[0], np.float32)
    return Projection(
        conv.name or output, source, output, weight[:, :, 0, 0], zeros if bias is None else bias, pool, nodes, ops
    )


def _plain_pool(node: onnx.NodeProto) -> Window | None:
    """Return the window of an AveragePool that divides by the pixels inside the image, without pads."""
    window = pool_window(node)
    if window is None or any(window.pads):
        return None
    include = next((entry.i for entry in node.attribute if entry.name == "count_include_pad"), 0)
    return None if window.ceil and include else window
