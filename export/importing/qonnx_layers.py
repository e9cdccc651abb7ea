"""The other operators of QONNX and FINN in standard ONNX: thresholds, pools, layers with the channels last."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .writing import Lowering, NodeWriter

__all__ = ["CHANNELS_LAST", "LAYERS"]


def _thresholds(write: NodeWriter) -> ir.Value:
    """Write ``MultiThreshold``: the number of a channel's thresholds that ``x`` reaches, times a scale, plus a bias."""
    x, given, attributes = write.input(0), write.input(1), write.node.attributes
    table = write.constants.get(given)
    if (write.rank(given) if table is None else table.ndim) != 2:
        raise write.error("a MultiThreshold whose thresholds are no table [channels, steps] is not supported")
    rank, axis = 0, 0
    if table is None or len(table) > 1:
        rank = write.rank(x)
        layout = attributes.get_string("data_layout", "") or ""
        layout = layout or {2: "NC", 3: "NWC", 4: "NCHW"}.get(rank, "NC")  # as qonnx takes it
        axis = layout.index("C") if "C" in layout else 1
    behind = [1] * (rank - 1 - axis)
    total = _computed(write, x, given, behind) if table is None else _constant(write, x, table, behind)
    scale, bias = attributes.get_float("out_scale", 1.0), attributes.get_float("out_bias", 0.0)
    assert scale is not None
    assert bias is not None
    total = total if scale == 1.0 else write("Mul", total, write.constant("scale", scale))
    return total if bias == 0.0 else write("Add", total, write.constant("bias", bias))


def _constant(write: NodeWriter, x: ir.Value, table: NDArray[Any], behind: list[int]) -> ir.Value:
    """Count the constant thresholds ``[C, steps]`` that ``x`` reaches; ``behind`` stands for its axes after C."""
    limits = table.astype(np.float32)
    if table.dtype != np.float32:  # x >= t for a float x is x >= the next float above t
        limits = np.where(limits < table, np.nextafter(limits, np.float32(np.inf)), limits)
    channels, steps = limits.shape
    limits = limits.reshape(steps) if channels == 1 else limits.reshape(channels, *behind, steps)
    if steps > _FEW:
        return _sum(write, x, write.constant("thresholds", limits))
    counts = [write.constant("thresholds", limits[..., step]) for step in range(steps)]
    counts = [write.cast(write("GreaterOrEqual", x, one), np.float32) for one in counts]
    total = counts[0]
    for count in counts[1:]:
        total = write("Add", total, count)
    return total


def _computed(write: NodeWriter, x: ir.Value, table: ir.Value, behind: list[int]) -> ir.Value:
    """Count the thresholds that an input of the graph gives, or that are computed of one."""
    if table.dtype not in (None, ir.DataType.FLOAT):
        x = write.cast(x, table.dtype.numpy())
    sizes = write.constant("sizes", np.array([0, *behind, -1]), np.int64)
    return _sum(write, x, write("Reshape", table, sizes))


def _sum(write: NodeWriter, x: ir.Value, limits: ir.Value) -> ir.Value:
    last = write.constant("axis", np.array([-1]), np.int64)
    hits = write.cast(write("GreaterOrEqual", write("Unsqueeze", x, last), limits), np.float32)
    return write("ReduceSum", hits, last, keepdims=0)


_FEW = 15
"""So many steps are compared one by one: a sum of 0 and 1. More become one axis of comparisons, and their sum."""


def _xnor(write: NodeWriter) -> ir.Value:
    """Write ``XnorPopcountMatMul``: how many of K bits, 0 and 1, are equal."""
    a, b = write.input(0), write.input(1)
    array = write.constants.get(b)
    if array is None:
        raise write.error("an XnorPopcountMatMul whose second operand is no constant is not supported")
    two, one = write.constant("two", 2.0), write.constant("one", 1.0)
    signs = write("Sub", write("Mul", a, two), one)
    weight = write.constant("weight", 2.0 * array - 1.0)
    total = write("Add", write("MatMul", signs, weight), write.constant("k", float(array.shape[0])))
    return write("Mul", total, write.constant("half", 0.5))


def _average(write: NodeWriter) -> ir.Value:
    """Write ``QuantAvgPool2d``: the sum of a window of integers, shifted right to the bits that it may have."""
    attributes = write.node.attributes
    kernel, stride = attributes.get_int("kernel", 1) or 1, attributes.get_int("stride", 1) or 1
    bits = (2 ** (attributes.get_int("ibits", 1) or 1) - 1) * kernel * kernel
    shift = max(0, bits.bit_length() - (attributes.get_int("obits", 1) or 1))
    last = (attributes.get_string("data_layout", "NCHW") or "NCHW") == "NHWC"
    x = write("Transpose", write.input(0), perm=[0, 3, 1, 2]) if last else write.input(0)
    mean = write("AveragePool", x, kernel_shape=[kernel, kernel], strides=[stride, stride])
    total = write("Round", write("Mul", mean, write.constant("window", float(kernel * kernel))))
    shifted = write("Floor", write("Mul", total, write.constant("shift", 2.0**-shift)))
    return write("Transpose", shifted, perm=[0, 2, 3, 1]) if last else shifted


def _channels_last(write: NodeWriter) -> ir.Value:
    """Write a layer of the standard, whose first input (of a Conv: the weight, too) has its channels last."""
    node = write.node
    moved = 2 if node.op_type == "Conv" else 1
    first, *rest = (write.input(index) for index in range(len(node.inputs)))
    kernel = node.attributes.get_ints("kernel_shape", [])
    weight = write.constants.get(rest[0]) if moved == 2 else None
    if weight is not None and kernel and list(weight.shape[1:-1]) != list(kernel):
        sizes = "x".join(str(size) for size in weight.shape)
        raise write.error(f"its weight {sizes} is not [O, {', '.join(map(str, kernel))}, C], channels last")
    rank = len(kernel) + 2 if kernel else write.rank(rest[0] if moved == 2 else first)
    ahead = [0, rank - 1, *range(1, rank - 1)]
    inputs = [first, *rest]
    inputs = [write("Transpose", value, perm=ahead) if i < moved else value for i, value in enumerate(inputs)]
    kind = node.op_type.removesuffix("NHWC")
    result = write(kind, *inputs, **{name: attribute.value for name, attribute in node.attributes.items()})
    return write("Transpose", result, perm=[0, *range(2, rank), 1])


LAYERS: Mapping[str, Lowering] = MappingProxyType(
    {
        "DebugMarker": lambda write: write("Identity", write.input(0)),
        "MaxPoolNHWC": _channels_last,
        "MultiThreshold": _thresholds,
        "QuantAvgPool2d": _average,
        "XnorPopcountMatMul": _xnor,
    }
)
"""Operator of the general domain -> what writes it."""

CHANNELS_LAST: Mapping[str, Lowering] = MappingProxyType(
    dict.fromkeys(("BatchNormalization", "Conv", "MaxPool"), _channels_last)
)
"""Operator of the domain ``channels_last`` -> what writes it."""
