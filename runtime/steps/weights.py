"""A unit's layer as its kernel reads it: packed weights, constants of the epilogue, a table that leads to both."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..bits import clear_tail
from ..intake.model import BinaryLayer
from ..kernels.registry import Kernel
from ..layout.tables import block_table
from ..layout.weights import pack_constants, pack_weights
from ..layout.words import Constant
from ..plan.parts import Planned
from ..plan.units import Unit

__all__ = ["PackedLayer", "pack_layer"]


@dataclass(frozen=True, eq=False)
class PackedLayer:
    """What a unit needs for any input size.

    ``layer`` is that of the unit, or one copy of it where the kernel reads planes, with negated weights where a bit
    falls with the accumulator (plan/thresholds.py).
    """

    planned: Planned[Unit]
    layer: BinaryLayer
    weights: NDArray[np.uint8]
    constants: NDArray[np.float32]
    blocks: NDArray[np.int64]
    pad_error: NDArray[np.int64]

    @property
    def unit(self) -> Unit:
        """The unit."""
        return self.planned.part

    @property
    def kernel(self) -> Kernel:
        """Its kernel."""
        kernel: Kernel = self.planned.kernel
        return kernel

    def with_constants(self, values: dict[Constant, NDArray[np.float32]]) -> "PackedLayer":
        """Return the same weights with other constants ``[O]``; those that are not given are zeros."""
        kernel = self.kernel
        constants = pack_constants(kernel.format.groups(self.layer)[0], kernel.lanes, kernel.width, values)
        blocks = block_table(self.layer, kernel.format, kernel.lanes, self.weights, constants)
        return replace(self, constants=constants, blocks=blocks)


def pack_layer(planned: Planned[Unit]) -> PackedLayer:
    """Pack weights and constants. One that the file does not have is such that no bit changes: x − 0, 1 · x, x + −0."""
    unit, kernel, layer = planned.part, planned.kernel, planned.part.counted(planned.kernel.planes)
    if planned.thresholds is not None:
        layer = _negated(layer, planned.thresholds.falling)
    if kernel.pack is not None:
        weights = kernel.pack(layer)
    else:
        weights = pack_weights(layer, kernel.format, kernel.lanes, kernel.lane_order, kernel.turn_bytes)
    values = {
        Constant.SCALE: np.float32(2) * unit.layer.scale,
        Constant.BIAS: unit.layer.bias,
        Constant.SHIFT_IN: _or(unit.shift_in, unit.channels_out, 0.0),
        Constant.SLOPE: _or(unit.slope, unit.channels_out, 1.0),
        Constant.SHIFT_OUT: _or(unit.shift_out, unit.channels_out, -0.0),
    }
    if planned.bits_for is not None:
        threshold = planned.bits_for.part.threshold
        values |= {Constant.THRESHOLD: threshold.value, Constant.TURN: threshold.turn}
    error = kernel.format.pad_error(layer)
    nothing = np.zeros(0, np.float32)
    return PackedLayer(planned, layer, weights, nothing, np.zeros(0, np.int64), error).with_constants(values)


def _negated(layer: BinaryLayer, channels: NDArray[np.bool_]) -> BinaryLayer:
    """Return the layer with the weights of some output channels negated (its accumulators change sign there)."""
    if not channels.any():
        return layer
    turned = layer.packed ^ np.where(channels, np.uint8(0xFF), np.uint8(0))[:, None, None, None]
    return replace(layer, packed=clear_tail(turned, layer.shape[1]))


def _or(value: NDArray[np.float32] | None, channels: int, missing: float) -> NDArray[np.float32]:
    return np.full(channels, missing, np.float32) if value is None else value
