"""The memory of one set of input shapes: values that cross between parts and segments, and packed images."""

import hashlib
import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ModelError
from ..intake.limits import current_limits
from ..layout.images import PackedImage, new_image
from ..layout.memory import aligned
from ..plan.parts import Part, Place, Planned
from ..plan.units import Unit

__all__ = ["Arrays", "Buffers", "as_rows", "channel_last", "check_offsets", "port", "shared"]

_OFFSETS = 2**31
Arrays = dict[str, NDArray[Any]]


_tables: WeakValueDictionary[bytes, NDArray[np.int32]] = WeakValueDictionary()
"""Pixel tables that steps hold, by their sha256."""


def shared(table: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the table of the same content that some step holds already, or this one.

    Layers of one geometry share one, in all sessions: it stays in the cache.
    """
    return _tables.setdefault(hashlib.sha256(table.data).digest(), table)


def check_offsets(size: int, reader: str) -> None:
    """Raise InputError where an image of ``size`` bytes is too large for offsets of 32 bits."""
    if size >= _OFFSETS:
        raise InputError(f"node {reader}: a packed image of {size} bytes passes 2 GiB; feed a smaller image")


def channel_last(name: str) -> str:
    """Return the name under which the NHWC form of a value crosses a border."""
    return f"{name}·nhwc"


def as_rows(name: str) -> str:
    """Return the name under which a value of more axes than two crosses a border as rows."""
    return f"{name}·rows"


def port(name: str, rank: int) -> str:
    """Return the name of a value in the layout of the kernels; one of rank 2 has but one layout."""
    return {4: channel_last, 3: as_rows}.get(rank, str)(name)


@dataclass
class Buffers:
    """Arrays by port name, made once; ``feeds`` are the caller's, new at each run.

    ``images`` are the packed inputs of units with the number of images in the batch (an image that is read in the
    segment that makes it is kept once).
    """

    feeds: Arrays = field(default_factory=dict)
    values: Arrays = field(default_factory=dict)
    images: dict[Planned[Unit], tuple[PackedImage, int]] = field(default_factory=dict)
    packed: dict[Hashable, PackedImage] = field(default_factory=dict)
    """Packed images of the segment that is bound by what was packed and how: units that pack alike share one."""
    moved: dict[str, set[tuple[str, int, int, int]]] = field(default_factory=dict)
    """By home what was copied into it: channels of which value, from which one on, how many, and where to."""
    _homes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    _slices: set[str] = field(default_factory=set)
    _held: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    _free: list[NDArray[np.float32]] = field(default_factory=list)
    _ending: dict[Part, list[str]] = field(default_factory=dict)
    room: int = field(default_factory=lambda: current_limits().memory_bytes)

    def reserve(self, size: int, reader: str) -> None:
        """Take ``size`` bytes of the room that is left. Raises InputError, before they are made, where they pass it."""
        self.room -= size
        if self.room < 0:
            raise InputError(
                f"node {reader}: inputs of this size need more memory than the limit memory_bytes allows; "
                "feed smaller ones, or raise it in LATENTBIT_LIMITS"
            )

    def take(self, name: str) -> NDArray[Any]:
        """Return a buffer by port name, or the fed input of that name."""
        return self.feeds[name] if name in self.feeds else self.values[name]

    def fed(self, name: str, rank: int) -> bool:
        """Tell whether the caller feeds a value of this rank in the layout of the kernels."""
        return port(name, rank) in self.feeds

    def floats(self, name: str, rank: int, channels: int, reader: str, *, sliced: bool = False) -> NDArray[np.float32]:
        """Return a value of this rank as ``[N, H, W, C]``; InputError where it is not what its reader indexes.

        Rows ``[R, C]`` are the pixels of one image, ``[1, R, 1, C]``: a kernel takes them together.
        ``sliced``: the reader minds the strides, so that the value may be channels of a wider one (plan/joins.py).
        """
        wanted = np.dtype(np.float32), 4 if rank == 4 else 2, channels
        value = self._checked(name, self.take(port(name, rank)), wanted, reader)
        assert sliced or port(name, rank) not in self._slices, f"{reader} takes {name} as if it had its memory alone"
        return value if rank == 4 else value[None, :, None, :]

    def pixels(self, name: str, channels: int, reader: str) -> NDArray[np.uint8]:
        """Return fed pixels, uint8 ``[N, H, W, C]``; InputError where they are not what their reader indexes."""
        return self._checked(name, self.take(name), (np.dtype(np.uint8), 4, channels), reader)

    def _checked(
        self, name: str, value: NDArray[Any], wanted: tuple[np.dtype[Any], int, int], reader: str
    ) -> NDArray[Any]:
        """Return a value if it is not empty, and of the dtype, rank and channels (its last axis) that are wanted."""
        found = value.dtype, value.ndim, value.shape[-1] if value.ndim else 0
        if found != wanted or not value.size:
            dtype, rank, channels = wanted
            raise InputError(
                f"node {reader} reads {name} as {dtype} of rank {rank} with {channels} channels; it is {value.dtype} "
                f"{list(value.shape)}, channels last; feed inputs of the shape that the model was exported for"
            )
        return value

    def new_floats(
        self, planned: Planned[Any], shape: tuple[int, ...], place: NDArray[np.float32] | None = None
    ) -> NDArray[Any]:
        """Return the float32 ``[N, H, W, O]`` output of a part: ``place`` if it is given, else memory for it.

        Where it ends in its own segment all images of a batch share the memory of one, which then has no stride.
        """
        part, out = planned.part, place
        name = port(part.output, part.rank)
        if out is None and planned.place is not None:
            out = self._in_home(planned, planned.place, shape)
        elif out is None:
            out = self._memory(planned, name, shape)
        elif planned.until is not None:
            self._ending.setdefault(planned.until, []).append(name)
        if planned.place is not None and not out[0].flags.c_contiguous:
            self._slices.add(name)
        self.values[name] = out if part.rank == 4 else out[0, :, 0]
        return out

    def _memory(self, planned: Planned[Any], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return memory of this shape, held under ``name`` until its last reader is bound if there is one."""
        reader, size = planned.part.name, math.prod(shape[1:])
        if planned.until is not None:
            self._ending.setdefault(planned.until, []).append(name)
            self._held[name] = block = self._block(size, reader)
            return np.broadcast_to(block[:size].reshape(1, *shape[1:]), shape)
        self.reserve(4 * shape[0] * size, reader)  # never in memory that served another value: see the next image
        return aligned(shape[0] * size, np.float32).reshape(shape)

    def _in_home(self, planned: Planned[Any], place: Place, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the channels of a wider value that an output is, with the memory of that value if it is the first."""
        home = self._homes.get(place.home)
        if home is None:
            whole = (*shape[:3], place.channels)
            home = self._homes[place.home] = self._memory(planned, port(place.home, 4), whole)
        if home.shape[:3] != shape[:3]:
            raise ModelError(
                f"node {planned.part.name}: its output is {list(shape)}, channels last, and is joined with images of "
                f"{home.shape[1]}×{home.shape[2]}"
            )
        return home[..., place.first : place.first + shape[3]]

    def _block(self, size: int, reader: str) -> NDArray[np.float32]:
        """Return memory of at least so many floats: what was given back last and is large enough, or new."""
        for index in range(len(self._free) - 1, -1, -1):
            if len(self._free[index]) >= size:
                return self._free.pop(index)
        self.reserve(4 * size, reader)
        return aligned(size, np.float32)

    def holds(self, name: str, rank: int) -> bool:
        """Tell whether a value lies in memory that will serve another one."""
        return port(name, rank) in self._held

    def hand_over(self, source: str, target: str, rank: int) -> None:
        """Let a value have the memory of another one, in whose place it is written."""
        if (block := self._held.pop(port(source, rank), None)) is not None:
            self._held[port(target, rank)] = block

    def release(self, part: Part) -> None:
        """Take back the memory of what was read by this part for the last time, once it is bound."""
        for name in self._ending.pop(part, ()):
            if (block := self._held.pop(name, None)) is not None:
                self._free.append(block)

    def new_bits(self, planned: Planned[Any], height: int, width: int, batch: int) -> PackedImage | None:
        """Return the packed image for the reader of an output of this size, None where nobody reads it as bits."""
        reader = planned.bits_for
        if reader is None:
            return None
        return self.new_image(reader, height, width, batch if planned.bits_kept else 1, batch)

    def new_image(self, planned: Planned[Unit], height: int, width: int, count: int, batch: int) -> PackedImage:
        """Return the packed input of a unit for ``count`` images of a batch.

        Raises InputError for an image whose offsets do not fit in the pixel table (layout/tables.py).
        """
        form, name, planes = planned.kernel.format, planned.part.name, planned.kernel.planes
        layer = planned.part.counted(planes)
        top, left, bottom, right = layer.pads
        pixel = form.pixel_bytes(layer)
        size = planes * (height + top + bottom) * (width + left + right) * pixel
        check_offsets(size, name)
        self.reserve(2 * count * size + layer.strides[1] * pixel, name)  # twice: its border is laid out beside it
        image = new_image(layer, form, height, width, count, planes)
        self.images[planned] = image, batch
        return image
