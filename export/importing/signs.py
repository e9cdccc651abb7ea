"""The ±1 form of an activation, ``value = offset + scale · Σ flip · s`` over one *plane* of signs ``s`` or more.

Stairs of two levels are one plane. Stairs of q evenly spaced levels are q − 1 planes, one for each step: plane i says
whether the source has reached point i. A channel whose levels fall where its source rises has flip −1: the layer that
reads it takes the flip into its weights. A constant channel reaches its points always (−infinity), with flip ±1.
"""

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.operators import channel_vector
from .layers import StaysFloat, shape_of
from .ranges import Ranges
from .stairs import Stairs

__all__ = ["UNDECIDED", "Leaf", "Signs", "leaf_of"]

UNDECIDED = "; sign_zero decides it"
"""How the reason of a layer ends that is binary as soon as the sign of 0 is given."""

_MOST_PLANES = 3
"""Planes of an activation: two bits, four levels. More would take longer than float arithmetic."""

_NAN = "NaN is taken as another value than in the source"

_NARROW = 2.0**-16
_EVEN = 2.0**-20


@dataclass(frozen=True, eq=False)
class Leaf:
    """Signs of ``source``: plane p is +1 where ``source >= points[p]``.

    points float32 and flips int8 are ``[P, C, 1, …]``, with the axes of the source from the second on; of size 1 where
    C is not known. ``straight``: flips are to be taken into the source, which is multiplied by ±1.
    """

    source: ir.Value
    points: NDArray[np.float32]
    flips: NDArray[np.int8]
    straight: bool = False

    @property
    def factors(self) -> NDArray[np.float32] | None:
        """Return by what the source is multiplied, as the points; None for nothing. 0 where the sign is always −1."""
        if not self.straight or np.all(self.flips == 1):
            return None
        constant = np.isneginf(self.points)
        return np.where(constant & (self.flips < 0), 0, np.where(constant, 1, self.flips)).astype(np.float32)

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """Return the thresholds of the source, or of the source times :attr:`factors`."""
        if not self.straight:
            return self.points
        falling = np.nextafter(-self.points, np.float32(np.inf))  # x < p ⇔ −x >= the next float above −p
        return np.where(self.flips > 0, self.points, np.where(np.isneginf(self.points), np.float32(1), falling))


@dataclass(frozen=True, eq=False)
class Signs:
    """``value = offset + scale · Σ flips · s``: a :class:`Leaf`, or an operator that moves the signs of ``parts``.

    ``flips`` int8 ``[P, C]`` for the axis 1 of the value; None where all are +1.
    """

    value: ir.Value
    scale: float
    offset: float
    planes: int = 1
    leaf: Leaf | None = None
    parts: tuple["Signs", ...] = ()
    flips: NDArray[np.int8] | None = None
    notes: tuple[str, ...] = ()
    faithful: bool = True
    """Whether the two sides are equal for every source, NaN and the threshold itself included."""
    rounded: bool = False
    """Whether the source gives the levels with rounding errors."""

    @property
    def plain(self) -> bool:
        """Whether the value is ±1 itself."""
        return self.scale == 1.0 and self.offset == 0.0 and self.planes == 1 and self.flips is None

    def pad_value(self, number: float) -> int | None:
        """Return which sign (or 0) of all planes stands for ``number`` outside the image; None where none does."""
        wanted = (number - self.offset) / self.scale
        sums = self.planes if self.flips is None else self.flips.sum(axis=0, dtype=np.int64)
        return next((v for v in (0, 1, -1) if np.all(np.abs(wanted - v * sums) <= _EVEN * self.planes)), None)

    @property
    def monotone(self) -> bool:
        """Whether each channel rises or falls with its source, so that a maximum over pixels is one of the source."""
        if self.leaf is None:
            return all(part.monotone for part in self.parts)
        changing = np.where(np.isneginf(self.leaf.points), 0, self.leaf.flips)
        return not np.any((changing.max(axis=0) > 0) & (changing.min(axis=0) < 0))

    def times(self, count: int) -> "Signs":
        """Return the same value with every plane ``count`` times, all planes one behind the other."""
        if count == 1:
            return self
        leaf = self.leaf
        if leaf is not None:
            repeats = (count, *[1] * (leaf.points.ndim - 1))
            leaf = replace(leaf, points=np.tile(leaf.points, repeats), flips=np.tile(leaf.flips, repeats))
        return replace(
            self,
            scale=self.scale / count,
            planes=self.planes * count,
            leaf=leaf,
            parts=tuple(part.times(count) for part in self.parts),
            flips=None if self.flips is None else np.tile(self.flips, (count, 1)),
        )

    def straight(self) -> "Signs":
        """Return the same value without flips: they go into its sources."""
        if self.flips is None:
            return self
        leaf = None if self.leaf is None else replace(self.leaf, straight=True)
        parts = tuple(part.straight() for part in self.parts)
        return replace(self, leaf=leaf, parts=parts, flips=None, faithful=False)


def leaf_of(
    value: ir.Value, stairs: Stairs, ranges: Ranges, *, sign_zero: str, never_zero: bool, finite: bool
) -> Signs:
    """Return the signs of stairs; StaysFloat where they are none.

    sign_zero: which side a level gets that is taken at a threshold alone (``Sign(0) = 0``): "plus", "minus" or "keep",
    which gives it none. never_zero: the source is never 0. finite: it is neither infinite nor NaN.
    """
    shape = shape_of(stairs.source)
    _check_shapes(stairs, shape)
    points, levels = stairs.points, np.asarray(stairs.levels, np.float64)
    notes = list(stairs.notes)
    if not np.all(np.isfinite(levels[:-1])):
        raise StaysFloat("its activations are not finite on some side of a threshold")
    levels, decided = _without_zeros(stairs, levels, ranges, sign_zero, never_zero)
    notes += decided
    numbers = np.unique(levels[:-1])
    if len(numbers) == 1:
        raise StaysFloat(f"its input takes the one value {numbers[0]:g} on both sides of a threshold")
    distance, count = _evenly_spaced(levels[:-1])
    offset = (float(numbers[0]) + float(numbers[-1])) / 2
    thresholds, flips = _planes(points, levels[:-1], distance, count, offset)
    faithful = not decided and not stairs.notes
    nan = levels[-1]
    given = offset - distance / 2 * flips.sum(axis=0)
    if not finite and not np.array_equal(np.broadcast_to(nan, given.shape), given):
        faithful = False
        different = np.broadcast_to(nan, given.shape) - given
        if np.any(np.abs(different) > 0):  # not where the source gives NaN itself
            notes.append(_NAN)
    if stairs.infinite and not finite:
        faithful = False
        notes.append(f"an infinite {stairs.source.name} is taken as a large number where the source makes NaN of it")
    thresholds, turned = (_shaped(array, shape, str(stairs.source.name)) for array in (thresholds, flips))
    leaf = Leaf(stairs.source, np.asarray(thresholds, np.float32), np.asarray(turned, np.int8))
    found = None if np.all(leaf.flips == 1) else leaf.flips.reshape(count, -1)
    return Signs(value, distance / 2, offset, count, leaf, (), found, tuple(notes), faithful, stairs.rounded)


def _without_zeros(
    stairs: Stairs, levels: NDArray[np.float64], ranges: Ranges, sign_zero: str, never_zero: bool
) -> tuple[NDArray[np.float64], list[str]]:
    """Give every level that is taken next to a threshold alone, between two others, to one of its sides.

    It is what ``Sign`` gives for 0. Raises StaysFloat where nobody has decided, and the level is no end of the others.
    """
    levels, points, name = levels.copy(), stairs.points, str(stairs.source.name)
    notes: list[str] = []
    for index in range(1, len(points)):
        first, end = points[index - 1], points[index]
        with np.errstate(over="ignore", invalid="ignore"):
            close = end.astype(np.float64) - first <= _NARROW * np.abs(first.astype(np.float64))
            narrow = (end > first) & (close | (end == np.nextafter(first, np.float32(np.inf))))
        below, at, above = levels[index - 1], levels[index], levels[index + 1]
        odd = np.broadcast_to(narrow & (at != below) & (at != above), at.shape)
        if not np.any(odd):
            continue
        if never_zero and np.all(points[index - 1] == 0):
            levels[index] = np.where(odd, above, at)
            continue
        words = "/".join(f"{number:g}" for number in np.unique(at[odd]))
        three = f"its input takes three values, {np.min(levels[:-1]):g}, {words} and {np.max(levels[:-1]):g}: {words}"
        for number in np.unique(first):
            if maker := ranges.often(stairs.source, float(number)):
                raise StaysFloat(
                    f"{three} where {name} is {number:g}, which {maker} makes a common value, "
                    "so sign_zero does not decide it"
                )
        if sign_zero == "keep":
            raise StaysFloat(f"{three} where {name} is the threshold itself (Sign(0) = 0){UNDECIDED}")
        upper = np.maximum(below, above) if sign_zero == "plus" else np.minimum(below, above)
        for number, side in sorted({(float(n), float(s)) for n, s in zip(at[odd], upper[odd], strict=True)}):
            notes.append(f"the activation {number:g} is taken as {side:g} (sign_zero)")
        levels[index] = np.where(odd, upper, at)
    return levels, list(dict.fromkeys(notes))


def _evenly_spaced(levels: NDArray[np.float64]) -> tuple[float, int]:
    """Return the distance of neighbouring levels and how many there are less one; StaysFloat where they are uneven."""
    numbers = np.unique(levels)
    gaps = np.diff(numbers)
    span = float(numbers[-1] - numbers[0])
    distance = float(gaps[gaps > _EVEN * span].min())
    count = round(span / distance)
    distance = span / count
    uneven = np.any(
        np.abs((numbers - numbers[0]) / distance - np.rint((numbers - numbers[0]) / distance)) > _EVEN * count
    )
    if uneven or count > _MOST_PLANES:
        columns = levels.reshape(len(levels), -1).T
        if max(len(np.unique(column)) for column in columns) < len(numbers):
            raise StaysFloat("its activations have different scales per channel, and a sum takes one")
        if uneven:
            raise StaysFloat(f"its input takes {len(numbers)} values that are not evenly spaced")
        raise StaysFloat(f"its input takes {count + 1} levels; up to {_MOST_PLANES + 1} are packed, as sums of signs")
    return distance, count


def _planes(
    points: NDArray[np.float32], levels: NDArray[np.float64], distance: float, count: int, offset: float
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return points and flips ``[count, …]`` of the planes; constant planes have the point −infinity."""
    shape = levels.shape[1:]
    where = np.broadcast_to(points, (len(points), *shape))
    steps = np.rint(np.diff(levels, axis=0) / distance).astype(int)
    thresholds = np.full((count, *shape), -np.inf, np.float32)
    flips = np.ones((count, *shape), np.int8)
    for place in np.ndindex(shape):
        found = [(where[i, *place], np.sign(step)) for i, step in enumerate(steps[:, *place]) for _ in range(abs(step))]
        free = count - len(found)
        excess = round(2 * (levels[0, *place] - offset) / distance) + sum(int(flip) for _, flip in found)
        if free < abs(excess):
            raise StaysFloat("its levels rise and fall with its source, and are no sum of so few signs")
        always = (free + excess) // 2
        found += [(np.float32(-np.inf), 1)] * always + [(np.float32(-np.inf), -1)] * (free - always)
        for plane, (point, flip) in enumerate(found):
            thresholds[plane, *place], flips[plane, *place] = point, flip
    return thresholds, flips


def _check_shapes(stairs: Stairs, shape: list[int | None] | None) -> None:
    """Refuse constants that would give the activation more axes or channels than its source has."""
    for array in (stairs.points[0], stairs.levels[0]):
        if shape is None or len(shape) < 2 or (shape[1] is None and array.size > 1):
            fits = array.ndim == 0 or (array.size == 1 and shape is not None and array.ndim <= len(shape))
        else:
            fits = channel_vector(np.asarray(array, np.float32), len(shape), shape[1] or 1) is not None
        if not fits:
            raise StaysFloat(
                f"constants of shape {list(array.shape)} beside {stairs.source.name} are not one per channel"
            )


def _shaped(array: NDArray[np.generic], shape: list[int | None] | None, name: str) -> NDArray[np.float32]:
    """Return ``[P, …]`` as ``[P, C, 1, 1]`` or ``[P, C]``; of size 1 behind P where C is not known."""
    if shape is None or len(shape) < 2 or shape[1] is None:
        if array[0].size != 1:
            raise StaysFloat(f"the shape of {name}, which has a threshold per channel, is not known")
        rank = 0 if shape is None else max(0, len(shape) - 1)
        return np.asarray(array, np.float32).reshape(len(array), *(1,) * rank)
    channels = shape[1]
    vectors = [channel_vector(np.asarray(plane, np.float32), len(shape), channels) for plane in array]
    if any(vector is None for vector in vectors):
        raise StaysFloat(f"the thresholds of {name} are not one number per channel")
    return np.stack(vectors).reshape(len(array), channels, *(1,) * (len(shape) - 2))  # type: ignore[arg-type]
