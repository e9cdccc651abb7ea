"""What one popcount kernel does in one pass: a binary layer with all that may be fused behind and before it.

::

    before                the layer             behind, each stage optional, in this order
    v ─ Binarize(t) ─►  BinaryConv2d/Gemm  ─► + residual ─► − shift_in ─► PRelu(slope) ─► + shift_out ─► value

A stage is fused where its constant is one number per channel and the value before it is used nowhere else, so the
kernel computes exactly the float32 steps of the file in the file's order. What does not fit stays a float step.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..bits import DOMAIN
from ..intake.model import BinaryLayer, Model
from ..intake.windows import Window, pool_window
from ..operators import STANDARD_DOMAINS, channel_vector, sign_sources

__all__ = ["Graph", "Unit", "find_units", "is_sign_value", "read_values"]

_LARGEST_SCALE = 1e38


@dataclass(eq=False)
class Unit:
    """One binary layer and what is fused with it.

    The kernel packs ``maxpool(source) >= threshold`` (which is the max-pool of the signs), convolves, and applies the
    stages; ``output`` is the last value reached.
    ``bits_for`` is the unit that takes the output as bits, written by the same pass; ``stored`` says whether the floats
    are needed as well. The plan fills both.
    """

    layer: BinaryLayer
    source: str
    threshold: NDArray[np.float32]
    output: str
    pool: Window | None = None
    residual: str | None = None
    shift_in: NDArray[np.float32] | None = None
    slope: NDArray[np.float32] | None = None
    shift_out: NDArray[np.float32] | None = None
    nodes: list[int] = field(default_factory=list)
    ops: list[str] = field(default_factory=list)
    bits_for: "Unit | None" = None
    stored: bool = False

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def dense(self) -> bool:
        """Whether values are [N, C] and not [N, C, H, W]."""
        return self.layer.dense

    @property
    def groups(self) -> int:
        """Groups of channels."""
        return self.layer.group

    @property
    def channels_out(self) -> int:
        """Output channels O."""
        return int(self.layer.shape[0])


class Graph:
    """Who makes and who reads each value of a model."""

    def __init__(self, model: Model) -> None:
        self.nodes = model.proto.graph.node
        self.producer = {output: index for index, node in enumerate(self.nodes) for output in node.output if output}
        self.consumers: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            for name in set(read_values(node)):
                self.consumers.setdefault(name, []).append(index)
        self.outputs = {info.name for info in model.proto.graph.output}
        self.taken: set[int] = set()  # a sum of two layers is fused with one of them


def read_values(node: onnx.NodeProto) -> list[str]:
    """Return every value a node reads; names made inside its inner graphs are left out."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            inside = {name for inner in graph.node for name in inner.output}
            inside |= {entry.name for entry in (*graph.input, *graph.initializer)}
            names += [name for inner in graph.node for name in read_values(inner) if name not in inside]
    return names


def is_sign_value(model: Model, name: str, producer: dict[str, int]) -> bool:
    """Tell whether a value is provably ±1: made by Binarize, or by ops that only move or select signs."""
    if name not in producer:
        return False
    node = model.proto.graph.node[producer[name]]
    if node.domain == DOMAIN:
        return bool(node.op_type == "Binarize")
    sources = sign_sources(node.op_type, node.domain, node.input)
    return bool(sources) and all(is_sign_value(model, entry, producer) for entry in sources)


def find_units(model: Model, graph: Graph) -> tuple[list[Unit], dict[int, str]]:
    """Return the units in order of execution, and by node index the reason for every binary op that stays float."""
    units: list[Unit] = []
    reasons: dict[int, str] = {}
    for index, layer in model.layers.items():
        if layer.real_input:
            reasons[index] = "its activations are real; only its weights are binary"
            continue
        if not is_sign_value(model, layer.input, graph.producer):
            reasons[index] = f"its input {layer.input} is not provably ±1 (the output of a Binarize)"
            continue
        if layer.window > 65535:
            reasons[index] = f"{layer.window} inputs per output are more than the 65535 that the accumulators hold"
            continue
        if not np.all(np.abs(layer.scale) < _LARGEST_SCALE):
            reasons[index] = "a scale is too large for float32 arithmetic on its double, or no number"
            continue
        units.append(_unit(model, graph, index, layer))
    return sorted(units, key=lambda unit: max(unit.nodes)), reasons  # ready once its last stage is


def _unit(model: Model, graph: Graph, index: int, layer: BinaryLayer) -> Unit:
    source, threshold = layer.input, np.zeros(layer.channels, np.float32)  # a ±1 float is packed by its sign
    signs, pool = _before_pool(graph, layer.input)
    if (found := model.binarizes.get(graph.producer[signs])) is not None and found.threshold is not None:
        per_channel = channel_vector(found.threshold, layer.rank, layer.channels)
        if per_channel is not None:
            source, threshold = found.input, per_channel
            if pool is None:
                source, pool = _before_pool(graph, source)
    if source == layer.input:
        pool = None
    unit = Unit(layer, source, threshold, layer.output, pool, nodes=[index], ops=[layer.op_type])
    if pool is not None:
        unit.ops.insert(0, "MaxPool")
    stage = 0
    while (step := _next(model, graph, unit, stage)) is not None:
        stage, node_index, name, value = step
        setattr(unit, name, value)
        unit.nodes.append(node_index)
        graph.taken.add(node_index)
        unit.ops.append(graph.nodes[node_index].op_type)
        unit.output = graph.nodes[node_index].output[0]
    return unit


def _before_pool(graph: Graph, name: str) -> tuple[str, Window | None]:
    """Return what a max-pool reads and its window, if ``name`` is made by one for Binarize or a binary layer alone."""
    maker = graph.producer.get(name)
    if maker is None or graph.nodes[maker].op_type != "MaxPool" or name in graph.outputs:
        return name, None
    window = pool_window(graph.nodes[maker])
    if window is None or any(graph.nodes[reader].domain != DOMAIN for reader in graph.consumers.get(name, [])):
        return name, None
    return str(graph.nodes[maker].input[0]), window


def _next(model: Model, graph: Graph, unit: Unit, stage: int) -> tuple[int, int, str, Any] | None:
    """Return (next stage, node index, field, value) of the node that can be fused behind ``unit.output``, or None."""
    consumers = graph.consumers.get(unit.output, [])
    if len(consumers) != 1 or unit.output in graph.outputs:
        return None
    index = consumers[0]
    node = graph.nodes[index]
    if index in graph.taken:
        return None
    if node.domain not in STANDARD_DOMAINS or len(node.input) > 2:
        return None
    if node.op_type == "Relu" and stage <= 2:
        return 3, index, "slope", np.zeros(unit.channels_out, np.float32)
    if node.op_type not in ("Add", "Sub", "PRelu") or list(node.input).count(unit.output) != 1:
        return None
    other = node.input[0] if node.input[1] == unit.output else node.input[1]
    constant = None
    if other in model.constants:
        constant = channel_vector(model.constants[other], unit.layer.rank, unit.channels_out)
        if constant is None:
            return None
    if node.op_type == "Add":
        if constant is not None:
            return (4, index, "shift_out", constant) if stage <= 3 else None
        return (1, index, "residual", other) if stage <= 0 and _same_shape(model, unit.output, other) else None
    if constant is None or node.input[0] != unit.output:
        return None
    if node.op_type == "Sub":
        return (2, index, "shift_in", constant) if stage <= 1 else None
    return (3, index, "slope", constant) if stage <= 2 else None


def _same_shape(model: Model, first: str, second: str) -> bool:
    """Tell whether two values provably have one shape; an unknown size is equal to nothing."""
    one, two = model.types.get(first), model.types.get(second)
    if one is None or two is None or one.shape is None or two.shape is None or None in one.shape:
        return False
    return one.elem == two.elem and one.shape == two.shape
