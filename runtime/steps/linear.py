"""The float dense layer, prepared and bound."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.entry import entry_point
from ..layout.float_words import LINEAR_BLOCK, LINEAR_GROUP, LinearWord
from ..layout.memory import aligned
from ..plan.linear import Linear
from ..plan.parts import Planned
from .buffers import Buffers
from .step import Bound, Step, descriptor

__all__ = ["PreparedLinear"]


@dataclass(frozen=True, eq=False)
class PreparedLinear:
    """A dense layer with its weight float32 ``[O / 16, K, 16]``, filled up with zeros, and bias ``[O]``."""

    planned: Planned[Linear]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def of(cls, planned: Planned[Linear]) -> "PreparedLinear":
        """Lay out the weight."""
        given = planned.part.weight
        inputs, outputs = given.shape
        blocks, whole = math.ceil(outputs / LINEAR_BLOCK), outputs // LINEAR_BLOCK
        weight = aligned(blocks * inputs * LINEAR_BLOCK, np.float32).reshape(blocks, inputs, LINEAR_BLOCK)
        first = whole * LINEAR_BLOCK
        weight[:whole] = given[:, :first].reshape(inputs, whole, LINEAR_BLOCK).transpose(1, 0, 2)
        weight[whole:] = 0
        weight[whole:, :, : outputs - first] = given[:, first:]
        return cls(planned, weight, np.ascontiguousarray(planned.part.bias, np.float32))

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step."""
        linear = self.planned.part
        inputs, outputs = linear.weight.shape
        source = buffers.floats(linear.source, linear.rank, inputs, linear.name)
        rows = source.shape[1]  # the pixels of one image
        out = buffers.new_floats(self.planned, (1, rows, 1, outputs))
        values: dict[LinearWord, int | NDArray[Any]] = {
            LinearWord.SOURCE: source,
            LinearWord.OUT: out,
            LinearWord.ROWS: rows,
            LinearWord.INPUTS: inputs,
            LinearWord.OUTPUTS: outputs,
            LinearWord.WEIGHT: self.weight,
            LinearWord.BIAS: self.bias,
        }
        words, work = descriptor(LinearWord, values), math.ceil(outputs / (LINEAR_BLOCK * LINEAR_GROUP))
        fed = (int(LinearWord.SOURCE), linear.source) if buffers.fed(linear.source, linear.rank) else None
        call = entry_point("linear", self.planned.kernel.symbol)
        return Bound([Step(linear.name, call, words, work, [values], fed)], 1)
