"""Convolutions of one bit a weight over integers of eight bits, proven by the file: their sums are exact integers.

::

    ─ Clip(low, high) ─ Round ─ [Sub zero] ─ [Mul scale] ─►  v = k · scale, k whole  ─ BinaryWeightConv2d ─►
    uint8, int8 ─ DequantizeLinear, or Cast and Mul ─►

A kernel finds k as the whole number next to v / scale, so the value itself stays what it is for whoever else reads it.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import BinaryLayer, Model
from ..intake.windows import Window
from ..operators import STANDARD_DOMAINS
from .graph import Graph

__all__ = ["IntegerConv", "find_integer_layers", "scale_of_bytes"]

_EXACT = 2**24
"""Sums below are float32 numbers."""

_RANGES: dict[int, tuple[int, int]] = {onnx.TensorProto.UINT8: (0, 255), onnx.TensorProto.INT8: (-128, 127)}
_PRODUCTS, _PRODUCTS_A_FLOAT = 2**23, 160
"""Products of a layer that pays, and those for each float that is turned. On Zen 4 a product takes 19 ps in onnxruntime
and 5 ps here, and a float that crosses 1.5 ns."""

_SCALES = 2.0**-60, 2.0**60


@dataclass(frozen=True, eq=False)
class IntegerConv:
    """``output = fl(fl(acc · scale) + bias)``, acc = conv(k), k + zero_point in 0 … 255, padded with k = 0.

    ``source`` names k times a number, of which ``inverse`` is the reciprocal. ``weight`` is int16 ``[O, C, kh, kw]`` of
    ±1, ``zero_point`` int16 ``[C]``, ``scale`` and ``bias`` float32 ``[O]``.
    """

    kind: ClassVar[str] = "integer"
    rank: ClassVar[int] = 4
    pool: ClassVar[None] = None

    layer: BinaryLayer
    inverse: np.float32
    weight: NDArray[np.int16]
    zero_point: NDArray[np.int16]
    scale: NDArray[np.float32]
    nodes: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def ops(self) -> tuple[str, ...]:
        """Its operator alone."""
        return (self.layer.op_type,)

    @property
    def source(self) -> str:
        """The value that it reads."""
        return self.layer.input

    @property
    def reads(self) -> tuple[str, ...]:
        """The source."""
        return (self.layer.input,)

    @property
    def output(self) -> str:
        """The layer's output."""
        return self.layer.output

    @property
    def bias(self) -> NDArray[np.float32]:
        """The layer's bias."""
        return self.layer.bias

    @property
    def window(self) -> Window:
        """The layer's window."""
        height, width = self.layer.shape[2:]
        return Window((height, width), self.layer.strides, self.layer.pads)

    @property
    def channels_out(self) -> int:
        """Output channels O."""
        return int(self.layer.shape[0])


def find_integer_layers(model: Model, graph: Graph, packed: Collection[str]) -> list[IntegerConv]:
    """Return the convolutions with weights of one bit whose inputs are provably a number times eight bits.

    Of those whose output is none of ``packed``, the values that units pack, only the ones that pay: their floats are
    turned to channels last and back.
    """
    found = []
    for index, layer in model.layers.items():
        plain = layer.real_input and not layer.dense and layer.group == 1 and layer.dilations == (1, 1)
        known = model.types.get(layer.input)
        if layer.output not in packed and not _pays(layer):
            continue
        if not plain or layer.shape[0] % 8 or 255 * layer.window >= _EXACT or known is None:
            continue
        if known.elem != onnx.TensorProto.FLOAT or known.shape is None or known.shape[1:2] != (layer.channels,):
            continue
        levels = scale_of_bytes(model, graph, layer.input)
        if levels is None:
            continue
        step, zero = levels
        scale = (layer.scale.astype(np.float64) * step).astype(np.float32)
        if not np.all(np.isfinite(scale)):
            continue
        found.append(
            IntegerConv(
                layer=layer,
                inverse=np.float32(1 / step),
                weight=layer.weight.astype(np.int16),
                zero_point=np.full(layer.channels, zero, np.int16),
                scale=scale,
                nodes=(index,),
            )
        )
    return found


def _pays(layer: BinaryLayer) -> bool:
    """Tell whether a layer between float operators has so many products that bytes gain more than the turning costs."""
    outputs, channels = layer.shape[0], layer.channels
    if layer.size is not None and outputs * layer.window * math.prod(layer.output_size(*layer.size)) < _PRODUCTS:
        return False
    return outputs * layer.window >= _PRODUCTS_A_FLOAT * (outputs + channels)


def scale_of_bytes(model: Model, graph: Graph, name: str) -> tuple[float, int] | None:
    """Return s and z if a value is k · s up to rounding, k whole and k + z in 0 … 255; None if that is not proven."""
    node, step = _maker(graph, name), 1.0
    if node is not None and node.op_type == "DequantizeLinear":
        return _dequantised(model, node)
    if node is not None and node.op_type == "Cast" and _elem(model, node.input[0]) == onnx.TensorProto.DOUBLE:
        node = _maker(graph, node.input[0])
    if node is not None and node.op_type in ("Mul", "Div"):
        value, other = node.input
        if node.op_type == "Mul" and other not in model.constants:
            value, other = other, value
        factor = _number(model, other)
        if factor is None or factor == 0:
            return None
        step = factor if node.op_type == "Mul" else 1 / factor
        node = _maker(graph, value)
    limits = _whole_range(model, graph, node)
    return None if limits is None else _as_bytes(step, *limits)


def _whole_range(model: Model, graph: Graph, node: onnx.NodeProto | None) -> tuple[float, float] | None:
    """Return the least and the largest of the whole numbers that a node makes, None where it may make others."""
    zero = 0.0
    if node is not None and node.op_type == "Sub":
        found = _number(model, node.input[1])
        if found is None or found != round(found):
            return None
        zero, node = found, _maker(graph, node.input[0])
    if node is None:
        return None
    if node.op_type == "Cast" and _elem(model, node.input[0]) in _RANGES:
        low, high = _RANGES[_elem(model, node.input[0])]
        return low - zero, high - zero
    rounded = node.op_type == "Round"
    if rounded:
        node = _maker(graph, node.input[0])
    if node is None or node.op_type != "Clip" or len(node.input) != 3:
        return None
    bounds = [_number(model, bound) for bound in node.input[1:]]
    behind = _maker(graph, node.input[0])
    if bounds[0] is None or bounds[1] is None or not (rounded or (behind is not None and behind.op_type == "Round")):
        return None
    if any(not math.isfinite(bound) or (not rounded and bound != round(bound)) for bound in (bounds[0], bounds[1])):
        return None
    return round(bounds[0]) - zero, round(bounds[1]) - zero


def _dequantised(model: Model, node: onnx.NodeProto) -> tuple[float, int] | None:
    kind, step = _elem(model, node.input[0]), _number(model, node.input[1])
    zero = 0.0 if len(node.input) < 3 or not node.input[2] else _number(model, node.input[2])
    if kind not in _RANGES or step is None or zero is None:
        return None
    low, high = _RANGES[kind]
    return _as_bytes(step, low - zero, high - zero)


def _as_bytes(step: float, low: float, high: float) -> tuple[float, int] | None:
    zero = max(0, -int(low))
    fits = low <= high and zero <= 255 and high + zero <= 255 and _SCALES[0] <= abs(step) <= _SCALES[1]
    return (step, zero) if fits else None


def _maker(graph: Graph, name: str) -> onnx.NodeProto | None:
    maker = graph.producer.get(name)
    node = None if maker is None else graph.nodes[maker]
    return node if node is not None and node.domain in STANDARD_DOMAINS else None


def _number(model: Model, name: str) -> float | None:
    """Return a constant that is one number."""
    value = model.constants.get(name)
    return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None


def _elem(model: Model, name: str) -> int:
    known = model.types.get(name)
    return onnx.TensorProto.UNDEFINED if known is None else known.elem
