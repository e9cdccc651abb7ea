"""A layer whose weights are planes of signs: what its packed operator gets, and whether its sums are exact."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..folding import Affine
from .layers import Layer
from .signs import Signs

__all__ = ["Core", "never_zero"]


@dataclass(frozen=True)
class Core:
    """A layer with planes of sign weights: int8 ``[Q, …]`` as the weight, ``alpha`` ``[O]``.

    ``source`` has Q times the planes of the input; it is None for a real input.
    """

    layer: Layer
    planes: NDArray[np.int8]
    alpha: NDArray[np.float64]
    pads: tuple[int, int, int, int]
    source: Signs | None = None
    pad_value: int = 0

    @property
    def signs(self) -> NDArray[np.int8]:
        """The weight of the packed layer: for every plane of its input one of the weight, with the input's flips."""
        if self.source is None or (self.source.planes == 1 and self.source.flips is None):
            return np.asarray(self.planes[0])
        groups, count = self.layer.group, self.source.planes
        outputs, channels, *kernel = self.planes.shape[1:]
        every = np.repeat(self.planes, count // len(self.planes), axis=0)  # the planes of the input under each of them
        split = every.reshape(count, groups, outputs // groups, channels, -1)
        if self.source.flips is not None:
            flips = np.broadcast_to(self.source.flips, (count, groups * channels))
            split = split * flips.reshape(count, groups, 1, channels, 1)
        return np.moveaxis(split, 0, 2).reshape(outputs, count * channels, *kernel).astype(np.int8)

    @property
    def window(self) -> int:
        """Signs an output sums over: the largest accumulator."""
        return self.layer.window * (1 if self.source is None else self.source.planes)

    @property
    def start(self) -> Affine:
        """Scale and bias of the layer itself.

        conv(offset + step·s, α·w) = step·α·acc + offset·α·Σw; outside the image stands the sign of the number 0.
        """
        step, offset = (1.0, 0.0) if self.source is None else (self.source.scale, self.source.offset)
        bias = np.zeros(self.layer.outputs) if self.layer.bias is None else self.layer.bias
        sums = self.planes.reshape(len(self.planes), self.layer.outputs, -1).sum(axis=(0, 2), dtype=np.int64)
        return Affine(step * self.alpha, bias + offset * self.alpha * sums / len(self.planes))

    @property
    def integral(self) -> bool:
        """Whether the layer gives integers."""
        start = self.start
        return (
            self.source is not None
            and not self.source.rounded
            and bool(np.all(start.scale == 1) and np.all(np.mod(start.shift, 1) == 0))
        )

    @property
    def exact_sums(self) -> bool:
        """Whether the source's float32 sums are exact in any order."""
        if self.source is None or self.source.rounded:
            return False
        powers = _power_of_two(np.append(self.alpha, self.source.scale))
        whole = self.source.offset % self.source.scale == 0  # every level is a multiple of the scale
        return bool(np.all(powers)) and whole and (self.integral or not np.any(self.layer.bias))


def _power_of_two(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which values are 0 or ±2^k: with them a sum of ±value is exact in float32 in any order."""
    return np.asarray((values == 0) | (np.abs(np.frexp(values)[0]) == 0.5))


def never_zero(scale: NDArray[np.float32], bias: NDArray[np.float32], window: int, every_position_counts: bool) -> bool:
    """Tell whether fl(fl(acc·scale) + bias) is 0 for no accumulator.

    acc is in [−window, window], with the parity of ``window`` where every position counts (no padding with 0). It can
    only cancel ``bias`` next to ``−bias/scale``, so of each channel the three accumulators around it are tried.
    """
    if np.any(np.abs(scale) < np.float32(1e-20)):  # fl(acc·scale) could underflow, or is always 0
        return bool(np.all(scale == 0) and np.all(bias != 0))
    middle = np.rint(-bias.astype(np.float64) / scale)
    for near in (-1, 0, 1):
        acc = middle + near
        possible = np.abs(acc) <= window
        if every_position_counts:
            possible &= np.mod(acc, 2) == window % 2
        value = acc.astype(np.float32) * scale + bias
        if np.any(possible & (value == 0)):
            return False
    return True
