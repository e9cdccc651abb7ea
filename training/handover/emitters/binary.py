"""Emitters of our own folded modules: binary layers, RPReLU, pixels and the exact stem."""

from typing import Any

import numpy as np
import onnx_ir as ir
from torch import fx

from ....runtime.bits import DOMAIN, pack_conv_weight, pack_signs
from ....runtime.errors import UnsupportedError
from ...layers.binary import RPReLU
from ..emission import Emission, Emitter, array
from ..folded import (
    Binarize,
    ChannelAffine,
    FoldedBinaryConv2d,
    FoldedBinaryLinear,
    FoldedWeightConv2d,
    FoldedWeightLinear,
)
from ..pixels import IntegerStem, PixelInput

__all__ = ["BINARY_MODULES"]


def emit_binarize(e: Emission, module: Binarize, x: fx.Node) -> ir.Value:
    """Binarize with the threshold shaped for its input: ``[C,1,1]`` or ``[C]``."""
    return e("Binarize", [e.value(x), e.channels("threshold", module.threshold)], domain=DOMAIN)


def emit_binary_conv2d(e: Emission, module: FoldedBinaryConv2d, x: fx.Node) -> ir.Value:
    """BinaryConv2d with one bit a weight."""
    return _packed_conv2d(e, "BinaryConv2d", module, x, pad_value=float(module.pad_value))


def emit_binary_linear(e: Emission, module: FoldedBinaryLinear, x: fx.Node) -> ir.Value:
    """BinaryGemm with one bit a weight."""
    return _packed_linear(e, "BinaryGemm", module, x)


def _packed_conv2d(e: Emission, op_type: str, module: FoldedBinaryConv2d, x: fx.Node, **attributes: Any) -> ir.Value:
    signs = array(module.signs)
    constants = [
        e.constant("weight", pack_conv_weight(signs)),
        e.constant("scale", array(module.scale)),
        e.constant("bias", array(module.bias)),
    ]
    return e(
        op_type,
        [e.value(x), *constants],
        domain=DOMAIN,
        weight_shape=list(signs.shape),
        strides=list(module.strides),
        pads=list(module.pads),
        dilations=list(module.dilations),
        group=module.groups,
        **attributes,
    )


def _packed_linear(e: Emission, op_type: str, module: FoldedBinaryLinear, x: fx.Node) -> ir.Value:
    if e.rank(x) != 2:
        raise UnsupportedError(f"{e.name}: a binary linear layer takes [N, K]; flatten its input first")
    signs = array(module.signs)
    constants = [
        e.constant("weight", pack_signs(signs)),
        e.constant("scale", array(module.scale)),
        e.constant("bias", array(module.bias)),
    ]
    return e(op_type, [e.value(x), *constants], domain=DOMAIN, weight_shape=list(signs.shape))


def emit_rprelu(e: Emission, module: RPReLU, x: fx.Node) -> ir.Value:
    """Subtract, PReLU, add: in this order, which the runtime keeps."""
    y = e("Sub", [e.value(x), e.channels("shift_in", module.shift_in)], "sub")
    y = e("PRelu", [y, e.channels("slope", module.slope)], "prelu")
    return e("Add", [y, e.channels("shift_out", module.shift_out)])


def emit_channel_affine(e: Emission, module: ChannelAffine, x: fx.Node) -> ir.Value:
    """Multiply, then add, per channel."""
    y = e("Mul", [e.value(x), e.channels("scale", module.scale)], "mul")
    return e("Add", [y, e.channels("shift", module.shift)])


def emit_weight_conv2d(e: Emission, module: FoldedWeightConv2d, x: fx.Node) -> ir.Value:
    """BinaryWeightConv2d: the input is real."""
    return _packed_conv2d(e, "BinaryWeightConv2d", module, x)


def emit_weight_linear(e: Emission, module: FoldedWeightLinear, x: fx.Node) -> ir.Value:
    """BinaryWeightGemm: the input is real."""
    return _packed_linear(e, "BinaryWeightGemm", module, x)


def emit_pixel_input(e: Emission, module: PixelInput, x: fx.Node) -> ir.Value:
    """Channels first while the pixels are still bytes, then the arithmetic of the data set."""
    n, height, width, channels = e.shape_of(x)
    sizes = [n, channels, height, width]
    y = e("Transpose", [e.value(x)], "transpose", shape=sizes, dtype=np.uint8, perm=[0, 3, 1, 2])
    y = e("Cast", [y], "cast", shape=sizes, to=ir.DataType.FLOAT)
    y = e("Div", [y, e.value(module.range, "range")], "unit", shape=sizes)
    y = e("Sub", [y, e.constant("mean", array(module.mean))], "centre", shape=sizes)
    return e("Div", [y, e.constant("std", array(module.std))])


def emit_integer_stem(e: Emission, module: IntegerStem, x: fx.Node) -> ir.Value:
    """Convolution over integers, with Round as the barrier that keeps the scale out of the weights (see opset)."""
    n, height, width, channels = e.shape_of(x)
    sizes = [n, channels, height, width]
    y = e("Transpose", [e.value(x)], "transpose", shape=sizes, dtype=np.uint8, perm=[0, 3, 1, 2])
    y = e("Cast", [y], "cast", shape=sizes, to=ir.DataType.FLOAT)
    y = e("Sub", [y, e.constant("zero_point", array(module.zero_point))], "centre", shape=sizes)
    weight = e.constant("weight", array(module.weight))
    weight = e("Cast", [weight], "weight.cast", shape=list(module.weight.shape), to=ir.DataType.FLOAT)
    y = e(
        "Conv",
        [y, weight],
        "conv",
        kernel_shape=list(module.weight.shape[2:]),
        strides=list(module.stride),
        pads=[*module.padding, *module.padding],
        dilations=list(module.dilation),
        group=module.groups,
    )
    y = e("Mul", [e("Round", [y], "round"), e.channels("scale", module.scale)], "scaled")
    return e("Add", [y, e.channels("bias", module.bias)])


BINARY_MODULES: dict[Any, Emitter] = {
    Binarize: emit_binarize,
    ChannelAffine: emit_channel_affine,
    FoldedBinaryConv2d: emit_binary_conv2d,
    FoldedBinaryLinear: emit_binary_linear,
    FoldedWeightConv2d: emit_weight_conv2d,
    FoldedWeightLinear: emit_weight_linear,
    IntegerStem: emit_integer_stem,
    PixelInput: emit_pixel_input,
    RPReLU: emit_rprelu,
}
"""Module type -> its emitter, for the modules of this package."""
