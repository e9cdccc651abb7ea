"""Elementwise operators carried out with numpy, float32 step by float32 step, and which of them keep order.

A *monotone* operator keeps or turns round the order of the one value that it reads beside constants; rounding does not
change that. A *discrete* one gives few values: comparisons, Sign, Round, casts to whole numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.operators import STANDARD_DOMAINS

__all__ = ["ELEMENTWISE", "apply", "is_discrete", "is_elementwise", "keeps_order"]

Operands = Sequence[NDArray[Any] | None]

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Ceil": np.ceil,
    "Div": np.divide,
    "Equal": np.equal,
    "Floor": np.floor,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Identity": np.asarray,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "Or": np.logical_or,
    "Relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "Round": np.rint,
    "Sign": np.sign,
    "Sub": np.subtract,
    "Where": np.where,
    "Xor": np.logical_xor,
}
ELEMENTWISE = frozenset(
    {
        *("Abs", "Add", "Cast", "Ceil", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater"),
        *("GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max"),
        *("Min", "Mish", "Mul", "Neg", "Not", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign"),
        *("Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "Where"),
    }
)
"""Each entry of the result depends on the entries at its place alone; smaller operands are broadcast."""

_COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_SPECIAL = ("BatchNormalization", "Cast", "Clip")
_ALWAYS_MONOTONE = frozenset(
    {*_COMPARISONS, "Add", "Ceil", "Clip", "Floor", "Identity", "Max", "Min", "Neg", "Relu", "Round", "Sign", "Sub"}
)


def is_elementwise(node: ir.Node) -> bool:
    """Tell whether :func:`apply` carries out this operator."""
    if node.domain not in STANDARD_DOMAINS or any(output.uses() for output in node.outputs[1:]):
        return False
    if node.op_type == "BatchNormalization":
        return not node.attributes.get_int("training_mode", 0)
    return node.op_type in _FUNCTIONS or node.op_type in _SPECIAL


def is_discrete(node: ir.Node) -> bool:
    """Tell whether an operator gives whole numbers or truth values."""
    if node.op_type == "Cast":
        return not ir.DataType(node.attributes.get_int("to")).is_floating_point()
    return node.op_type in (*_COMPARISONS, "Ceil", "Floor", "Round", "Sign")


def keeps_order(node: ir.Node, index: int, operands: Operands) -> bool:
    """Tell whether the result rises or falls with input ``index`` for these constants in the other places.

    Constants that are no numbers, or not finite where they are calculated with, keep no order.
    """
    others = [array for array in operands if array is not None]
    if any(np.issubdtype(array.dtype, np.floating) and np.any(np.isnan(array)) for array in others):
        return False
    finite = all(np.all(np.isfinite(array)) for array in others)
    if node.op_type == "Div":
        return index == 0 and finite and all(bool(np.all(array)) for array in others)
    if node.op_type in ("Add", "Mul", "Sub"):
        return finite
    if node.op_type == "BatchNormalization":
        return index == 0 and finite and bool(np.all(others[3] + _epsilon(node) > 0))
    if node.op_type == "Cast":
        return ir.DataType(node.attributes.get_int("to")) in (ir.DataType.FLOAT, ir.DataType.DOUBLE)
    return node.op_type in _ALWAYS_MONOTONE and (node.op_type != "Clip" or index == 0)


def apply(node: ir.Node, operands: Operands) -> NDArray[Any]:
    """Carry out an operator; an input that is left out is None. TypeError or ValueError where numpy cannot."""
    if node.op_type == "Cast":
        return np.asarray(operands[0]).astype(ir.DataType(node.attributes.get_int("to")).numpy())
    if node.op_type == "Clip":  # a limit that is left out is None; before opset 11 they are attributes
        limits = [operands[i] if i < len(operands) else None for i in (1, 2)]
        result = np.asarray(operands[0])
        result = result if limits[0] is None else np.maximum(result, limits[0])
        return np.asarray(result if limits[1] is None else np.minimum(result, limits[1]))
    if node.op_type == "BatchNormalization":  # in the order of onnxruntime: one multiply and one add
        x, gamma, beta, mean, variance = (np.asarray(operand) for operand in operands[:5])
        scale = np.float32(1) / np.sqrt(variance + _epsilon(node)) * gamma
        return np.asarray(x * scale + (beta - mean * scale))
    function = _FUNCTIONS[node.op_type]
    if node.op_type in ("Max", "Min"):
        result = np.asarray(operands[0])
        for operand in operands[1:]:
            result = function(result, operand)
        return np.asarray(result)
    if node.op_type == "Div" and not np.issubdtype(np.asarray(operands[0]).dtype, np.floating):
        raise TypeError("integers divide otherwise in numpy")
    return np.asarray(function(*operands))


def _epsilon(node: ir.Node) -> np.float32:
    return np.float32(node.attributes.get_float("epsilon", 1e-5) or 0.0)
