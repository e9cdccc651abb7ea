"""Emitters of functions and tensor methods met between the layers. The lists are :data:`FUNCTIONS`, :data:`METHODS`."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F
from torch import fx

from ....runtime.errors import UnsupportedError
from ..emission import Emission, Emitter, elementwise
from . import layers
from . import shape as shapes

__all__ = ["FUNCTIONS", "METHODS"]


def binary(op_type: str) -> Emitter:
    """Return the emitter of an elementwise function of two operands, tensors or numbers."""

    def emit(e: Emission, x: Any, y: Any, alpha: float = 1) -> ir.Value:
        if alpha != 1:
            raise UnsupportedError(f"{e.name}: alpha={alpha} cannot be exported, multiply the operand instead")
        return e(op_type, [e.value(x), e.value(y)])

    return emit


def unary(op_type: str) -> Emitter:
    """Return the emitter of an elementwise function of one operand."""

    def emit(e: Emission, x: fx.Node, inplace: bool = False) -> ir.Value:
        return elementwise(e, op_type, x)

    return emit


def emit_cat(e: Emission, tensors: Sequence[fx.Node], dim: int = 0) -> ir.Value:
    """Concat."""
    return e("Concat", [e.value(t) for t in tensors], axis=dim)


def emit_mean(e: Emission, x: fx.Node, dim: Any = None, keepdim: bool = False) -> ir.Value:
    """ReduceMean; the mean over an image is a GlobalAveragePool and, without keepdim, a Flatten."""
    rank = e.rank(x)
    axes = list(range(rank)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if rank == 4 and sorted(axis % rank for axis in axes) == [2, 3] and not keepdim:
        pooled = shapes.global_mean(e, x, axes, True, "pool", [*e.shape, 1, 1])
        return e("Flatten", [pooled], axis=1)
    return shapes.global_mean(e, x, axes, keepdim)


def emit_view(e: Emission, x: fx.Node, *shape: Any) -> ir.Value:
    """Reshape; a size taken from a tensor (``x.size(0)``) keeps the axis where it stood."""
    sizes = list(shape[0]) if len(shape) == 1 and isinstance(shape[0], list | tuple) else list(shape)
    target: list[int] = []
    for axis, size in enumerate(sizes):
        if isinstance(size, int):
            target.append(size)
        elif e.shape[axis] == "N" and axis == 0:
            target.append(0)
        elif isinstance(e.shape[axis], int):
            target.append(int(e.shape[axis]))  # type: ignore[arg-type] # an int, checked above
        elif -1 not in sizes and -1 not in target:
            target.append(-1)
        else:
            raise UnsupportedError(f"{e.name}: cannot export a reshape with more than one unknown size")
    if target[1:] == [-1] and e.rank(x) > 1:
        return elementwise(e, "Flatten", x, axis=1)
    return shapes.reshape(e, x, target)


def emit_permute(e: Emission, x: fx.Node, *dims: Any) -> ir.Value:
    """Transpose."""
    order = list(dims[0]) if len(dims) == 1 and isinstance(dims[0], list | tuple) else list(dims)
    return elementwise(e, "Transpose", x, perm=[axis % e.rank(x) for axis in order])


def emit_transpose(e: Emission, x: fx.Node, dim0: int, dim1: int) -> ir.Value:
    """Transpose of two axes."""
    order = list(range(e.rank(x)))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return emit_permute(e, x, order)


def emit_clamp(e: Emission, x: fx.Node, min: float | None = None, max: float | None = None) -> ir.Value:
    """Clip with one or two bounds."""
    low = None if min is None else e.value(min, "min")
    high = None if max is None else e.value(max, "max")
    return e("Clip", [e.value(x), low, high])


def emit_hardtanh(
    e: Emission, x: fx.Node, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> ir.Value:
    """Clip."""
    return layers.clip(e, x, min_val, max_val)


def softmax(op_type: str) -> Emitter:
    """Return the emitter of softmax or its logarithm."""

    def emit(e: Emission, x: fx.Node, dim: int = -1, _stacklevel: int = 3, dtype: None = None) -> ir.Value:
        return elementwise(e, op_type, x, axis=dim)

    return emit


def emit_avg_pool2d(
    e: Emission,
    x: fx.Node,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: None = None,
) -> ir.Value:
    """AveragePool."""
    return shapes.average_pool(e, x, kernel_size, stride, padding, ceil_mode, count_include_pad)


def emit_max_pool2d(
    e: Emission,
    x: fx.Node,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> ir.Value:
    """MaxPool."""
    return shapes.max_pool(e, x, kernel_size, stride, padding, dilation, ceil_mode)


def emit_interpolate(
    e: Emission,
    x: fx.Node,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> ir.Value:
    """Resize."""
    if antialias:
        raise UnsupportedError(f"{e.name}: antialias=True cannot be exported")
    return shapes.resize(e, x, mode, align_corners)


def emit_dropout(e: Emission, x: fx.Node, *_: Any, **__: Any) -> ir.Value:
    """Nothing: a folded network does not train."""
    return e.value(x)


def emit_unsqueeze(e: Emission, x: fx.Node, dim: int) -> ir.Value:
    """Unsqueeze."""
    return e("Unsqueeze", [e.value(x), e.constant("axes", np.array([dim], np.int64))])


def emit_squeeze(e: Emission, x: fx.Node, dim: Any) -> ir.Value:
    """Squeeze of named axes."""
    axes = [dim] if isinstance(dim, int) else list(dim)
    return e("Squeeze", [e.value(x), e.constant("axes", np.array(axes, np.int64))])


FUNCTIONS: dict[Any, Emitter] = {
    F.adaptive_avg_pool2d: lambda e, x, output_size: shapes.adaptive_pool(e, x, output_size, "Average"),
    F.avg_pool2d: emit_avg_pool2d,
    F.dropout: emit_dropout,
    F.gelu: lambda e, x, approximate="none": layers.gelu(e, x, approximate),
    F.hardtanh: emit_hardtanh,
    F.interpolate: emit_interpolate,
    F.leaky_relu: lambda e, x, negative_slope=0.01, inplace=False: elementwise(e, "LeakyRelu", x, alpha=negative_slope),
    F.log_softmax: softmax("LogSoftmax"),
    F.max_pool2d: emit_max_pool2d,
    F.pixel_shuffle: shapes.pixel_shuffle,
    F.relu: unary("Relu"),
    F.relu6: lambda e, x, inplace=False: layers.clip(e, x, 0.0, 6.0),
    F.silu: lambda e, x, inplace=False: layers.silu(e, x),
    F.softmax: softmax("Softmax"),
    operator.add: binary("Add"),
    operator.iadd: binary("Add"),
    operator.mul: binary("Mul"),
    operator.neg: unary("Neg"),
    operator.sub: binary("Sub"),
    operator.truediv: binary("Div"),
    torch.add: binary("Add"),
    torch.cat: emit_cat,
    torch.clamp: emit_clamp,
    torch.div: binary("Div"),
    torch.flatten: shapes.flatten,
    torch.mean: emit_mean,
    torch.mul: binary("Mul"),
    torch.permute: emit_permute,
    torch.relu: unary("Relu"),
    torch.sigmoid: unary("Sigmoid"),
    torch.sub: binary("Sub"),
    torch.tanh: unary("Tanh"),
}
"""Function -> its emitter. Add a line here to teach the exporter another function."""

METHODS: dict[Any, Emitter] = {
    "add": binary("Add"),
    "clamp": emit_clamp,
    "contiguous": lambda e, x, *_, **__: e.value(x),
    "div": binary("Div"),
    "flatten": shapes.flatten,
    "mean": emit_mean,
    "mul": binary("Mul"),
    "permute": emit_permute,
    "relu": unary("Relu"),
    "reshape": emit_view,
    "sigmoid": unary("Sigmoid"),
    "softmax": softmax("Softmax"),
    "squeeze": emit_squeeze,
    "sub": binary("Sub"),
    "tanh": unary("Tanh"),
    "transpose": emit_transpose,
    "unsqueeze": emit_unsqueeze,
    "view": emit_view,
}
"""Name of a tensor method -> its emitter."""
