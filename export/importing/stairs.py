"""Stairs: functions of one real value that have few levels, with a step between each two.

A chain of operators that keep order is stairs where one of them gives few values: the float32 numbers at which its
result changes are found by bisection (:mod:`.floats`). What is computed of stairs is computed level by level.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .elementwise import apply
from .floats import find_changes
from .layers import shape_of
from .ranges import Range

__all__ = ["Link", "Stairs", "combined", "discovered", "run_chain"]

_MOST_CHANGES = 8
_SPARE = 2.0**-20
"""By how much a value may leave its computed limits: by the rounding of float32."""
_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class Stairs:
    """A value that is ``levels[i]`` where ``points[i − 1] <= source < points[i]``.

    ``points`` float32 ``[k, …]``, rising; ``levels`` ``[k + 2, …]``, the last one for NaN. The axes behind the first
    are those of the source, of size 1 where all its entries are treated alike; none where its rank is not known.
    ``through`` are the real values between source and result. ``infinite`` tells that some channel is computed from an
    infinite source as NaN, and is taken as of the largest number. ``rounded`` tells that the source adds rounding
    errors to the levels (``hard − soft + soft``).
    """

    source: ir.Value
    points: NDArray[np.float32]
    levels: NDArray[Any]
    through: tuple[ir.Value, ...] = ()
    infinite: bool = False
    notes: tuple[str, ...] = ()
    rounded: bool = False

    def levels_at(self, points: NDArray[np.float32]) -> NDArray[Any]:
        """Return the levels ``[m + 2, …]`` below the first of ``points`` ``[m, …]``, from each on, and of NaN."""
        index = np.zeros((len(points) + 1, *points.shape[1:]), np.int64)
        for point in self.points:
            index[1:] = index[1:] + (points >= point)
        shape = np.broadcast_shapes(index.shape[1:], self.levels.shape[1:])
        levels = np.broadcast_to(self.levels, (len(self.levels), *shape))
        index = np.broadcast_to(index, (len(index), *shape))
        return np.concatenate([np.take_along_axis(levels, index, 0), levels[-1:]])


@dataclass(frozen=True, eq=False)
class Link:
    """An operator that reads one value, in the place where ``operands`` has None, and constants."""

    node: ir.Node
    place: int
    operands: tuple[NDArray[Any] | None, ...]

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what the operator makes of ``x``, of any shape that broadcasts with the constants."""
        return apply(self.node, [x if index == self.place else entry for index, entry in enumerate(self.operands)])


def discovered(source: ir.Value, chain: Sequence[Link], through: tuple[ir.Value, ...], limits: Range) -> Stairs | None:
    """Find the points at which a chain changes its result, of each channel; ``limits`` are those of the source."""
    limits = limits[0] - _SPARE * abs(limits[0]), limits[1] + _SPARE * abs(limits[1])
    shape = shape_of(source)
    axes = () if shape is None else (1,) * len(shape)
    try:
        shapes = [array.shape for link in chain for array in link.operands if array is not None]
        full = np.broadcast_shapes(axes, *shapes)
        lost = np.zeros(full, np.bool_)
        for end in (-np.inf, np.inf):
            lost |= _becomes_nan(chain, np.full(full, np.clip(end, *limits), np.float32))

        def function(x: NDArray[np.float32]) -> NDArray[Any]:
            met = np.clip(x, *limits).astype(np.float32)
            return run_chain(chain, np.where(lost, np.clip(met, -_LARGEST, _LARGEST), met))

        found = find_changes(function, full, _MOST_CHANGES)
        nan = run_chain(chain, np.full(full, np.nan, np.float32))
    except (TypeError, ValueError):  # numpy has no such types or shapes together
        return None
    if found is None or not found[0]:
        return None
    return Stairs(source, np.stack(found[0]), np.stack([*found[1], nan]), through, bool(np.any(lost)))


def _becomes_nan(chain: Sequence[Link], x: NDArray[Any]) -> NDArray[np.bool_]:
    lost = np.zeros(x.shape, np.bool_)
    for link in chain:
        x = link(x)
        if np.issubdtype(x.dtype, np.floating):
            lost |= np.isnan(x)
    return lost


def run_chain(chain: Sequence[Link], x: NDArray[Any]) -> NDArray[Any]:
    """Carry out the operators of a chain, one behind the other."""
    for link in chain:
        x = link(x)
    return x


def combined(
    operands: Sequence[NDArray[Any] | Stairs | None], function: Callable[[list[Any]], NDArray[Any]]
) -> Stairs | None:
    """Carry a function out on stairs of one source and constants: at every point at which one of them changes."""
    stairs = [operand for operand in operands if isinstance(operand, Stairs)]
    try:
        shape = np.broadcast_shapes(*(entry.points.shape[1:] for entry in stairs))
        every = [np.broadcast_to(point, shape) for entry in stairs for point in entry.points]
        points = np.sort(np.stack(every), axis=0)
        kept = [index for index in range(len(points)) if index == 0 or np.any(points[index] != points[index - 1])]
        points = points[kept]
        levels = function([entry.levels_at(points) if isinstance(entry, Stairs) else entry for entry in operands])
        levels = np.broadcast_to(levels, np.broadcast_shapes(levels.shape, (len(points) + 2, *shape)))
    except (TypeError, ValueError):  # numpy has no such types or shapes together
        return None
    through = tuple(dict.fromkeys(value for entry in stairs for value in entry.through))
    notes = tuple(dict.fromkeys(note for entry in stairs for note in entry.notes))
    infinite, rounded = any(entry.infinite for entry in stairs), any(entry.rounded for entry in stairs)
    return Stairs(stairs[0].source, points, levels, through, infinite, notes, rounded)
