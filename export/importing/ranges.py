"""Between which numbers a value lies, and where it takes one number often: what a sign of it can be.

``Sign(Relu(x))`` is 0 or 1 and never −1; ``Sign(Round(x))`` is 0 for every x between −½ and ½. A tie is something else:
a real value that happens to be 0.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.operators import SIGN_KEEPING, STANDARD_DOMAINS
from ..graph.constants import Constants

__all__ = ["Range", "Ranges"]

Range = tuple[float, float]
"""Smallest and largest number that a value can be, NaN aside."""

_ALL: Range = (-math.inf, math.inf)
_FIXED: dict[str, Range] = {
    **dict.fromkeys(("Exp", "Sqrt", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Softplus"), (0.0, math.inf)),
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), (0.0, 1.0)),
    **dict.fromkeys(("Sign", "Tanh", "Erf", "Sin", "Cos", "Softsign"), (-1.0, 1.0)),
}
_SAME = (SIGN_KEEPING - {"Resize"}) | {
    "GlobalAveragePool",
    "Expand",
    "Tile",
    "ReduceMax",
    "ReduceMin",
    "ReduceMean",
    "Split",
}
"""Operators whose values lie between those of their first input (Concat: of all)."""

_MONOTONE: dict[str, Callable[[float], float]] = {
    "Ceil": lambda x: math.ceil(x) if math.isfinite(x) else x,
    "Floor": lambda x: math.floor(x) if math.isfinite(x) else x,
    "Relu": lambda x: max(x, 0.0),
    "Round": lambda x: round(x) if math.isfinite(x) else x,
}
_STEPS = frozenset({"Round", "Floor", "Ceil", "DequantizeLinear"})
"""Operators that give a whole range of their inputs one number."""


class Ranges:
    """Ranges of the values of one graph; each value is read once."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self._known: dict[ir.Value, Range] = {}
        self._depth = 0

    def get(self, value: ir.Value | None) -> Range:
        """Return the range of a value, infinite where nothing is known of it."""
        if value is None:
            return _ALL
        if value not in self._known and self._depth < _DEEPEST:
            self._depth += 1
            self._known[value] = self._read(value)
            self._depth -= 1
        return self._known.get(value, _ALL)

    def often(self, value: ir.Value | None, number: float) -> str:
        """Return the operator that makes ``number`` a common value, "" where it is one real number among others."""
        moved = False  # by a constant on the way: then only a whole range of numbers still counts, of whatever number
        for _ in range(_DEEPEST):
            node = None if value is None else value.producer()
            if node is None or node.domain not in STANDARD_DOMAINS:
                return ""
            constants = [self._constants.get(entry) for entry in node.inputs]
            if node.op_type in _STEPS or (node.op_type == "Cast" and _is_whole(node)):
                return node.op_type
            if not moved and _holds(node, constants, number):
                return node.op_type
            value = _carrier(node, constants)
            moved |= node.op_type in ("Add", "Sub") and any(array is not None and np.any(array) for array in constants)
        return ""

    def _read(self, value: ir.Value) -> Range:
        array = self._constants.get(value)
        if array is not None:
            return _extremes(array)
        node = value.producer()
        if node is None or node.domain not in STANDARD_DOMAINS:
            return _ALL
        kind = node.op_type
        if kind in _FIXED:
            return _FIXED[kind]
        ranges = [self.get(entry) for entry in node.inputs]
        if kind == "Concat":
            return _union(ranges)
        if kind in _SAME or (kind == "Cast" and not _is_whole(node)):
            return ranges[0]
        if kind in _MONOTONE:
            low, high = ranges[0]
            return _MONOTONE[kind](low), _MONOTONE[kind](high)
        if kind in ("AveragePool", "Pad"):  # zeros beside the image count, or whatever a Pad writes there
            return _union([ranges[0], (0.0, 0.0), *([self.get(node.inputs[2])] if len(node.inputs) > 2 else [])])
        return self._arithmetic(node, ranges)

    def _arithmetic(self, node: ir.Node, ranges: list[Range]) -> Range:
        low, high = ranges[0]
        if node.op_type == "Neg":
            return -high, -low
        if node.op_type == "Abs":
            return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
        if node.op_type == "Clip":
            least = ranges[1][0] if len(ranges) > 1 and node.inputs[1] is not None else -math.inf
            most = ranges[2][1] if len(ranges) > 2 and node.inputs[2] is not None else math.inf
            return min(max(low, least), most), max(min(high, most), least)
        if node.op_type in ("Max", "Min"):
            pick = max if node.op_type == "Max" else min
            return pick(one for one, _ in ranges), pick(one for _, one in ranges)
        if node.op_type == "Where":
            return _union(ranges[1:])
        if len(ranges) != 2:
            return _ALL
        (a, b), (c, d) = ranges
        if node.op_type == "Add":
            return a + c, b + d
        if node.op_type == "Sub":
            return a - d, b - c
        if node.op_type == "Mul" and min(a, c) >= 0:
            return 0.0, math.inf
        if node.op_type == "Mul" and (max(b, d) <= 0 or node.inputs[0] is node.inputs[1]):
            return 0.0, math.inf
        if node.op_type == "Mul" and (a >= 0 >= d or c >= 0 >= b):
            return -math.inf, 0.0
        if node.op_type == "Div" and a >= 0:
            return (0.0, math.inf) if c > 0 else (-math.inf, 0.0) if d < 0 else _ALL
        return _ALL


_DEEPEST = 100
"""So many operators, one behind the other, are followed at most."""


def _is_whole(node: ir.Node) -> bool:
    return ir.DataType(node.attributes.get_int("to") or 0).is_integer()


def _extremes(array: NDArray[Any]) -> Range:
    if array.size == 0 or array.dtype.kind not in "biuf" or np.isnan(array.astype(np.float64)).any():
        return _ALL
    return float(array.min()), float(array.max())


def _carrier(node: ir.Node, constants: Sequence[NDArray[Any] | None]) -> ir.Value | None:
    """Return the one input that is computed, of operators that are a step or 0 where it is; None for every other."""
    if node.op_type in _SAME or node.op_type in ("AveragePool", "MaxPool", "Neg", "Abs", "Cast", "Sqrt", "Clip"):
        return node.inputs[0]
    real = [entry for entry, array in zip(node.inputs, constants, strict=True) if array is None]
    return real[0] if node.op_type in ("Mul", "Div", "Add", "Sub") and len(real) == 1 else None


def _union(ranges: Sequence[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _holds(node: ir.Node, constants: Sequence[NDArray[Any] | None], number: float) -> bool:
    """Tell whether an operator puts ``number`` itself in the place of other values."""
    if node.op_type in ("Relu", "ThresholdedRelu", "Shrink"):
        return number == 0
    if node.op_type == "Pad" and node.attributes.get_string("mode", "constant") == "constant":
        given = constants[2] if len(constants) > 2 else None
        return number == (0.0 if given is None else float(given.reshape(-1)[0]))
    if node.op_type == "Mul" and number == 0:
        return any(array is not None and np.any(array == 0) for array in constants)
    if node.op_type in ("Clip", "Max", "Min", "Where"):
        return any(array is not None and np.any(array == number) for array in constants)
    return False
