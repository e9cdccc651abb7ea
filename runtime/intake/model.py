"""A model as the runtime sees it: the file, its constants and types, and its packed operators, checked."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..bits import unpack_conv_weight
from ..operators import SIGNATURES

__all__ = ["BinarizeNode", "BinaryLayer", "Model", "ValueType"]


@dataclass(frozen=True)
class ValueType:
    """Type of a value: ``elem`` an ONNX element type, ``shape`` with ints, names of symbols, or None where unknown."""

    elem: int
    shape: tuple[int | str | None, ...] | None

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of a value of rank 4, where both are known."""
        if self.shape is None or len(self.shape) != 4:
            return None
        height, width = self.shape[2:]
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None


@dataclass(frozen=True)
class BinarizeNode:
    """``output = +1 where input >= threshold else −1``; ``threshold`` is None where it is no constant."""

    name: str
    input: str
    output: str
    threshold: NDArray[np.float32] | None


@dataclass(frozen=True)
class BinaryLayer:
    """A convolution with packed weights, or a dense layer read as a 1×1 convolution over a 1×1 image.

    ``shape`` is that of the weight, ``[O, C/group, kh, kw]``; ``packed`` holds it as the file does, uint8
    ``[O, kh, kw, ceil(C/group / 8)]``; ``scale``, ``bias`` float32 ``[O]``; ``pads`` top, left, bottom, right;
    ``size`` height and width of the input where the file says them. What the layer is fed may have others.
    """

    name: str
    op_type: str
    input: str
    output: str
    shape: tuple[int, int, int, int]
    packed: NDArray[np.uint8] = field(repr=False)
    scale: NDArray[np.float32] = field(repr=False)
    bias: NDArray[np.float32] = field(repr=False)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    group: int = 1
    pad_value: int = 0
    size: tuple[int, int] | None = None

    @property
    def weight(self) -> NDArray[np.int8]:
        """The weight as ±1 int8 ``[O, C/group, kh, kw]``: eight times as large, so made anew at each use."""
        return unpack_conv_weight(self.packed, self.shape)

    @property
    def rank(self) -> int:
        """Rank of the values in the file: 4 of a convolution, ``[N, C, H, W]``, 2 of a dense layer, ``[N, C]``."""
        return SIGNATURES[self.op_type].rank

    @property
    def dense(self) -> bool:
        """Whether the layer is dense."""
        return self.rank == 2

    @property
    def real_input(self) -> bool:
        """Whether the input is real and only the weights are binary: a float operator to us."""
        return SIGNATURES[self.op_type].real_input

    @property
    def channels(self) -> int:
        """Input channels C."""
        return self.shape[1] * self.group

    @property
    def window(self) -> int:
        """Inputs per output K = C/group · kh · kw, the largest |accumulator|."""
        return math.prod(self.shape[1:])

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return output height and width for an input of ``height`` × ``width``."""
        size = []
        for axis, length in enumerate((height, width)):
            span = self.dilations[axis] * (self.shape[2 + axis] - 1) + 1
            padded = length + self.pads[axis] + self.pads[axis + 2]
            size.append((padded - span) // self.strides[axis] + 1)
        return size[0], size[1]


@dataclass(frozen=True)
class Model:
    """A validated model: ``constants`` by value name, ``types`` by value name, binary operators by node index.

    ``proto`` is the file's, of ``size`` bytes, without the data of its large constants: those are in ``constants``.
    """

    proto: onnx.ModelProto
    size: int
    constants: dict[str, NDArray[Any]]
    types: dict[str, ValueType]
    layers: dict[int, BinaryLayer]
    binarizes: dict[int, BinarizeNode]
