"""The operators of domain ``ai.latentbit``, version 1: THE definition of each.

Each operator is an onnxscript function over standard ONNX ops (opset 18). It travels inside every exported file as a
model-local function, so stock onnxruntime and ``onnx.reference`` execute the very text below, and the popcount kernels
of :mod:`latentbit.runtime` are tested against it. Bits follow :mod:`latentbit.runtime.bits`.

Why the bodies look as they do:

* ``Round`` is a barrier. The accumulator is an integer; without the barrier onnxruntime folds ``scale`` into the float
  weights of the fallback and the last bits of the result change. It also repairs backends whose convolution returns
  4.9999 for 5 (a Cast would truncate that).
* Padding by p: ``Conv(X − p, W, zero pads) + p·ΣW`` equals the convolution of X padded with p, for p in {−1, 0, +1};
  it keeps a symbolic batch, and for p = 0 onnxruntime removes the subtraction.
* ``weight_shape`` states the logical shape, so that shapes are inferred with a symbolic batch although the last byte
  of a packed weight may be partly tail.
"""

from collections.abc import Sequence

import onnx
from onnx import helper
from onnxscript import FLOAT, UINT8, script, values
from onnxscript import opset18 as op

from ..runtime.bits import DOMAIN, OPSET_VERSION

__all__ = [
    "ONNX_OPSET",
    "OPERATORS",
    "Binarize",
    "BinaryConv2d",
    "BinaryGemm",
    "BinaryWeightConv2d",
    "BinaryWeightGemm",
    "functions",
]

ONNX_OPSET = 18
"""Version of the standard opset in which the bodies and our graphs are written."""

_opset = values.Opset(DOMAIN, OPSET_VERSION)
_SHIFTS = helper.make_tensor("shifts", onnx.TensorProto.UINT8, [8], list(range(8)))
_ONE = helper.make_tensor("one", onnx.TensorProto.UINT8, [1], [1])


@script(_opset, default_opset=op)
def Binarize(X: FLOAT, threshold: FLOAT) -> FLOAT:  # noqa: N802 - an operator's name
    """Y = +1 where X >= threshold, else −1 (NaN gives −1). threshold: [C,1,1] for NCHW, [C] for NC."""
    return op.Where(op.GreaterOrEqual(X, threshold), op.Constant(value_float=1.0), op.Constant(value_float=-1.0))


@script(_opset, default_opset=op)
def BinaryConv2d(  # noqa: N802 - an operator's name
    X: FLOAT,
    W: UINT8,
    scale: FLOAT,
    bias: FLOAT,
    weight_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int,
    pad_value: float,
) -> FLOAT:
    """Y = fl(fl(acc·scale) + bias), acc = the integer convolution of X in {−1,+1} (pad_value outside) with the signs W.

    X [N,C,H,W]; W uint8 [O,kh,kw,ceil((C/group)/8)], bit j of byte b is input channel 8b+j, 1 is +1 and 0 is −1;
    weight_shape = [O,C/group,kh,kw]; scale, bias [O]; strides, dilations [2]; pads = [top,left,bottom,right].
    """
    shifted = op.BitShift(op.Unsqueeze(W, op.Constant(value_ints=[-1])), op.Constant(value=_SHIFTS), direction="RIGHT")
    bits = op.BitwiseAnd(shifted, op.Constant(value=_ONE))
    oihw = op.Transpose(op.Reshape(bits, op.Constant(value_ints=[0, 0, 0, -1])), perm=[0, 3, 1, 2])
    start = op.Constant(value_ints=[0, 0, 0, 0])
    axes = op.Constant(value_ints=[0, 1, 2, 3])
    live = op.Cast(op.Slice(oihw, start, op.Constant(value_ints=weight_shape), axes), to=1)
    w = op.Sub(op.Add(live, live), op.Constant(value_float=1.0))
    p = op.Constant(value_float=pad_value)
    edge = op.Mul(op.ReduceSum(w, op.Constant(value_ints=[1, 2, 3]), keepdims=0), p)
    conv = op.Conv(op.Sub(X, p), w, edge, strides=strides, pads=pads, dilations=dilations, group=group)
    acc = op.Round(conv)
    spatial = op.Constant(value_ints=[1, 2])
    return op.Add(op.Mul(acc, op.Unsqueeze(scale, spatial)), op.Unsqueeze(bias, spatial))


@script(_opset, default_opset=op)
def BinaryGemm(X: FLOAT, W: UINT8, scale: FLOAT, bias: FLOAT, weight_shape: Sequence[int]) -> FLOAT:  # noqa: N802
    """Y = fl(fl(acc·scale) + bias), acc = X·Wᵀ over X [N,K] in {−1,+1} and the signs W [O,K].

    W uint8 [O,ceil(K/8)], bit j of byte b is input 8b+j; weight_shape = [O,K]; scale, bias [O].
    """
    shifted = op.BitShift(op.Unsqueeze(W, op.Constant(value_ints=[-1])), op.Constant(value=_SHIFTS), direction="RIGHT")
    bits = op.Reshape(op.BitwiseAnd(shifted, op.Constant(value=_ONE)), op.Constant(value_ints=[0, -1]))
    start = op.Constant(value_ints=[0, 0])
    axes = op.Constant(value_ints=[0, 1])
    live = op.Cast(op.Slice(bits, start, op.Constant(value_ints=weight_shape), axes), to=1)
    w = op.Sub(op.Add(live, live), op.Constant(value_float=1.0))
    acc = op.Round(op.MatMul(X, op.Transpose(w, perm=[1, 0])))
    return op.Add(op.Mul(acc, scale), bias)


@script(_opset, default_opset=op)
def BinaryWeightConv2d(  # noqa: N802 - an operator's name
    X: FLOAT,
    W: UINT8,
    scale: FLOAT,
    bias: FLOAT,
    weight_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int,
) -> FLOAT:
    """Y = Conv(X, signs W)·scale + bias for a real X [N,C,H,W], padded with zeros: one bit a weight, real activations.

    W, scale, bias and the attributes are as in BinaryConv2d. The sum is of floats: its last bits depend on its order.
    """
    shifted = op.BitShift(op.Unsqueeze(W, op.Constant(value_ints=[-1])), op.Constant(value=_SHIFTS), direction="RIGHT")
    bits = op.BitwiseAnd(shifted, op.Constant(value=_ONE))
    oihw = op.Transpose(op.Reshape(bits, op.Constant(value_ints=[0, 0, 0, -1])), perm=[0, 3, 1, 2])
    start = op.Constant(value_ints=[0, 0, 0, 0])
    axes = op.Constant(value_ints=[0, 1, 2, 3])
    live = op.Cast(op.Slice(oihw, start, op.Constant(value_ints=weight_shape), axes), to=1)
    w = op.Sub(op.Add(live, live), op.Constant(value_float=1.0))
    conv = op.Conv(X, w, strides=strides, pads=pads, dilations=dilations, group=group)
    spatial = op.Constant(value_ints=[1, 2])
    return op.Add(op.Mul(conv, op.Unsqueeze(scale, spatial)), op.Unsqueeze(bias, spatial))


@script(_opset, default_opset=op)
def BinaryWeightGemm(  # noqa: N802 - an operator's name
    X: FLOAT, W: UINT8, scale: FLOAT, bias: FLOAT, weight_shape: Sequence[int]
) -> FLOAT:
    """Y = (X·Wᵀ)·scale + bias for a real X [N,K] and the signs W [O,K]; the rest is as in BinaryGemm."""
    shifted = op.BitShift(op.Unsqueeze(W, op.Constant(value_ints=[-1])), op.Constant(value=_SHIFTS), direction="RIGHT")
    bits = op.Reshape(op.BitwiseAnd(shifted, op.Constant(value=_ONE)), op.Constant(value_ints=[0, -1]))
    start = op.Constant(value_ints=[0, 0])
    axes = op.Constant(value_ints=[0, 1])
    live = op.Cast(op.Slice(bits, start, op.Constant(value_ints=weight_shape), axes), to=1)
    w = op.Sub(op.Add(live, live), op.Constant(value_float=1.0))
    return op.Add(op.Mul(op.MatMul(X, op.Transpose(w, perm=[1, 0])), scale), bias)


OPERATORS = (Binarize, BinaryConv2d, BinaryGemm, BinaryWeightConv2d, BinaryWeightGemm)
"""Every operator; what is known of them without their bodies stands in ``runtime/operators.py``."""


def functions() -> list[onnx.FunctionProto]:
    """Return the operators as model-local functions, each with its docstring, ready to travel in a file."""
    protos = []
    for operator in OPERATORS:
        proto = operator.to_function_proto()
        proto.doc_string = operator.function.__doc__ or ""
        protos.append(proto)
    return protos
