"""The memory that a session takes for inputs of a shape, told before any of it is taken.

What the kernels keep is known: the plan is bound to the shape as for a run, but no float of it is ever touched, and
what is made is counted. onnxruntime does not say what it takes, so its part is a bound: every value of a float segment,
as if none took the place of another, and every byte of the file as often as loading may copy it. A packed layer that it
runs counts as the float32 weights that it makes of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from ..errors import InputError, ModelError
from ..intake.inference import value_types
from ..intake.limits import current_limits
from ..intake.model import Model, ValueType
from ..intake.structure import ITEM_BYTES
from ..plan.linear import Linear
from ..plan.parts import Planned
from ..plan.plan import Plan
from ..plan.segments import FloatSegment
from ..steps.buffers import Buffers, as_rows, channel_last
from ..steps.prepare import Prepared

__all__ = ["MemoryUse", "forecast"]

_PACKED, _CONSTANTS, _EXPANDED = 4.5, 6, 8
"""How often a byte may lie in memory while the file is opened: of weights that our kernels read, packed ones and those
of float dense layers, of all else in the file, and of the float32 weights that onnxruntime makes of packed ones.

Four (with huge pages), four and six times were seen with onnxruntime 1.32. Of a file of floats 1.19 took one copy more,
and of the floats of packed weights seven and a half times their bytes.
"""

_ENGINE = 2 * 2**20
"""Bytes that onnxruntime takes for a session, however small."""


@dataclass(frozen=True)
class MemoryUse:
    """Bytes, each at most. ``file``: the opened model. ``inputs`` and ``outputs``: the caller's arrays.

    ``kernels``: what the kernels keep for these shapes. ``floats``: what onnxruntime takes to run, a bound.
    """

    file: int
    inputs: int
    outputs: int
    kernels: int
    floats: int

    @property
    def peak(self) -> int:
        """All of it: what a process grows by that opens the model and runs it on inputs of this shape."""
        return self.file + self.inputs + self.outputs + self.kernels + self.floats

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_mebibytes(size)}" for name, size in vars(self).items())
        return f"at most {_mebibytes(self.peak)} ({parts}; the part of onnxruntime, floats, is a bound)"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def forecast(plan: Plan, prepared: Mapping[Planned[Any], Prepared], shapes: Mapping[str, Sequence[int]]) -> MemoryUse:
    """Return what a session of this plan takes for inputs of these shapes.

    Raises InputError for shapes that do not fit the model or pass the limit memory_bytes, and for a model in which the
    size of a value depends on more than them.
    """
    try:
        types = value_types(plan.model.proto, shapes)
    except ModelError as error:
        raise InputError(f"the model cannot run on inputs of these shapes: {error}") from None
    buffers, floats, crossing = Buffers(), 0, 0
    sizes = _Sizes(types)
    for name in shapes:
        buffers.feeds[name] = sizes.empty(name)
    for segment in plan.segments:
        if isinstance(segment, FloatSegment):
            floats += _ENGINE + _float_bytes(plan.model, segment, sizes) * 9 // 8  # an eighth for what it packs
            for name in segment.plain_out:
                buffers.values[name] = sizes.empty(name)
            for name in segment.channel_last_out:
                value = np.moveaxis(sizes.empty(name), 1, -1)
                buffers.values[channel_last(name)] = value if value.ndim == 4 else value[:, None]
            for name in segment.rows_out:
                value = sizes.empty(name)
                buffers.values[as_rows(name)] = value.reshape(-1, value.shape[-1])
            handed = (*segment.plain_out, *segment.channel_last_out, *segment.rows_out)
            crossing += sum(map(sizes.bytes_of, handed))
        else:
            buffers.packed.clear()
            for planned in segment.parts:
                prepared[planned].bind(buffers)
                buffers.release(planned.part)
    outputs = sum(sizes.bytes_of(info.name) for info in plan.model.proto.graph.output)
    taken = current_limits().memory_bytes - buffers.room
    return MemoryUse(
        file=_opened_bytes(plan),
        inputs=sum(sizes.bytes_of(name) for name in shapes),
        outputs=outputs,
        kernels=taken + crossing,
        floats=floats,
    )


def _opened_bytes(plan: Plan) -> int:
    """Return the bytes that opening takes; onnxruntime makes float32 weights of the packed layers that it runs."""
    floats = {node for segment in plan.segments if isinstance(segment, FloatSegment) for node in segment.nodes}
    layers = plan.model.layers.items()
    expanded = sum(4 * math.prod(layer.shape) for index, layer in layers if index in floats)
    packed = sum(layer.packed.nbytes for index, layer in layers if index not in floats)
    packed += sum(planned.part.weight.nbytes for planned in plan.parts if isinstance(planned.part, Linear))
    return int(_PACKED * packed + _CONSTANTS * (plan.model.size - packed) + _EXPANDED * expanded)


class _Sizes:
    """Sizes of values, from their types."""

    def __init__(self, types: Mapping[str, ValueType]) -> None:
        self._types = types

    def bytes_of(self, name: str) -> int:
        known = self._types.get(name)
        if known is None or known.shape is None or not all(isinstance(size, int) for size in known.shape):
            raise InputError(f"the size of value {name} is not known before the model runs; measure it on the device")
        return ITEM_BYTES.get(known.elem, 8) * math.prod(size for size in known.shape if isinstance(size, int))

    def empty(self, name: str) -> NDArray[Any]:
        """Return an array of the shape and dtype of a value that takes no memory; nobody may write to it."""
        self.bytes_of(name)
        known = self._types[name]
        dtype = helper.tensor_dtype_to_np_dtype(known.elem)
        return np.broadcast_to(np.zeros((), dtype), cast("tuple[int, ...]", known.shape))


def _float_bytes(model: Model, segment: FloatSegment, sizes: _Sizes) -> int:
    """Return the bytes of all values that a segment makes, and of those that it turns at its borders."""
    nodes = [model.proto.graph.node[index] for index in segment.nodes]
    made = {name for node in nodes for name in node.output if name}
    turned = [*segment.channel_last_in, *segment.rows_in]
    turned += [*segment.plain_out, *segment.channel_last_out, *segment.rows_out]
    return sum(map(sizes.bytes_of, made)) + sum(map(sizes.bytes_of, turned))
