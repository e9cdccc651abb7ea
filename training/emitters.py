"""Emitters of modules: how each layer of a folded network is written as ONNX. The list is :data:`MODULES`."""

import math
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import fx, nn

from ..export.builder import Shape
from ..runtime.bits import DOMAIN, pack_conv_weight, pack_signs
from ..runtime.errors import UnsupportedError
from .emission import Emission, Emitter, array
from .folded import Binarize, ChannelAffine, FoldedBinaryConv2d, FoldedBinaryLinear
from .layers import RPReLU

__all__ = ["MODULES", "average_pool", "elementwise", "global_mean", "max_pool", "resize"]


# --- binary layers -----------------------------------------------------------------------------------------------


def binarize(e: Emission, module: Binarize, x: fx.Node) -> ir.Value:
    """Binarize with the threshold shaped for its input: ``[C,1,1]`` or ``[C]``."""
    return e("Binarize", [e.value(x), e.channels("threshold", module.threshold)], domain=DOMAIN)


def binary_conv2d(e: Emission, module: FoldedBinaryConv2d, x: fx.Node) -> ir.Value:
    """BinaryConv2d with one bit a weight."""
    signs = array(module.signs)
    constants = [
        e.constant("weight", pack_conv_weight(signs)),
        e.constant("scale", array(module.scale)),
        e.constant("bias", array(module.bias)),
    ]
    return e(
        "BinaryConv2d",
        [e.value(x), *constants],
        domain=DOMAIN,
        weight_shape=list(signs.shape),
        strides=list(module.strides),
        pads=list(module.pads),
        dilations=list(module.dilations),
        group=module.groups,
        pad_value=float(module.pad_value),
    )


def binary_linear(e: Emission, module: FoldedBinaryLinear, x: fx.Node) -> ir.Value:
    """BinaryGemm with one bit a weight; inputs of rank 2 alone."""
    if e.rank(x) != 2:
        raise UnsupportedError(f"{e.name}: a binary linear layer takes [N, K]; flatten its input first")
    signs = array(module.signs)
    constants = [
        e.constant("weight", pack_signs(signs)),
        e.constant("scale", array(module.scale)),
        e.constant("bias", array(module.bias)),
    ]
    return e("BinaryGemm", [e.value(x), *constants], domain=DOMAIN, weight_shape=list(signs.shape))


def rprelu(e: Emission, module: RPReLU, x: fx.Node) -> ir.Value:
    """Subtract, PReLU, add: in this order, which the runtime keeps."""
    y = e("Sub", [e.value(x), e.channels("shift_in", module.shift_in)], "sub")
    y = e("PRelu", [y, e.channels("slope", module.slope)], "prelu")
    return e("Add", [y, e.channels("shift_out", module.shift_out)])


def channel_affine(e: Emission, module: ChannelAffine, x: fx.Node) -> ir.Value:
    """Multiply, then add, per channel."""
    y = e("Mul", [e.value(x), e.channels("scale", module.scale)], "mul")
    return e("Add", [y, e.channels("shift", module.shift)])


# --- real layers -------------------------------------------------------------------------------------------------


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def weight_of(e: Emission, module: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> ir.Value:
    """The layer's weight constant."""
    return e.constant("weight", array(module.weight.float()))


def conv2d(e: Emission, module: nn.Conv2d, x: fx.Node) -> ir.Value:
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


def conv_transpose2d(e: Emission, module: nn.ConvTranspose2d, x: fx.Node) -> ir.Value:
    """ConvTranspose."""
    padding = _pair(module.padding)
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
        output_padding=list(_pair(module.output_padding)),
    )


def linear(e: Emission, module: nn.Linear, x: fx.Node) -> ir.Value:
    """Gemm for ``[N, K]``, MatMul and Add for more axes."""
    bias = [] if module.bias is None else [e.constant("bias", array(module.bias.float()))]
    if e.rank(x) == 2:
        return e("Gemm", [e.value(x), weight_of(e, module), *bias], transB=1)
    weight = e.constant("weight", array(module.weight.float().T))
    product = e("MatMul", [e.value(x), weight], "matmul" if bias else "")
    return e("Add", [product, *bias]) if bias else product


# --- activations -------------------------------------------------------------------------------------------------


def elementwise(e: Emission, op_type: str, x: fx.Node, **attributes: Any) -> ir.Value:
    """One ONNX node of one input and its shape."""
    return e(op_type, [e.value(x)], **attributes)


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


def prelu(e: Emission, module: nn.PReLU, x: fx.Node) -> ir.Value:
    """PRelu; one slope for all, or one a channel."""
    slope = array(module.weight.float())
    constant = e.constant("slope", slope) if slope.size == 1 else e.channels("slope", module.weight)
    return e("PRelu", [e.value(x), constant])


# --- pools and shapes --------------------------------------------------------------------------------------------


def _window(kernel_size: Any, stride: Any, padding: Any) -> dict[str, list[int]]:
    kernel, pad = _pair(kernel_size), _pair(padding)
    return {
        "kernel_shape": list(kernel),
        "strides": list(_pair(stride) if stride is not None and stride != [] else kernel),
        "pads": [*pad, *pad],
    }


def max_pool(
    e: Emission, x: fx.Node, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> ir.Value:
    """MaxPool."""
    window = _window(kernel_size, stride, padding)
    return elementwise(e, "MaxPool", x, **window, dilations=list(_pair(dilation)), ceil_mode=int(ceil))


def average_pool(
    e: Emission, x: fx.Node, kernel_size: Any, stride: Any, padding: Any, ceil: bool, count_include_pad: bool
) -> ir.Value:
    """AveragePool."""
    window = _window(kernel_size, stride, padding)
    return elementwise(e, "AveragePool", x, **window, ceil_mode=int(ceil), count_include_pad=int(count_include_pad))


def global_mean(
    e: Emission, x: fx.Node, axes: list[int], keepdims: bool, suffix: str = "", shape: Shape | None = None
) -> ir.Value:
    """ReduceMean over ``axes``; GlobalAveragePool where these are the two image axes."""
    rank = e.rank(x)
    axes = sorted(axis % rank for axis in axes)
    if rank == 4 and axes == [2, 3] and keepdims:
        return e("GlobalAveragePool", [e.value(x)], suffix, shape=shape)
    constant = e.constant("axes", np.array(axes, np.int64))
    return e("ReduceMean", [e.value(x), constant], suffix, shape=shape, keepdims=int(keepdims))


def adaptive_pool(e: Emission, x: fx.Node, output_size: Any, op_type: str) -> ir.Value:
    """A global pool for output size 1, a plain pool where the input divides evenly; else refused."""
    if output_size in (1, (1, 1), [1, 1]):
        return elementwise(e, f"Global{op_type}Pool", x)
    size = e.shape_of(x)[2:]
    target = [have if want is None else want for want, have in zip(_maybe_pair(output_size), size, strict=True)]
    if not all(isinstance(a, int) and isinstance(b, int) and a % b == 0 for a, b in zip(size, target, strict=True)):
        raise UnsupportedError(f"{e.name}: adaptive pooling of {size} to {output_size} is no pool of one fixed window")
    kernel = [a // b for a, b in zip(size, target, strict=True)]  # type: ignore[operator] # ints, checked above
    if op_type == "Max":
        return max_pool(e, x, kernel, kernel, 0, 1, False)
    return average_pool(e, x, kernel, kernel, 0, False, True)


def _maybe_pair(value: Any) -> tuple[int | None, int | None]:
    return (value, value) if isinstance(value, int) or value is None else (value[0], value[1])


def flatten(e: Emission, x: fx.Node, start_dim: int = 0, end_dim: int = -1) -> ir.Value:
    """Flatten behind the batch; a Reshape for other axes."""
    rank = e.rank(x)
    start, end = start_dim % rank, end_dim % rank
    if start == 1 and end == rank - 1:
        return elementwise(e, "Flatten", x, axis=1)
    return reshape(e, x, [0] * start + [-1] + [int(size) for size in e.shape[start + 1 :] if isinstance(size, int)])


def reshape(e: Emission, x: fx.Node, target: list[int]) -> ir.Value:
    """Reshape to ``target`` in ONNX's form (0 keeps a size, −1 is inferred)."""
    return e("Reshape", [e.value(x), e.constant("shape", np.array(target, np.int64))])


def pixel_shuffle(e: Emission, x: fx.Node, factor: int) -> ir.Value:
    """DepthToSpace in torch's channel order."""
    return elementwise(e, "DepthToSpace", x, blocksize=factor, mode="CRD")


def resize(e: Emission, x: fx.Node, mode: str, align_corners: bool | None) -> ir.Value:
    """Resize by the ratio of the shapes, with torch's rule of coordinates."""
    modes = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}
    if mode not in modes:
        raise UnsupportedError(f"{e.name}: upsampling mode {mode!r} cannot be exported, use one of {sorted(modes)}")
    have, want = e.shape_of(x), list(e.shape)
    if not all(isinstance(size, int) for size in [*have[2:], *want[2:]]):
        raise UnsupportedError(f"{e.name}: upsampling needs a fixed image size, export without dynamic_spatial")
    scales = [1.0, 1.0, *(b / a for a, b in zip(have[2:], want[2:], strict=True))]  # type: ignore[operator]
    rule = "asymmetric" if mode == "nearest" else "align_corners" if align_corners else "half_pixel"
    return e(
        "Resize",
        [e.value(x), None, e.constant("scales", np.array(scales, np.float32))],
        mode=modes[mode],
        coordinate_transformation_mode=rule,
        nearest_mode="floor",
        cubic_coeff_a=-0.75,
    )


def zero_pad(e: Emission, module: nn.ZeroPad2d, x: fx.Node) -> ir.Value:
    """Pad with zeros around the image."""
    left, right, top, bottom = module.padding
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return e("Pad", [e.value(x), e.constant("pads", pads)], mode="constant")


def _same(e: Emission, module: nn.Module, x: fx.Node) -> ir.Value:
    return e.value(x)


MODULES: dict[Any, Emitter] = {
    Binarize: binarize,
    ChannelAffine: channel_affine,
    FoldedBinaryConv2d: binary_conv2d,
    FoldedBinaryLinear: binary_linear,
    RPReLU: rprelu,
    nn.AdaptiveAvgPool2d: lambda e, m, x: adaptive_pool(e, x, m.output_size, "Average"),
    nn.AdaptiveMaxPool2d: lambda e, m, x: adaptive_pool(e, x, m.output_size, "Max"),
    nn.AvgPool2d: lambda e, m, x: average_pool(
        e, x, m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad
    ),
    nn.Conv2d: conv2d,
    nn.ConvTranspose2d: conv_transpose2d,
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
    nn.Linear: linear,
    nn.LogSoftmax: lambda e, m, x: elementwise(e, "LogSoftmax", x, axis=m.dim),
    nn.MaxPool2d: lambda e, m, x: max_pool(e, x, m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode),
    nn.PReLU: prelu,
    nn.PixelShuffle: lambda e, m, x: pixel_shuffle(e, x, m.upscale_factor),
    nn.ReLU: lambda e, m, x: elementwise(e, "Relu", x),
    nn.ReLU6: lambda e, m, x: clip(e, x, 0.0, 6.0),
    nn.SiLU: lambda e, m, x: silu(e, x),
    nn.Sigmoid: lambda e, m, x: elementwise(e, "Sigmoid", x),
    nn.Softmax: lambda e, m, x: elementwise(e, "Softmax", x, axis=m.dim),
    nn.Tanh: lambda e, m, x: elementwise(e, "Tanh", x),
    nn.Upsample: lambda e, m, x: resize(e, x, m.mode, m.align_corners),
    nn.ZeroPad2d: zero_pad,
    torch.nn.UpsamplingNearest2d: lambda e, m, x: resize(e, x, "nearest", None),
}
"""Module type -> its emitter. Add a line here to teach the exporter another layer."""
