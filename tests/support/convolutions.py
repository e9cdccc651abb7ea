"""A binary convolution as a test draws it: its geometry, and its sums by the definition."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .integers import accumulate_conv

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """The geometry of one convolution; ``inputs`` and ``outputs`` are channels of a group."""

    batch: int
    group: int
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    size: tuple[int, int]
    pad_value: int

    @property
    def geometry(self) -> dict[str, Any]:
        """The keywords by which builders and the definition take a convolution."""
        return {name: getattr(self, name) for name in ("strides", "pads", "dilations", "group", "pad_value")}

    def sums(self, x: NDArray[Any], w: NDArray[Any]) -> NDArray[np.int64]:
        """Return what the layer must count: x ``[N, C, H, W]`` and w ``[O, C/group, kh, kw]`` of ±1."""
        sums: NDArray[np.int64] = accumulate_conv(x.astype(np.int64), w, **self.geometry)
        return sums
