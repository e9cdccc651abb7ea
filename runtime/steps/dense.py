"""The dense layer with real inputs, prepared and bound."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.entry import entry_point
from ..layout.float_words import SIGNED_BLOCK, SignedWord
from ..layout.signed import pack_signed
from ..plan.dense import Dense
from ..plan.parts import Planned
from .buffers import Buffers
from .step import Bound, Step, descriptor

__all__ = ["PreparedDense"]


@dataclass(frozen=True, eq=False)
class PreparedDense:
    """A dense layer with its weights uint32, one bit each, as its kernel reads them."""

    planned: Planned[Dense]
    weight: NDArray[np.uint32]

    @classmethod
    def of(cls, planned: Planned[Dense]) -> "PreparedDense":
        """Lay out the weights."""
        return cls(planned, pack_signed(planned.part.layer, planned.kernel.form))

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step."""
        dense, kernel = self.planned.part, self.planned.kernel
        layer = dense.layer
        outputs, inputs = layer.shape[:2]
        source = buffers.floats(layer.input, dense.rank, inputs, dense.name)
        rows = source.shape[1]  # the pixels of one image
        out = buffers.new_floats(self.planned, (1, rows, 1, outputs))
        scale, bias = (np.ascontiguousarray(constant) for constant in (layer.scale, layer.bias))
        values: dict[SignedWord, int | NDArray[Any]] = {
            SignedWord.SOURCE: source,
            SignedWord.OUT: out,
            SignedWord.ROWS: rows,
            SignedWord.INPUTS: inputs,
            SignedWord.OUTPUTS: outputs,
            SignedWord.WEIGHT: self.weight,
            SignedWord.SCALE: scale,
            SignedWord.BIAS: bias,
        }
        words, work = descriptor(SignedWord, values), rows * math.ceil(outputs / SIGNED_BLOCK)
        fed = (int(SignedWord.SOURCE), layer.input) if buffers.fed(layer.input, dense.rank) else None
        return Bound([Step(dense.name, entry_point(kernel.module, kernel.symbol), words, work, [values], fed)], 1)
