"""The step that packs floats to bits, max-pooled before if the unit says so."""

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..kernels.entry import entry_point
from ..layout.words import PackWord
from ..plan.parts import Planned
from ..plan.units import Unit
from .buffers import Buffers
from .step import NAN_IN_POOL, Step, descriptor, image_stride

__all__ = ["pack_steps"]


def pack_steps(planned: Planned[Unit], buffers: Buffers) -> list[Step]:
    """Bind the packing of a unit's source to a new image, the unit's input.

    None where a unit of this segment packs the same value alike: its image serves both.
    """
    unit, key = planned.part, _likeness(planned)
    if (image := buffers.packed.get(key)) is not None:
        batch = len(buffers.floats(unit.source, unit.rank, unit.layer.channels // unit.copies, unit.name, sliced=True))
        buffers.images[planned] = replace(image, layer=unit.counted(planned.kernel.planes)), batch
        return []
    step = _pack_step(planned, buffers)
    buffers.packed[key] = buffers.images[planned][0]
    return [step]


def _likeness(planned: Planned[Unit]) -> Hashable:
    """Return all that says what a unit's packed input holds, and where."""
    unit, layer = planned.part, planned.part.layer
    limits = tuple(value.tobytes() for value in vars(unit.threshold).values())
    lies = layer.group, layer.shape[1], layer.pads, layer.pad_value, layer.strides
    return (
        unit.source,
        unit.rank,
        unit.pool,
        unit.pools_floats,
        unit.copies,
        unit.gate,
        limits,
        planned.kernel.format,
        planned.kernel.planes,
        lies,
    )


def _pack_step(planned: Planned[Unit], buffers: Buffers) -> Step:
    unit = planned.part
    source = buffers.floats(unit.source, unit.rank, unit.layer.channels // unit.copies, unit.name, sliced=True)
    height, width = source.shape[1:3] if unit.pool is None else unit.pool.output_size(*source.shape[1:3])
    if height < 1 or width < 1:
        raise ModelError(f"node {unit.name}: {unit.source} is smaller than the window of the pool before it")
    image = buffers.new_image(planned, height, width, 1, len(source))
    thresholds = np.stack([unit.threshold.value, unit.threshold.turn])
    row, pixel = (stride // 4 for stride in source.strides[1:3])
    groups, channels = image.format.groups(image.layer)
    group_bytes, group_stride = image.format.group_bytes(channels), channels
    if image.planes > 1:
        group_bytes = image.plane_bytes
    elif unit.copies > 1:  # one group of the image, filled copy by copy: whole bytes of the same channels
        groups, channels, group_stride = unit.copies, channels // unit.copies, 0
        group_bytes = channels // image.format.per_byte
    keep: list[Any] = [thresholds, image]
    values: dict[PackWord, int | NDArray[np.float32]] = {
        PackWord.SOURCE: source,
        PackWord.SOURCE_STRIDE: image_stride(source),
        PackWord.ROW_STRIDE: row,
        PackWord.PIXEL_STRIDE: pixel,
        PackWord.THRESHOLD: thresholds,
        PackWord.TURN: thresholds.strides[0] if unit.threshold.falling.any() else 0,
        PackWord.TARGET: image.data.ctypes.data + image.origin,
        PackWord.TARGET_STRIDE: image_stride(image.data),
        PackWord.WIDTH: image.width,
        PackWord.ROW_BYTES: image.row_bytes,
        PackWord.PIXEL_BYTES: image.pixel_bytes,
        PackWord.GROUPS: groups,
        PackWord.GROUP_CHANNELS: channels,
        PackWord.GROUP_BYTES: group_bytes,
        PackWord.GROUP_STRIDE: group_stride,
        PackWord.NIBBLES: image.format.per_byte == 4,
    }
    if unit.gate is not None:
        gate = buffers.floats(unit.gate, unit.rank, unit.layer.channels, unit.name)
        if gate.shape != (len(source), 1, 1, unit.layer.channels):
            raise ModelError(
                f"node {unit.name}: the gate {unit.gate} is {list(gate.shape)}, channels last; "
                f"it is no number for each of {len(source)} images and {unit.layer.channels} channels"
            )
        values[PackWord.TURN] = gate.ctypes.data - thresholds.ctypes.data
        values[PackWord.TURN_STRIDE] = image_stride(gate)
        keep.append(gate)
    if (pool := unit.pool) is not None:
        values |= {
            PackWord.SOURCE_HEIGHT: source.shape[1],
            PackWord.SOURCE_WIDTH: source.shape[2],
            PackWord.POOL_HEIGHT: pool.kernel[0],
            PackWord.POOL_WIDTH: pool.kernel[1],
            PackWord.POOL_STRIDE_Y: pool.strides[0],
            PackWord.POOL_STRIDE_X: pool.strides[1],
            PackWord.POOL_TOP: pool.pads[0],
            PackWord.POOL_LEFT: pool.pads[1],
        }
    if image.planes > 1:
        call = entry_point("pack_planes", "pack_planes")
    else:
        call = entry_point("pack", "pack_floats" if pool is None else "pack_pooled")
    words = descriptor(PackWord, values)
    fed = (int(PackWord.SOURCE), unit.source) if buffers.fed(unit.source, unit.rank) else None
    nan = (int(PackWord.NAN), NAN_IN_POOL) if unit.pools_floats else None
    return Step(f"{unit.name}:pack", call, words, image.height, [values, *keep], fed, nan)
