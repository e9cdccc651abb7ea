"""Emitters of layers: how each module of a folded network is written as ONNX. The list is :data:`MODULES`."""

import math
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import Tensor, fx, nn

from ....runtime.errors import UnsupportedError
from ...layers.arguments import pair
from ..emission import Emission, Emitter, array, elementwise
from .binary import BINARY_MODULES
from .shape import adaptive_pool, average_pool, flatten, max_pool, pixel_shuffle, resize

__all__ = ["MODULES", "clip", "gelu", "silu"]


def weight_of(e: Emission, module: nn.Module, transpose: bool = False) -> ir.Value:
    """The layer's weight: a float constant, or int8 times one scale an output channel (:mod:`.int8_weights`)."""
    quantised = getattr(module, "weight_int8", None)
    stored = module.weight if quantised is None else quantised
    assert isinstance(stored, Tensor)
    weight = array(stored)
    if transpose:
        weight = np.ascontiguousarray(weight.T)
    if quantised is None:
        return e.constant("weight", weight)
    scale = module.weight_scale
    assert isinstance(scale, Tensor)
    column = array(scale).reshape([-1 if axis == int(transpose) else 1 for axis in range(weight.ndim)])
    sizes = list(weight.shape)
    real = e("Cast", [e.constant("weight", weight)], "weight.cast", shape=sizes, to=ir.DataType.FLOAT)
    return e("Mul", [real, e.constant("weight_scale", column)], "weight.scaled", shape=sizes)


def emit_conv2d(e: Emission, module: nn.Conv2d, x: fx.Node) -> ir.Value:
    """Conv; zero padding alone."""
    if module.padding_mode != "zeros":
        raise UnsupportedError(f"{e.name}: padding_mode={module.padding_mode!r} cannot be exported, use 'zeros'")
    if isinstance(module.padding, str):
        spans = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        total = [0, 0] if module.padding == "valid" else spans
        pads = [total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2]
    else:
        pads = [*module.padding, *module.padding]
    inputs = [e.value(x), weight_of(e, module)]
    if module.bias is not None:
        inputs.append(e.constant("bias", array(module.bias.float())))
    return e(
        "Conv",
        inputs,
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        pads=pads,
        dilations=list(module.dilation),
        group=module.groups,
    )


def emit_conv_transpose2d(e: Emission, module: nn.ConvTranspose2d, x: fx.Node) -> ir.Value:
    """ConvTranspose."""
    padding = pair(module.padding)
    inputs = [e.value(x), weight_of(e, module)]
    if module.bias is not None:
        inputs.append(e.constant("bias", array(module.bias.float())))
    return e(
        "ConvTranspose",
        inputs,
        kernel_shape=list(module.kernel_size),
        strides=list(module.stride),
        pads=[*padding, *padding],
        dilations=list(module.dilation),
        group=module.groups,
        output_padding=list(pair(module.output_padding)),
    )


def emit_linear(e: Emission, module: nn.Linear, x: fx.Node) -> ir.Value:
    """Gemm for ``[N, K]``, MatMul and Add for more axes."""
    bias = [] if module.bias is None else [e.constant("bias", array(module.bias.float()))]
    if e.rank(x) == 2:
        return e("Gemm", [e.value(x), weight_of(e, module), *bias], transB=1)
    product = e("MatMul", [e.value(x), weight_of(e, module, transpose=True)], "matmul" if bias else "")
    return e("Add", [product, *bias]) if bias else product


def clip(e: Emission, x: fx.Node, low: float, high: float) -> ir.Value:
    """Clip to ``[low, high]``."""
    return e("Clip", [e.value(x), e.value(low, "min"), e.value(high, "max")])


def gelu(e: Emission, x: fx.Node, approximate: str = "none") -> ir.Value:
    """GELU, ``x·(1 + erf(x/√2))/2`` or its tanh form (arXiv 1606.08415); opset 18 has no operator for it."""
    value = e.value(x)
    if approximate == "none":
        inner = e("Erf", [e("Div", [value, e.value(math.sqrt(2.0), "sqrt2")], "div")], "erf")
    else:
        cube = e("Mul", [e("Mul", [value, value], "square"), value], "cube")
        total = e("Add", [value, e("Mul", [cube, e.value(0.044715, "a")], "scaled")], "sum")
        inner = e("Tanh", [e("Mul", [total, e.value(math.sqrt(2.0 / math.pi), "b")], "inner")], "tanh")
    half = e("Mul", [value, e.value(0.5, "half")], "halved")
    return e("Mul", [half, e("Add", [inner, e.value(1.0, "one")], "shifted")])


def silu(e: Emission, x: fx.Node) -> ir.Value:
    """``x·sigmoid(x)``."""
    value = e.value(x)
    return e("Mul", [value, e("Sigmoid", [value], "sigmoid")])


def emit_prelu(e: Emission, module: nn.PReLU, x: fx.Node) -> ir.Value:
    """PRelu; one slope for all, or one a channel."""
    slope = array(module.weight.float())
    constant = e.constant("slope", slope) if slope.size == 1 else e.channels("slope", module.weight)
    return e("PRelu", [e.value(x), constant])


def emit_zero_pad(e: Emission, module: nn.ZeroPad2d, x: fx.Node) -> ir.Value:
    """Pad with zeros around the image."""
    left, right, top, bottom = module.padding
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return e("Pad", [e.value(x), e.constant("pads", pads)], mode="constant")


def _same(e: Emission, module: nn.Module, x: fx.Node) -> ir.Value:
    return e.value(x)


MODULES: dict[Any, Emitter] = {
    **BINARY_MODULES,
    nn.AdaptiveAvgPool2d: lambda e, m, x: adaptive_pool(e, x, m.output_size, "Average"),
    nn.AdaptiveMaxPool2d: lambda e, m, x: adaptive_pool(e, x, m.output_size, "Max"),
    nn.AvgPool2d: lambda e, m, x: average_pool(
        e, x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad
    ),
    nn.Conv2d: emit_conv2d,
    nn.ConvTranspose2d: emit_conv_transpose2d,
    nn.Dropout: _same,
    nn.Dropout2d: _same,
    nn.ELU: lambda e, m, x: elementwise(e, "Elu", x, alpha=m.alpha),
    nn.Flatten: lambda e, m, x: flatten(e, x, m.start_dim, m.end_dim),
    nn.GELU: lambda e, m, x: gelu(e, x, m.approximate),
    nn.Hardsigmoid: lambda e, m, x: elementwise(e, "HardSigmoid", x, alpha=1 / 6, beta=0.5),
    nn.Hardswish: lambda e, m, x: elementwise(e, "HardSwish", x),
    nn.Hardtanh: lambda e, m, x: clip(e, x, m.min_val, m.max_val),
    nn.Identity: _same,
    nn.LeakyReLU: lambda e, m, x: elementwise(e, "LeakyRelu", x, alpha=m.negative_slope),
    nn.Linear: emit_linear,
    nn.LogSoftmax: lambda e, m, x: elementwise(e, "LogSoftmax", x, axis=m.dim),
    nn.MaxPool2d: lambda e, m, x: max_pool(e, x, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode),
    nn.PReLU: emit_prelu,
    nn.PixelShuffle: lambda e, m, x: pixel_shuffle(e, x, m.upscale_factor),
    nn.ReLU: lambda e, m, x: elementwise(e, "Relu", x),
    nn.ReLU6: lambda e, m, x: clip(e, x, 0.0, 6.0),
    nn.SiLU: lambda e, m, x: silu(e, x),
    nn.Sigmoid: lambda e, m, x: elementwise(e, "Sigmoid", x),
    nn.Softmax: lambda e, m, x: elementwise(e, "Softmax", x, axis=m.dim),
    nn.Tanh: lambda e, m, x: elementwise(e, "Tanh", x),
    nn.Upsample: lambda e, m, x: resize(e, x, m.mode, m.align_corners),
    nn.ZeroPad2d: emit_zero_pad,
    nn.UpsamplingNearest2d: lambda e, m, x: resize(e, x, "nearest", None),
}
"""Module type -> its emitter. Add a line here to teach the exporter another layer."""
