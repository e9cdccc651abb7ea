"""The sizes of values: symbolic ones under the names that a file shows, and those that torch's exporter leaves out."""

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from ...runtime.operators import STANDARD_DOMAINS
from ..importing.elementwise import ELEMENTWISE

__all__ = ["fill_sizes", "name_sizes"]

_OF_ONE_TYPE = ELEMENTWISE - {"Cast", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Where"}
"""Elementwise operators whose results have the type of what they read first."""


def name_sizes(model: ir.Model) -> None:
    """Call the symbolic sizes of the inputs ``N``, ``H`` and ``W`` everywhere, and multiples of them ``20*N``.

    Others are not known.
    """
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for axis, size in enumerate(value.shape or ()):
            if isinstance(size, ir.SymbolicDim) and size.value is not None:
                names.setdefault(str(size.value), "N" if axis == 0 else {2: "H", 3: "W"}.get(axis, f"D{axis}"))
    values = [*model.graph.inputs, *(output for node in model.graph.all_nodes() for output in node.outputs)]
    for value in values:
        if value.shape is not None:
            value.shape = ir.Shape([_named(size, names) for size in value.shape])


def _named(size: int | ir.SymbolicDim, names: Mapping[str, str]) -> int | str | None:
    if isinstance(size, int):
        return size
    factor, times, symbol = str(size.value).rpartition("*")
    name = names.get(symbol)
    return f"{factor}{times}{name}" if name and (factor.isdigit() or not times) else None


def fill_sizes(model: ir.Model) -> None:
    """Give elementwise results the sizes and types that follow from what they are made of.

    The exporter knows the results of torch's own operations, and not what lies inside of one that it writes as several:
    the Sigmoid of a SiLU, the Erf of a GELU.
    """
    for node in model.graph:
        if node.domain not in STANDARD_DOMAINS or node.op_type not in _OF_ONE_TYPE or node.outputs[0].shape is not None:
            continue
        result, given = node.outputs[0], [value for value in node.inputs if value is not None]
        shapes = [value.shape for value in given]
        known = [list(shape) for shape in shapes if shape is not None]
        sizes = _broadcast(known) if len(known) == len(shapes) else None
        if sizes is not None:
            result.shape, result.type = ir.Shape(sizes), result.type or given[0].type


def _broadcast(shapes: Sequence[Sequence[int | ir.SymbolicDim]]) -> list[int | ir.SymbolicDim] | None:
    """Return the sizes of what broadcasting gives, None where a size is not known or two differ."""
    found: list[int | ir.SymbolicDim] = []
    for place in range(1, 1 + max(map(len, shapes), default=0)):
        sizes = {shape[-place] for shape in shapes if len(shape) >= place} - {1}
        if len(sizes) > 1 or any(not isinstance(size, int) and size.value is None for size in sizes):
            return None
        found.append(sizes.pop() if sizes else 1)
    return found[::-1]
