"""Constants beside a value, also those of its size: ``ones_like(x)``, whose batch nobody knows, is one number."""

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.operators import STANDARD_DOMAINS
from ..graph.constants import Constants
from .elementwise import apply, is_elementwise
from .layers import shape_of
from .views import sizes_of

__all__ = ["Uniform", "made_in_shape_of", "same_sizes"]


class Uniform:
    """Reads the constant operands of elementwise nodes."""

    def __init__(self, constants: Constants) -> None:
        self._constants = constants

    def get(self, value: ir.Value | None, node: ir.Node) -> NDArray[Any] | None:
        """Return a constant operand of a node, of size 1 on axes along which it is one number; None where it is real.

        Only where a real operand of the node is as large, so that broadcasting gives the same.
        """
        array = self._constants.get(value)
        if array is not None:
            return array if array.ndim == 0 or node.op_type == "BatchNormalization" else self._shrunk(array, node)
        if value is None:
            return None
        number = self._number(value)
        if number is None:
            return None
        others = self._real(node)
        origins = self._origins(value)
        fits = any(same_sizes(value, entry) or self._fits(origins, entry) for entry in others)
        return number if fits else None

    def _fits(self, origins: set[ir.Value], other: ir.Value) -> bool:
        """Tell whether a value is as large as all of ``origins``: it is computed of them."""
        return bool(origins) and all(_is_computed_of(other, origin, self._constants) for origin in origins)

    def _origins(self, value: ir.Value) -> set[ir.Value]:
        """Return the values whose shapes a value of one number takes."""
        node = value.producer()
        if node is None:
            return set()
        if node.op_type in ("ConstantOfShape", "Expand"):
            origin = _shape_of_what(node.inputs[-1])
            return set() if origin is None else {origin}
        return {origin for entry in node.inputs if entry is not None for origin in self._origins(entry)}

    def _real(self, node: ir.Node) -> list[ir.Value]:
        return [entry for entry in node.inputs if entry is not None and self._number(entry) is None]

    def _shrunk(self, array: NDArray[Any], node: ir.Node) -> NDArray[Any]:
        """Return a constant with size 1 on every axis along which it is the same and a real operand is as long."""
        if array.size == 1:
            return array
        shapes = [shape_of(entry) for entry in self._real(node) if self._constants.get(entry) is None]
        for axis in range(-array.ndim, 0):
            first = np.take(array, [0], axis)
            long = any(s is not None and len(s) >= -axis and s[axis] == array.shape[axis] for s in shapes)
            if long and np.array_equal(np.broadcast_to(first, array.shape), array):
                array = first
        return array

    def _number(self, value: ir.Value) -> NDArray[Any] | None:
        """Return the one number that all entries of a value of any size are."""
        array = self._constants.get(value)
        if array is not None:
            return array.reshape(()) if array.size == 1 else None
        node = value.producer()
        if node is None or node.domain not in STANDARD_DOMAINS or value.is_graph_input():
            return None
        if node.op_type == "ConstantOfShape":
            given = node.attributes.get("value")
            return np.zeros((), np.float32) if given is None else np.asarray(given.as_tensor().numpy()).reshape(())
        if node.op_type == "Expand" and node.inputs[0] is not None:
            return self._number(node.inputs[0])
        if not is_elementwise(node) or node.op_type == "BatchNormalization":
            return None
        operands = [None if entry is None else self._number(entry) for entry in node.inputs]
        if any(entry is not None and found is None for entry, found in zip(node.inputs, operands, strict=True)):
            return None
        return apply(node, operands)


def same_sizes(one: ir.Value | None, other: ir.Value | None, *, may_guess: bool = False) -> bool:
    """Tell whether two values provably have one shape.

    may_guess: they have the same number of entries, so that one size of unknown name follows from the others.
    """
    sizes, others = sizes_of(one), sizes_of(other)
    if sizes is None or others is None or len(sizes) != len(others):
        return False
    unknown = [(a, b) for a, b in zip(sizes, others, strict=True) if a is None or a != b]
    if not unknown:
        return True
    known = [a for a, b in zip(sizes, others, strict=True) if a is not None and a == b]
    guessed = may_guess and len(unknown) == 1 and not all(isinstance(size, int) for size in unknown[0])
    return guessed and all(isinstance(size, int) and size > 0 for size in known)


def made_in_shape_of(shape: ir.Value | None, value: ir.Value | None, constants: Constants) -> bool:
    """Tell whether a shape is ``Shape(v)``, and a value v or computed of v entry by entry: it is no smaller then."""
    origin = _shape_of_what(shape)
    return origin is not None and _is_computed_of(value, origin, constants)


def _shape_of_what(shape: ir.Value | None) -> ir.Value | None:
    """Return v of ``Shape(v)``, the whole shape."""
    maker = None if shape is None else shape.producer()
    if maker is None or maker.op_type != "Shape" or "end" in maker.attributes:
        return None
    return None if maker.attributes.get_int("start", 0) else maker.inputs[0]


def _is_computed_of(value: ir.Value | None, origin: ir.Value, constants: Constants) -> bool:
    """Tell whether a value is computed of ``origin`` entry by entry, so that it is no smaller than that."""
    waiting, seen = {value}, set[ir.Value | None]()
    while waiting:
        entry = waiting.pop()
        seen.add(entry)
        if entry is origin or same_sizes(entry, origin):
            return True
        node = None if entry is None else entry.producer()
        if node is not None and is_elementwise(node):
            waiting |= {e for e in node.inputs if e is not None and constants.get(e) is None} - seen
    return False
