"""What one popcount kernel does in one pass: a binary layer with all that may be fused behind and before it.

::

    before                the layer             behind, each stage optional, in this order
    v ─ Binarize(t) ─►  BinaryConv2d/Gemm  ─► + residual ─► − shift_in ─► PRelu(slope) ─► + shift_out ─► value

Before the Binarize may stand a Concat of copies of v, each with thresholds of its own: an activation of several levels.
A stage is fused where its constant is one number per channel and the value before it is used nowhere else, so the
kernel computes exactly the float32 steps of the file in the file's order. What does not fit stays a float step.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray

from ..bits import DOMAIN
from ..intake.model import BinaryLayer, Model
from ..intake.windows import Window, pool_window
from ..operators import STANDARD_DOMAINS, channel_vector
from .chain import Chain
from .graph import Graph, same_shape
from .monotone import Threshold

__all__ = ["Unit", "find_units", "pool_before"]

_LARGEST = 1e38
"""No result of a kernel is past it but for a residual, so that none is infinite, nor 0 times infinity."""

_STAGES = ("residual", "shift_in", "slope", "shift_out")


@dataclass(frozen=True, eq=False)
class Unit:
    """One binary layer and what is fused with it.

    The kernel packs the bits of ``threshold`` (the bit of a pool is 1 where any under its window is), convolves, and
    applies the stages; ``output`` is the last value reached. Constants of stages are ``[O]``.
    The source is multiplied by the ``gate``, a number per image and channel, before it is compared (:mod:`.gates`).
    Of the source the ``curve`` is taken before it is compared: chains that keep no order, which only the unit that
    makes the source can answer for (:mod:`.curves`).
    The C channels are those of the source, ``copies`` times one behind the other. ``pools_floats`` says that the pool
    stands before the Binarize in the file: what is largest where there is a NaN differs from engine to engine.
    """

    kind: ClassVar[str] = "binary"

    layer: BinaryLayer
    source: str
    threshold: Threshold
    output: str
    nodes: tuple[int, ...]
    ops: tuple[str, ...]
    pool: Window | None = None
    pools_floats: bool = False
    copies: int = 1
    gate: str | None = None
    curve: tuple[Chain, ...] = ()
    residual: str | None = None
    shift_in: NDArray[np.float32] | None = None
    slope: NDArray[np.float32] | None = None
    shift_out: NDArray[np.float32] | None = None

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def reads(self) -> tuple[str, ...]:
        """The source, and the gate and the residual if there are."""
        return (self.source, *(name for name in (self.gate, self.residual) if name is not None))

    @property
    def relu(self) -> bool:
        """Whether the slope is that of a Relu, −0, and not of a PRelu."""
        return "Relu" in self.ops

    @property
    def rank(self) -> int:
        """Rank of the values: 4 of a convolution, 2 of a dense layer."""
        return self.layer.rank

    @property
    def dense(self) -> bool:
        """Whether values are [N, C] and not [N, C, H, W]."""
        return self.layer.dense

    @property
    def channels_out(self) -> int:
        """Output channels O."""
        return int(self.layer.shape[0])


def find_units(model: Model, graph: Graph) -> tuple[list[Unit], dict[int, str]]:
    """Return the units, and by node index the reason for every binary operator that stays float."""
    units: list[Unit] = []
    reasons: dict[int, str] = {}
    taken: set[int] = set()
    for index, layer in model.layers.items():
        refusal = _refusal(model, graph, layer)
        if refusal is None:
            units.append(_unit(model, graph, index, layer, taken))
            taken.update(units[-1].nodes)
        else:
            reasons[index] = refusal
    return units, reasons


def _refusal(model: Model, graph: Graph, layer: BinaryLayer) -> str | None:
    """Return why a layer cannot run packed, or None."""
    if layer.real_input:
        return "its activations are real; onnxruntime holds its weights as floats"
    if not _readable(model, layer.input, layer):
        return f"its input {layer.input} is no float32 of rank {layer.rank} with {layer.channels} channels"
    if not graph.is_sign(layer.input):
        return f"its input {layer.input} is not provably ±1 (the output of a Binarize)"
    if layer.window > 65535:
        return f"{layer.window} inputs per output are more than the 65535 that the accumulators hold"
    if not np.all(np.abs(layer.scale.astype(np.float64)) * layer.window + np.abs(layer.bias) < _LARGEST):
        return "a scale or a bias is too large for float32 arithmetic, or no number"
    return None


def _unit(model: Model, graph: Graph, index: int, layer: BinaryLayer, taken: Collection[int]) -> Unit:
    """Return the unit of a layer: what is before it, and stage by stage what follows it.

    ``taken`` are the nodes of other units: where two layers are added, the first takes the sum and the other is its
    residual.
    """
    before = _before(model, graph, layer)
    nodes, output, stages = [index], layer.output, dict[str, Any]()
    possible = list(_STAGES)
    while (node := graph.only_reader(output)) is not None and node not in taken:
        stage, value = _stage(model, layer, output, graph.nodes[node])
        if stage not in possible:
            break
        possible = possible[possible.index(stage) + 1 :]
        stages[stage] = value
        nodes.append(node)
        output = str(graph.nodes[node].output[0])
    ops = [*(["MaxPool"] if "pool" in before else []), *(graph.nodes[node].op_type for node in nodes)]
    return Unit(layer=layer, output=output, nodes=tuple(nodes), ops=tuple(ops), **before, **stages)


def _before(model: Model, graph: Graph, layer: BinaryLayer) -> dict[str, Any]:
    """Return the fields of a unit that say what its kernel packs: the value, the threshold, a pool, copies.

    A pool may stand on either side of the Binarize. Without a Binarize that can be fused the layer's own input is
    packed: it is ±1, and its sign its bit.
    """
    signs, pool = _before_pool(graph, layer.input)
    found = model.binarizes.get(graph.producer[signs])
    threshold = None
    if found is not None and found.threshold is not None:
        threshold = channel_vector(found.threshold, layer.rank, layer.channels)
        # What all but NaN reach cannot be asked of a maximum: without any number it is −∞ as well.
        threshold = None if pool is not None and threshold is not None and np.isneginf(threshold).any() else threshold
    if found is None or threshold is None or not _readable(model, found.input, layer):
        return {"source": layer.input, "threshold": Threshold.at(np.zeros(layer.channels, np.float32))}
    source, copies = _copied(model, graph, found.input, layer)
    fields: dict[str, Any] = {"threshold": Threshold.at(threshold), "copies": copies, "source": source}
    if pool is not None:
        fields["pool"] = pool
    elif copies == 1:
        source, pool = _before_pool(graph, found.input)
        if pool is not None:
            fields |= {"source": source, "pool": pool, "pools_floats": True}
    return fields


def _copied(model: Model, graph: Graph, name: str, layer: BinaryLayer) -> tuple[str, int]:
    """Return the value of which a Concat over channels makes copies, and how many; ``name`` itself and 1 for none.

    Only where each copy fills whole bytes of the packed image, in every format.
    """
    maker = graph.producer.get(name)
    node = None if maker is None else graph.nodes[maker]
    if node is None or node.op_type != "Concat" or node.domain not in STANDARD_DOMAINS or len(set(node.input)) != 1:
        return name, 1
    source, copies = str(node.input[0]), len(node.input)
    known = model.types.get(source)
    if known is None or known.shape is None or len(known.shape) != layer.rank or layer.shape[1] != layer.channels:
        return name, 1
    channels = known.shape[1]
    fits = isinstance(channels, int) and channels % 8 == 0 and channels * copies == layer.channels
    over_channels = [entry.i for entry in node.attribute if entry.name == "axis"] in ([1], [1 - layer.rank])
    return (source, copies) if fits and over_channels else (name, 1)


def _before_pool(graph: Graph, name: str) -> tuple[str, Window | None]:
    """Return what a max-pool reads and its window, if ``name`` is made by one for Binarize or a binary layer alone."""
    source, window = pool_before(graph, name)
    if name in graph.outputs or any(graph.nodes[reader].domain != DOMAIN for reader in graph.consumers.get(name, [])):
        return name, None
    return source, window


def pool_before(graph: Graph, name: str) -> tuple[str, Window | None]:
    """Return what the max-pool that makes ``name`` reads and its window; ``name`` itself and None for no such pool."""
    maker = graph.producer.get(name)
    if maker is None or graph.nodes[maker].op_type != "MaxPool" or graph.nodes[maker].output[0] != name:
        return name, None  # its second output says where the maximum lies
    window = pool_window(graph.nodes[maker])
    return (name, None) if window is None else (str(graph.nodes[maker].input[0]), window)


def _stage(model: Model, layer: BinaryLayer, value: str, node: onnx.NodeProto) -> tuple[str, Any]:
    """Return which stage a node behind ``value`` is and its constant (of a residual its name); ``""`` for none."""
    none, channels = ("", None), layer.shape[0]
    if node.domain not in STANDARD_DOMAINS or len(node.input) > 2:
        return none
    if node.op_type == "Relu":
        return "slope", np.full(channels, -0.0, np.float32)  # which makes +0 of a number below zero, and not −0
    if node.op_type not in ("Add", "Sub", "PRelu") or list(node.input).count(value) != 1:
        return none
    other = str(node.input[0] if node.input[1] == value else node.input[1])
    if other not in model.constants:
        return ("residual", other) if node.op_type == "Add" and same_shape(model, value, other) else none
    constant = channel_vector(model.constants[other], layer.rank, channels)
    if constant is None or (node.op_type != "Add" and node.input[0] != value):
        return none
    if not np.all(np.abs(constant) < _LARGEST):
        return none
    return {"Add": "shift_out", "Sub": "shift_in", "PRelu": "slope"}[node.op_type], constant


def _readable(model: Model, name: str, layer: BinaryLayer) -> bool:
    """Tell whether a value may be what the kernel of a layer reads, by what is known of its type."""
    known = model.types.get(name)
    if known is None:
        return True  # whoever binds its buffer sees
    if known.elem not in (onnx.TensorProto.FLOAT, onnx.TensorProto.UNDEFINED):
        return False
    if known.shape is None:
        return True
    channels = known.shape[1] if len(known.shape) == layer.rank else 0
    return channels == layer.channels or not isinstance(channels, int)
