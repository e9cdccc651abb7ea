"""Reading the layers of a plain ONNX graph: Conv, Gemm and MatMul as weight, bias and geometry.

What cannot be packed raises :class:`StaysFloat` with the reason in words: the reason ends in a table before a user.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.bits import DOMAIN
from ...runtime.operators import LAYERS, STANDARD_DOMAINS, channel_vector
from ..graph.constants import Constants

__all__ = [
    "SOURCE",
    "Layer",
    "StaysFloat",
    "is_layer",
    "label",
    "read_layer",
    "shape_of",
    "split_planes",
    "told",
    "words_of",
]

SOURCE = "latentbit.source"
"""Note at a node that was written for one of a dialect: operator and name of that one. It is not written to files."""

_STANDARD_LAYERS = frozenset(
    {
        *("Conv", "ConvTranspose", "ConvInteger", "DeformConv", "QLinearConv"),
        *("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "Einsum", "Attention", "LSTM", "GRU", "RNN"),
        *("FusedConv", "FusedGemm", "FusedMatMul", "MatMulNBits"),
    }
)


class StaysFloat(Exception):  # noqa: N818 - no error: a layer's fate, with its reason
    """A layer is not packed; the text says why."""


@dataclass(frozen=True)
class Layer:
    """``weight`` float32 ``[O, C/group, kh, kw]`` or ``[O, K]``, ``bias`` float64 ``[O]`` or None, and the geometry."""

    node: ir.Node
    input: ir.Value
    weight: NDArray[np.float32] = field(repr=False)
    bias: NDArray[np.float64] | None = field(repr=False, default=None)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    group: int = 1

    @property
    def is_conv(self) -> bool:
        """Whether the layer is a convolution; otherwise it is dense."""
        return self.weight.ndim == 4

    @property
    def outputs(self) -> int:
        """Output channels O."""
        return int(self.weight.shape[0])

    @property
    def channels(self) -> int:
        """Input channels C, or K of a dense layer."""
        return int(self.weight.shape[1]) * self.group

    @property
    def window(self) -> int:
        """Inputs an output sums over: the largest accumulator."""
        return int(np.prod(self.weight.shape[1:]))


def is_layer(node: ir.Node) -> bool:
    """Tell whether a node holds or multiplies weights: a row of the tables of ``convert`` and ``inspect``."""
    return node.op_type in (LAYERS if node.domain == DOMAIN else _STANDARD_LAYERS)


def label(node: ir.Node) -> str:
    """Return a node's name, or that of its first output where it has none."""
    return node.name or (node.outputs[0].name if node.outputs else None) or node.op_type


def told(node: ir.Node) -> str:
    """Return operator and name of a node for a reader, those of the source where a dialect's node became several."""
    return node.metadata_props.get(SOURCE) or f"{node.op_type} {label(node)}"


def words_of(node: ir.Node) -> dict[str, str]:
    """Return the attributes of a node that are text."""
    return {name: entry.as_string() for name, entry in node.attributes.items() if entry.type == ir.AttributeType.STRING}


def shape_of(value: ir.Value | None) -> list[int | None] | None:
    """Return the sizes of a value, None for a symbolic one; None where not even the rank is known."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else None for size in value.shape]


def read_layer(node: ir.Node, constants: Constants) -> Layer:
    """Return a Conv, Gemm or MatMul with constant weights as a layer; StaysFloat for every other one."""
    if node.domain in STANDARD_DOMAINS:
        if node.op_type == "Conv":
            return _conv(node, constants)
        if node.op_type == "Gemm":
            return _gemm(node, constants)
        if node.op_type == "MatMul":
            return _matmul(node, constants)
    raise StaysFloat(f"{node.op_type} has no packed form")


def split_planes(
    weight: NDArray[np.float32], tolerance: float = 0.0
) -> tuple[NDArray[np.int8], NDArray[np.float64], float]:
    """Split weights into planes of signs: ``weight = scale · mean(planes)``; StaysFloat for weights of other forms.

    ±scale is one plane, ``{−scale, 0, scale}`` two. Returns the planes, int8 ``[Q, O, …]``, one scale per output
    channel, float64 ``[O]``, and by how much a weight differs from its form at most, as a part of the scale: no more
    than ``tolerance``. A channel of zeros alone has scale 0 and any signs.
    """
    flat = np.abs(weight.reshape(weight.shape[0], -1)).astype(np.float64)
    scale = flat.max(axis=1)
    if not np.all(np.isfinite(scale)):
        raise StaysFloat("its weights hold NaN or infinity")
    one = np.abs(flat - scale[:, None])
    apart = np.minimum(one, flat)
    limit = tolerance * scale
    if np.all(one.max(axis=1) <= limit):
        if tolerance:
            scale = np.median(flat, axis=1)
            one = np.abs(flat - scale[:, None])
        difference = float(np.max(one.max(axis=1) / np.where(scale > 0, scale, 1)))
        return np.where(weight >= 0, np.int8(1), np.int8(-1))[None], scale, difference
    odd = np.flatnonzero(apart.max(axis=1) > limit)
    if odd.size == 0:
        near = np.abs(weight) > scale.reshape(-1, *[1] * (weight.ndim - 1)) / 2
        planes = np.stack([np.where(near & (weight < 0), -1, 1), np.where(near & (weight > 0), 1, -1)])
        return planes.astype(np.int8), scale, float(np.max(apart.max(axis=1) / np.where(scale > 0, scale, 1)))
    distinct = np.unique(flat[odd[0]]).size
    raise StaysFloat(f"its weights are real: {distinct} magnitudes in output channel {odd[0]}, ±1 scale would be one")


def _weight(node: ir.Node, index: int, constants: Constants) -> NDArray[np.float32]:
    value = node.inputs[index]
    array = constants.get(value)
    if array is None:
        if value is not None and value.is_graph_input():
            raise StaysFloat(f"its weight {value.name} is an input of the graph: a caller may change it")
        raise StaysFloat("its second operand is no constant" if index else "its first operand is no constant")
    if array.dtype != np.float32:
        raise StaysFloat(f"its weights are {array.dtype}, not float32")
    return array


def _bias(node: ir.Node, outputs: int, constants: Constants, factor: float = 1.0) -> NDArray[np.float64] | None:
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return None
    vector = channel_vector(constants.get(node.inputs[2]), 2, outputs)
    if vector is None:
        raise StaysFloat("its bias is not one float32 constant per output channel")
    return vector.astype(np.float64) * factor


def _conv(node: ir.Node, constants: Constants) -> Layer:
    weight = _weight(node, 1, constants)
    if weight.ndim != 4:
        raise StaysFloat(f"a {weight.ndim - 2}-D convolution has no packed form, only one over one axis or two")
    group = node.attributes.get_int("group", 1)
    strides = tuple(node.attributes.get_ints("strides", [1, 1]))
    dilations = tuple(node.attributes.get_ints("dilations", [1, 1]))
    if group is None or weight.shape[0] % group or len(strides) != 2 or len(dilations) != 2:
        raise StaysFloat("its attributes contradict its weight")
    pads = _pads(node, weight.shape[2:], strides, dilations)
    assert node.inputs[0] is not None
    return Layer(
        node,
        node.inputs[0],
        weight,
        _bias(node, weight.shape[0], constants),
        (strides[0], strides[1]),
        pads,
        (dilations[0], dilations[1]),
        group,
    )


def _pads(
    node: ir.Node, kernel: Any, strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right; ``auto_pad`` is worked out where the sizes allow."""
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    if auto in ("NOTSET", "", None):
        pads = list(node.attributes.get_ints("pads", [0, 0, 0, 0]) or [0, 0, 0, 0])
        if len(pads) != 4 or min(pads) < 0:
            raise StaysFloat(f"its pads {pads} have no packed form")
        return pads[0], pads[1], pads[2], pads[3]
    if auto == "VALID":
        return 0, 0, 0, 0
    begin, end = [], []
    sizes = shape_of(node.inputs[0])
    for axis in range(2):
        span = dilations[axis] * (int(kernel[axis]) - 1) + 1
        length = None if sizes is None else sizes[2 + axis]
        if strides[axis] == 1:
            total = span - 1
        elif length is not None:
            total = max(0, (-(-length // strides[axis]) - 1) * strides[axis] + span - length)
        else:
            raise StaysFloat(f"auto_pad={auto} with a stride depends on the image size, which is not fixed")
        small, large = total // 2, total - total // 2
        begin.append(small if auto == "SAME_UPPER" else large)
        end.append(large if auto == "SAME_UPPER" else small)
    return begin[0], begin[1], end[0], end[1]


def _gemm(node: ir.Node, constants: Constants) -> Layer:
    weight = _weight(node, 1, constants)
    if node.attributes.get_int("transA", 0):
        raise StaysFloat("a Gemm with transA has no packed form")
    if not node.attributes.get_int("transB", 0):
        weight = weight.T
    alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
    if alpha != 1.0:
        weight = (weight * np.float32(alpha)).astype(np.float32)
    assert node.inputs[0] is not None
    assert alpha is not None
    assert beta is not None
    return Layer(node, node.inputs[0], weight, _bias(node, weight.shape[0], constants, beta))


def _matmul(node: ir.Node, constants: Constants) -> Layer:
    weight = _weight(node, 1, constants)
    shape = shape_of(node.inputs[0])
    if weight.ndim != 2:
        raise StaysFloat(f"a MatMul with a weight of {weight.ndim} axes has no packed form")
    if shape is None or len(shape) != 2:
        rank = "unknown rank" if shape is None else f"{len(shape)} axes, of which only the first may be symbolic"
        raise StaysFloat(f"its input has {rank}: a packed dense layer takes [N, K]")
    assert node.inputs[0] is not None
    return Layer(node, node.inputs[0], np.ascontiguousarray(weight.T))
