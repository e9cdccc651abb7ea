"""Float32 operations that keep or turn the order of numbers, so that a bit behind one is a comparison before it.

::

    fl(x · m) ≥ t   ⇔   x ≥ u,  or  −x ≥ u on a channel whose operation turns the order

Rounding keeps order, and so does adding a constant; a factor keeps or turns it by its sign. So the bit is a step in x,
and bisection over all float32 numbers finds it with the very operation of the file: equal for every x, ties, infinities
and −0 included. NaN reaches nothing on either side.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layout.float_words import ChainOp
from .chain import Stage

__all__ = ["Threshold", "find_threshold"]

_Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Threshold:
    """``bit = x · turn ≥ value``, both float32 ``[C]``; ``turn`` is 1, or −1 on a channel whose bit falls with x.

    Nothing reaches a ``value`` that is NaN: the bit is 0 always.
    """

    value: _Floats
    turn: _Floats

    @classmethod
    def at(cls, value: _Floats) -> "Threshold":
        """Return the threshold of ``x ≥ value``."""
        return cls(value, np.ones_like(value))

    @property
    def falling(self) -> NDArray[np.bool_]:
        """The channels whose bit falls, bool ``[C]``."""
        found: NDArray[np.bool_] = self.turn < 0
        return found


def find_threshold(stage: Stage, behind: Threshold) -> Threshold | None:
    """Return the threshold before a stage that gives the bits of the threshold ``behind`` it, None where none does."""
    turns = _turns(stage)
    if turns is None:
        return None
    turn = behind.turn * turns

    def result(place: NDArray[np.int64]) -> _Floats:
        with np.errstate(all="ignore"):
            return _STEPS[stage.op](turn * _number(place), stage.first, stage.second) * behind.turn

    # 0 times infinity is no number, which reaches nothing: a bit that is 1 up to there only is no comparison.
    if np.any(np.isnan(result(np.full(turn.shape, _HIGH)))):
        return None
    low, high = np.full(turn.shape, _LOW), np.full(turn.shape, _HIGH + 1)  # the place of the least lies in [low, high]
    while np.any(low < high):
        middle = (low + high) // 2  # below high, so at most infinity
        found = result(middle) >= behind.value
        low, high = np.where(found, low, np.minimum(middle + 1, high)), np.where(found, middle, high)
    value = np.where(low > _HIGH, np.float32(np.nan), _number(np.minimum(low, _HIGH)))
    return Threshold(value + np.float32(0), turn)  # −0 becomes 0: a comparison takes both alike


def _turns(stage: Stage) -> _Floats | None:
    """Return 1 where a stage keeps the order and −1 where it turns it; None where it does neither on some channel."""
    if stage.other is not None or stage.op not in _STEPS:
        return None
    constants = [value for value in (stage.first, stage.second) if value is not None]
    bounded = stage.op is not ChainOp.CLIP  # the bounds of a Clip may be infinite
    if any(np.isnan(value).any() or (bounded and np.isinf(value).any()) for value in constants):
        return None
    first = constants[0]
    if stage.op in (ChainOp.PRELU, ChainOp.DIVIDE) and np.any(first < 0 if stage.op is ChainOp.PRELU else first == 0):
        return None
    if stage.op in (ChainOp.MULTIPLY, ChainOp.DIVIDE, ChainOp.HARD_SIGMOID):
        return np.where(first < 0, np.float32(-1), np.float32(1))
    return np.full_like(first, -1 if stage.op is ChainOp.SUBTRACT_FROM else 1)


def _number(place: NDArray[np.int64]) -> _Floats:
    """Return the float32 at a place in their order; −0 is one place below 0."""
    bits = place.astype(np.int32)
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int32).view(np.float32)


_HIGH = 0x7F800000
_LOW = -1 - _HIGH
"""The places of the infinities."""


def _clip(x: _Floats, low: Any, high: Any) -> _Floats:
    x = np.where(x < low, low, x)
    return np.where(x > high, high, x)


_STEPS: Mapping[ChainOp, Callable[[_Floats, Any, Any], _Floats]] = MappingProxyType(
    {
        ChainOp.ADD: lambda x, y, z: x + y,
        ChainOp.SUBTRACT: lambda x, y, z: x - y,
        ChainOp.SUBTRACT_FROM: lambda x, y, z: y - x,
        ChainOp.MULTIPLY: lambda x, y, z: x * y,
        ChainOp.DIVIDE: lambda x, y, z: x / y,
        ChainOp.PRELU: lambda x, y, z: np.where(x < 0, x * y, x),
        ChainOp.CLIP: _clip,
        ChainOp.HARD_SIGMOID: lambda x, y, z: _clip(x * y + z, np.float32(0), np.float32(1)),
    }
)
"""The operations that keep or turn the order, with the roundings and the comparisons of kernels/chain.py."""
