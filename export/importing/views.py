"""Two ways to look at one tensor: a sequence as an image of one row, frames as the rows of a matrix.

::

    lowered, as networks hold it          lifted, as the packed operators read it
    sequence [N, C, T]      ─ Unsqueeze ─►  image [N, C, 1, T] or [N, C, T, 1]       Image
    frames   [N, …, K]      ─ Reshape ───►  rows  [N·…, K]                           Rows

Both hold the same numbers in the same order. A view says what becomes of sizes and constants on the way up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.operators import STANDARD_DOMAINS
from ..graph.constants import Constants

__all__ = ["Image", "Rows", "View", "lifted_by", "lowered_by", "sizes_of"]

Sizes = Sequence[int | str | None]
Second = NDArray[np.int64]


@dataclass(frozen=True)
class Image:
    """Sequences as images: ``axis`` (2 or 3) is the one of size 1."""

    axis: int

    def lift(self, sizes: Sizes) -> tuple[str, Second, Sizes] | None:
        """Return operator and second input that lift a value, and the sizes that it gets; None where there is none."""
        if len(sizes) != 3:
            return None
        return "Unsqueeze", np.array([self.axis]), [*sizes[: self.axis], 1, *sizes[self.axis :]]

    def lower(self, sizes: Sizes) -> tuple[str, Second]:
        """Return operator and second input that give a value of these lowered sizes back."""
        return "Squeeze", np.array([self.axis])

    def fits(self, sizes: Sizes, result: Sizes) -> bool:
        """Tell whether an operand may be lifted beside a result: the new axis is broadcast over by nobody."""
        return len(sizes) == 3

    def constant(self, array: NDArray[Any]) -> NDArray[Any] | None:
        """Return what broadcasts over the lifted value as ``array`` over the lowered one; None where nothing does."""
        if array.ndim > 3:
            return None
        full = np.expand_dims(array.reshape((1,) * (3 - array.ndim) + array.shape), self.axis)
        while full.ndim > array.ndim and full.shape[0] == 1:  # no axes that broadcasting adds by itself
            full = full[0]
        return full

    def spread(self, values: Sequence[int], fill: int) -> list[int]:
        """Return an attribute of one axis for two axes, with ``fill`` for the new one."""
        return [fill, *values] if self.axis == 2 else [*values, fill]


@dataclass(frozen=True)
class Rows:
    """Frames as rows; ``middle`` are the sizes between the first axis and the last."""

    middle: tuple[int, ...]

    def lift(self, sizes: Sizes) -> tuple[str, Second, Sizes] | None:
        """As :meth:`Image.lift`."""
        first, last = sizes[0], sizes[-1]
        if len(sizes) < 3 or tuple(sizes[1:-1]) != self.middle or not isinstance(last, int):
            return None
        return "Reshape", np.array([-1, last]), [_times(first, math.prod(self.middle)), last]

    def lower(self, sizes: Sizes) -> tuple[str, Second]:
        """As :meth:`Image.lower`."""
        last = sizes[-1]
        assert isinstance(last, int)
        return "Reshape", np.array([-1, *self.middle, last])

    def fits(self, sizes: Sizes, result: Sizes) -> bool:
        """As :meth:`Image.fits`: only one of the same sizes, so that nothing is broadcast."""
        return list(sizes) == list(result) and None not in sizes

    def constant(self, array: NDArray[Any]) -> NDArray[Any] | None:
        """As :meth:`Image.constant`: one value, or one for each entry of the last axis."""
        if array.ndim == 0 or (array.ndim == 1 and array.size == 1):
            return array
        return array.reshape(-1) if array.size == array.shape[-1] else None


View = Image | Rows


def _times(size: int | str | None, factor: int) -> int | str | None:
    """Return a multiple of a size, under the name that torch's exporter gives to one that is symbolic."""
    if isinstance(size, str) and factor != 1:
        return f"{factor}*{size}" if size.isidentifier() else None
    return size * factor if isinstance(size, int) else size


def sizes_of(value: ir.Value | None) -> Sizes | None:
    """Return the sizes of a value, names for symbolic ones; None where the rank is not known."""
    if value is None or value.shape is None:
        return None
    return [size if isinstance(size, int) else size.value for size in value.shape]


def lifted_by(node: ir.Node | None, constants: Constants) -> View | None:
    """Return the view from whose lowered to its lifted side a node leads, None for any other node."""
    return _view(node, "Unsqueeze", 0, 1, constants)


def lowered_by(node: ir.Node | None, constants: Constants) -> View | None:
    """Return the view from whose lifted to its lowered side a node leads, None for any other node."""
    return _view(node, "Squeeze", 1, 0, constants)


def _view(node: ir.Node | None, moved: str, low: int, high: int, constants: Constants) -> View | None:
    if node is None or node.domain not in STANDARD_DOMAINS or not node.inputs:
        return None
    ends = [sizes_of(node.inputs[0]), sizes_of(node.outputs[0])]
    lowered, lifted = ends[low], ends[high]
    if lowered is None or lifted is None:
        return None
    if node.op_type == moved:
        axes = constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if axes is None or axes.size != 1 or (len(lowered), len(lifted)) != (3, 4):
            return None
        axis = int(axes.reshape(-1)[0]) % 4
        return Image(axis) if axis >= 2 else None
    if node.op_type not in ("Reshape", "Flatten") or len(lifted) != 2 or len(lowered) < 3:
        return None
    middle = [size for size in lowered[1:-1] if isinstance(size, int)]
    same = lowered[-1] == lifted[-1] and isinstance(lifted[-1], int) and len(middle) == len(lowered) - 2
    return Rows(tuple(middle)) if same and 0 not in middle else None
