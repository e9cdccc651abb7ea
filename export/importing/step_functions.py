"""Which values are signs: elementwise arithmetic that knows only whether ``x`` is below, at, or above a threshold.

Binary networks write their activation in many ways: ``Where(x >= 0, 1, -1)``, ``2·Cast(x > 0) − 1``, ``Sign``,
bitorch's ``Where(Sign(x) == 0, 1, Sign(x))``. All of them are *steps*: functions of one real value with one value below
a threshold, one at it, one above it. So nothing is matched by its looks; the nodes are carried out on these four pieces
(NaN is the fourth), and what comes out says whether it is ±s, at which threshold, and on which side zero falls.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.bits import DOMAIN
from ...runtime.operators import STANDARD_DOMAINS
from ..graph.constants import Constants
from .ranges import Ranges

__all__ = ["Step", "Steps"]

Pieces = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]

_COMPARE: dict[str, tuple[bool, bool, bool]] = {  # x OP t, for x below, at and above t
    "Greater": (False, False, True),
    "GreaterOrEqual": (False, True, True),
    "Less": (True, False, False),
    "LessOrEqual": (True, True, False),
    "Equal": (False, True, False),
}
_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Div": np.divide,
    "Equal": np.equal,
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
    "Sign": np.sign,
    "Sub": np.subtract,
    "Where": np.where,
    "Xor": np.logical_xor,
}


@dataclass(frozen=True)
class Step:
    """A value that is ``below`` where ``source < threshold``, ``at`` where equal, ``above`` beyond, ``nan`` for NaN.

    The pieces and the threshold are arrays that broadcast to the source: scalars, or one number a channel.
    """

    source: ir.Value
    threshold: NDArray[np.float32]
    below: NDArray[Any]
    at: NDArray[Any]
    above: NDArray[Any]
    nan: NDArray[Any]

    @property
    def pieces(self) -> Pieces:
        """The four pieces in the order below, at, above, nan."""
        return self.below, self.at, self.above, self.nan

    def same_steps(self, other: "Step") -> bool:
        """Tell whether two values step at the same places of the same source."""
        return self.source is other.source and np.array_equal(self.threshold, other.threshold)


class Steps:
    """Finds the steps of one graph; each value is read once."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants
        self._known: dict[ir.Value, Step | None] = {}
        self.ranges = Ranges(constants)

    def get(self, value: ir.Value | None) -> Step | None:
        """Return ``value`` as a step, None where it is none."""
        if value is None:
            return None
        if value not in self._known:
            self._known[value] = self._read(value)
        return self._known[value]

    def _read(self, value: ir.Value) -> Step | None:
        node = value.producer()
        if node is None or len(node.outputs) != 1:
            return None
        if node.domain == DOMAIN and node.op_type == "Binarize":
            return self._binarize(node)
        if node.domain not in STANDARD_DOMAINS or node.op_type not in (*_ELEMENTWISE, "Cast", "Clip"):
            return None
        steps = [self.get(entry) for entry in node.inputs]
        first = next((step for step in steps if step is not None), None)
        if first is None:
            return self._root(node)
        arrays = [
            None if step is not None else self._constants.get(e) for step, e in zip(steps, node.inputs, strict=True)
        ]
        for step, array, entry in zip(steps, arrays, node.inputs, strict=True):
            if entry is not None and array is None and (step is None or not step.same_steps(first)):
                return None  # another real value takes part
        if node.op_type == "Div" and not np.issubdtype(first.above.dtype, np.floating):
            return None  # integers divide otherwise in numpy
        pieces = []
        for index in range(4):
            operands = [a if step is None else step.pieces[index] for step, a in zip(steps, arrays, strict=True)]
            try:
                with np.errstate(all="ignore"):
                    pieces.append(_apply(node, operands))
            except (TypeError, ValueError):  # numpy has no such types or shapes together
                return None
        return Step(first.source, first.threshold, *pieces)

    def _binarize(self, node: ir.Node) -> Step | None:
        """Read our own operator: −1 for NaN too."""
        source, threshold = node.inputs[0], self._constants.get(node.inputs[1])
        if source is None or threshold is None:
            return None
        low, high = np.asarray(np.float32(-1)), np.asarray(np.float32(1))
        return Step(source, threshold, low, high, high, low)

    def _root(self, node: ir.Node) -> Step | None:
        """Read a comparison of a real value with a constant, or its Sign."""
        if node.op_type == "Sign" and _is_float32(node.inputs[0]):
            pieces = (np.float32(-1), np.float32(0), np.float32(1), np.float32(np.nan))
            return self._shifted(node.inputs[0], np.zeros((), np.float32), pieces)
        if node.op_type not in _COMPARE:
            return None
        below, at, above = _COMPARE[node.op_type]
        left, right = (self._constants.get(entry) for entry in node.inputs)
        if (left is None) == (right is None):
            return None
        real, threshold = (node.inputs[0], right) if left is None else (node.inputs[1], left)
        if left is not None:  # t OP x is x OP' t with the sides changed
            below, above = above, below
        if threshold is None or threshold.dtype != np.float32 or not np.all(np.isfinite(threshold)):
            return None
        return self._shifted(real, threshold, (np.bool_(below), np.bool_(at), np.bool_(above), np.bool_(False)))

    def _shifted(self, source: ir.Value | None, threshold: NDArray[np.float32], pieces: tuple[Any, ...]) -> Step | None:
        """Make a step; move constants that are subtracted before it into the threshold where that changes nothing.

        ``x − c >= 0 ⇔ x >= c`` for all floats: the difference is zero only where they are equal (gradual underflow).
        ``Clip(x, lo, hi) >= t ⇔ x >= t`` where ``lo < t < hi`` (a Hardtanh before the sign).
        """
        below, at, above, nan = (np.asarray(piece) for piece in pieces)
        low, high = self.ranges.get(source)
        if at != above and np.all(low >= threshold):
            below = at  # never met: Sign(Relu(x)) is 0 or 1
        elif at != below and np.all(high <= threshold):
            above = at
        while source is not None and (node := source.producer()) is not None and node.domain in STANDARD_DOMAINS:
            constants = [self._constants.get(entry) for entry in node.inputs]
            zero = not np.any(threshold)
            if node.op_type == "Sub" and zero and _real_and_finite(constants[1], constants[0]):
                assert constants[1] is not None
                source, threshold = node.inputs[0], constants[1]
            elif node.op_type == "Sub" and zero and _real_and_finite(constants[0], constants[1]):
                assert constants[0] is not None  # c − x is below zero where x is above c
                source, threshold, below, above = node.inputs[1], constants[0], above, below
            elif node.op_type == "Add" and zero and _real_and_finite(constants[1], constants[0]):
                assert constants[1] is not None
                source, threshold = node.inputs[0], -constants[1]
            elif node.op_type == "Add" and zero and _real_and_finite(constants[0], constants[1]):
                assert constants[0] is not None
                source, threshold = node.inputs[1], -constants[0]
            elif node.op_type == "Identity" or (node.op_type == "Clip" and _inside(threshold, constants, node)):
                source = node.inputs[0]
            else:
                break
        return None if source is None else Step(source, np.asarray(threshold), below, at, above, nan)


def _apply(node: ir.Node, operands: list[Any]) -> NDArray[Any]:
    if node.op_type == "Cast":
        return np.asarray(operands[0]).astype(ir.DataType(node.attributes.get_int("to")).numpy())
    if node.op_type == "Clip":  # a limit that is left out is None; before opset 11 they are attributes
        limits = [operands[i] if i < len(operands) else None for i in (1, 2)]
        result = np.asarray(operands[0])
        result = result if limits[0] is None else np.maximum(result, limits[0])
        return np.asarray(result if limits[1] is None else np.minimum(result, limits[1]))
    function = _ELEMENTWISE[node.op_type]
    if node.op_type in ("Max", "Min"):
        result = operands[0]
        for operand in operands[1:]:
            result = function(result, operand)
        return np.asarray(result)
    return np.asarray(function(*operands))


def _is_float32(value: ir.Value | None) -> bool:
    return value is not None and (value.dtype is None or value.dtype == ir.DataType.FLOAT)


def _real_and_finite(constant: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return (
        other is None and constant is not None and constant.dtype == np.float32 and bool(np.all(np.isfinite(constant)))
    )


def _inside(threshold: NDArray[np.float32], constants: list[NDArray[Any] | None], node: ir.Node) -> bool:
    """Tell whether every threshold lies strictly between the limits of a Clip; a limit left out is infinite."""
    for index, entry in enumerate(node.inputs[1:3]):
        limit = constants[1 + index]
        if entry is not None and (limit is None or not np.all(threshold > limit if index == 0 else threshold < limit)):
            return False
    return True
