"""A unit, prepared and bound: packing if its input is floats, then its convolution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..plan.parts import Planned
from ..plan.units import Unit
from .buffers import Buffers
from .conv import conv_steps
from .pack import pack_steps
from .step import Bound, Step
from .weights import PackedLayer, pack_layer

__all__ = ["PreparedUnit"]


@dataclass(frozen=True, eq=False)
class PreparedUnit:
    """A unit whose weights are packed."""

    packed: PackedLayer

    @classmethod
    def of(cls, planned: Planned[Unit]) -> "PreparedUnit":
        """Pack the weights."""
        return cls(pack_layer(planned))

    def bind(self, buffers: Buffers) -> Bound:
        """Return the steps. Raises ModelError where the shapes do not fit."""
        planned, unit = self.packed.planned, self.packed.unit
        steps: list[Step] = []
        if planned not in buffers.images:
            steps += pack_steps(planned, buffers)
        image, batch = buffers.images[planned]
        height, width = unit.layer.output_size(image.height, image.width)
        if height < 1 or width < 1:
            raise ModelError(f"node {unit.name}: an input of {image.height}×{image.width} is smaller than its window")
        target = buffers.new_bits(planned, height, width, batch)
        shape = (batch, height, width, unit.channels_out)
        residual = self._residual(buffers, shape)
        out = None
        if planned.stored:
            place = residual if self._in_place(buffers) else None  # one buffer less in the cache
            if place is not None and unit.residual is not None:
                buffers.hand_over(unit.residual, unit.output, unit.rank)
            out = buffers.new_floats(planned, shape, place)
        return Bound([*steps, *conv_steps(self.packed, image, target, out, residual, buffers)], batch)

    def _in_place(self, buffers: Buffers) -> bool:
        """Tell whether the floats go where the residual lies: it is not the caller's, and not too short-lived."""
        planned, residual, rank = self.packed.planned, self.packed.unit.residual, self.packed.unit.rank
        if not planned.in_place or residual is None or buffers.fed(residual, rank):
            return False
        return planned.until is not None or not buffers.holds(residual, rank)

    def _residual(self, buffers: Buffers, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
        unit = self.packed.unit
        if unit.residual is None:
            return None
        residual = buffers.floats(unit.residual, unit.rank, unit.channels_out, unit.name)
        if residual.shape != shape:
            raise ModelError(f"node {unit.name}: the residual {unit.residual} has another shape than the output")
        return residual
