"""The quantisers of QONNX in standard ONNX, in the order of qonnx's executor, bit for bit."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx_ir as ir
from numpy.typing import DTypeLike

from .writing import Lowering, NodeWriter

__all__ = ["QUANTISERS"]

_ROUNDING = {"ROUND": "Round", "HALF_EVEN": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}
"""Rounding modes that are one operator; the others act on the magnitude (:func:`_rounded`)."""

_MAGNITUDE = {"UP": ("Ceil", 0.0), "DOWN": ("Floor", 0.0), "HALF_UP": ("Floor", 0.5), "HALF_DOWN": ("Ceil", -0.5)}
"""Rounding mode -> ``sign(x) · OPERATOR(|x| + shift)``."""


def _bipolar(write: NodeWriter) -> ir.Value:
    x, scale = write.input(0), write.input(1)
    if scale.dtype not in (None, ir.DataType.FLOAT):
        scale = write.cast(scale, np.float32)  # ±1 times a number: rounded before or after is the same
    return write("Mul", _signs(write, x, np.float32), scale)


def _integer(write: NodeWriter) -> ir.Value:
    (x, scale, zero), dtype = _operands(write)
    bits, signed, narrow = write.number(3, "bit width"), write.flag("signed", 1), write.flag("narrow", 1)
    y = write("Add", write("Div", x, scale), zero)
    if bits == 1 and signed:  # the executor of qonnx reads one signed bit as a bipolar quantiser
        y = _signs(write, y, dtype)
    else:
        y = _rounded(write, _clipped(write, y, bits, signed, narrow, dtype), "ROUND", dtype)
    return _float32(write, write("Mul", write("Sub", y, zero), scale), dtype)


def _trunc(write: NodeWriter) -> ir.Value:
    """Cut bits off. Version 1 names the bits before and after; version 2 the scale before and after as well."""
    (x, scale, zero), dtype = _operands(write)
    before = write.number(3, "bit width")
    y = write("Round", write("Add", write("Div", x, scale), zero))
    if len(write.node.inputs) < 6:
        factor = write.constant("factor", 2.0 ** (before - write.number(4, "bit width")), dtype)
        y = _rounded(write, write("Div", y, factor), "FLOOR", dtype)
        return _float32(write, write("Mul", write("Sub", y, zero), scale), dtype)
    scales = [write.constants.get(write.input(index)) for index in (1, 4)]
    if scales[0] is None or scales[1] is None:
        raise write.error("a Trunc whose scales are not constant is not supported")
    after, bits = write.cast(write.input(4), dtype), write.number(5, "bit width")
    power = write.constant("factor", 2.0 ** np.round(np.log2(scales[1] / scales[0])), dtype)
    y = _clipped(write, write("Div", y, power), bits, write.flag("signed", 1), write.flag("narrow", 0), dtype)
    y = _rounded(write, y, "FLOOR", dtype)
    return _float32(write, write("Mul", write("Sub", y, write("Div", zero, power)), after), dtype)


def _minifloat(write: NodeWriter) -> ir.Value:
    """Round to a float of few bits: to multiples of 2^(e − mantissa bits) from 2^e on, in the smallest binade below."""
    (x, scale), dtype = _operands(write, 2)
    exponent, mantissa, bias = (
        write.number(i, f"{name} width") for i, name in ((2, "exponent"), (3, "mantissa"), (4, "bias"))
    )
    least, most = 1 - bias, 2**exponent - 1 - bias
    if exponent != round(exponent) or most - least > _BINADES or abs(most) + mantissa > _BINADES:
        raise write.error(f"a FloatQuant of {exponent:g} exponent bits and bias {bias:g} is not supported")
    largest = (2 - 2.0**-mantissa) * 2.0**most
    if len(write.node.inputs) > 5 and write.node.inputs[5] is not None:
        largest = min(largest, write.number(5, "largest value"))
    x = write("Div", x, scale)
    binades = np.arange(least, most + 1)
    last = write.constant("axis", np.array([-1]), np.int64)
    reached = write(
        "GreaterOrEqual", write("Unsqueeze", write("Abs", x), last), write.constant("binades", 2.0**binades, dtype)
    )
    steps = write.constant("steps", 2.0 ** (binades - mantissa), dtype)
    step = write("Where", reached, steps, write.constant("least", 2.0 ** (least - mantissa), dtype))
    step = write("ReduceMax", step, last, keepdims=0)
    rounded = write("Mul", step, _rounded(write, write("Div", x, step), "ROUND", dtype))
    limits = [write.constant(name, number, dtype) for name, number in (("min", -largest), ("max", largest))]
    y = write("Clip", rounded, *limits)
    if not write.flag("saturation", 1):
        beyond = np.inf if write.flag("has_inf", 0) else np.nan
        if np.isnan(beyond) and not write.flag("has_nan", 0):
            raise write.error("it does not saturate, and has neither infinity nor NaN for what is too large")
        y = write("Where", write("Less", rounded, limits[0]), write.constant("below", -beyond, dtype), y)
        y = write("Where", write("Greater", rounded, limits[1]), write.constant("above", beyond, dtype), y)
    return _float32(write, write("Mul", y, scale), dtype)


_BINADES = 64
"""Powers of two that a FloatQuant may reach, up and down: with them everything is exact in float32."""

QUANTISERS: Mapping[str, Lowering] = MappingProxyType(
    {"BipolarQuant": _bipolar, "FloatQuant": _minifloat, "IntQuant": _integer, "Quant": _integer, "Trunc": _trunc}
)
"""Operator -> what writes it."""


def _operands(write: NodeWriter, count: int = 3) -> tuple[tuple[ir.Value, ...], DTypeLike]:
    """Return value, scale and zero point (or the first ``count`` of them) in one element type, and the type.

    qonnx computes in float64 where one of them is float64 or a wide integer, and rounds the result to float32. float32
    gives the same where the scale is a power of two and the zero point 0, for then nothing is rounded on the way.
    """
    values = [write.input(index) for index in range(count)]
    others = [np.dtype(np.float32) if value.dtype is None else value.dtype.numpy() for value in values]
    dtype: DTypeLike = np.result_type(np.float32, *others)
    scale, *zero = (write.constants.get(value) for value in values[1:])
    if scale is not None and all(array is not None and not np.any(array) for array in zero):
        magnitudes, exponents = np.frexp(np.asarray(scale, np.float64))
        if np.all(magnitudes == 0.5) and np.all(np.abs(exponents) < 64):
            dtype = np.float32
    cast = (value if other == dtype else write.cast(value, dtype) for value, other in zip(values, others, strict=True))
    return tuple(cast), dtype


def _float32(write: NodeWriter, value: ir.Value, dtype: DTypeLike) -> ir.Value:
    return value if dtype == np.float32 else write.cast(value, np.float32)


def _signs(write: NodeWriter, x: ir.Value, dtype: DTypeLike) -> ir.Value:
    positive = write("GreaterOrEqual", x, write.constant("zero", 0.0, dtype))
    return write("Where", positive, write.constant("plus", 1.0, dtype), write.constant("minus", -1.0, dtype))


def _clipped(write: NodeWriter, y: ir.Value, bits: float, signed: bool, narrow: bool, dtype: DTypeLike) -> ir.Value:
    least = (-(2 ** (bits - 1)) + narrow) if signed else 0.0
    most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
    return write("Clip", y, write.constant("min", least, dtype), write.constant("max", most, dtype))


def _rounded(write: NodeWriter, y: ir.Value, default: str, dtype: DTypeLike) -> ir.Value:
    """Round by the mode that the node names."""
    mode = (write.node.attributes.get_string("rounding_mode", default) or default).upper()
    if mode in _ROUNDING:
        return write(_ROUNDING[mode], y)
    if mode not in _MAGNITUDE:
        known = ", ".join(sorted({*_ROUNDING, *_MAGNITUDE}))
        raise write.error(f"rounding mode {mode} of {write.node.op_type} is not supported; known are {known}")
    operator, shift = _MAGNITUDE[mode]
    magnitude = write("Abs", y)
    if shift:
        magnitude = write("Add", magnitude, write.constant("half", shift, dtype))
    return write("Mul", write("Sign", y), write(operator, magnitude))
