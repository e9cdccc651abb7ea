"""The memory of one set of input shapes: values that cross between parts and segments, and packed images."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layout.images import PackedImage, new_image
from ..layout.memory import aligned
from ..plan.parts import Part, Planned
from ..plan.units import Unit

__all__ = ["Arrays", "Buffers", "channel_last"]

Arrays = dict[str, NDArray[Any]]


def channel_last(name: str) -> str:
    """Return the name under which the NHWC form of a value crosses a border."""
    return f"{name}·nhwc"


def port(name: str, rank: int) -> str:
    """Return the name of a value in the layout of the kernels; one of rank 2 has but one layout."""
    return channel_last(name) if rank == 4 else name


@dataclass
class Buffers:
    """Arrays by port name, made once; ``feeds`` are the caller's, new at each run.

    ``images`` are the packed inputs of units with the number of images in the batch (an image that is read in the
    segment that makes it is kept once). ``tables`` are pixel tables by content: layers of one geometry share one, which
    then stays in the cache.
    """

    feeds: Arrays = field(default_factory=dict)
    values: Arrays = field(default_factory=dict)
    images: dict[Planned[Unit], tuple[PackedImage, int]] = field(default_factory=dict)
    tables: dict[bytes, NDArray[np.int32]] = field(default_factory=dict)

    def take(self, name: str) -> NDArray[Any]:
        """Return a buffer by port name, or the fed input of that name."""
        return self.feeds[name] if name in self.feeds else self.values[name]

    def fed(self, name: str, rank: int) -> bool:
        """Tell whether the caller feeds a value of this rank in the layout of the kernels."""
        return port(name, rank) in self.feeds

    def floats(self, name: str, rank: int) -> NDArray[np.float32]:
        """Return a value of this rank as ``[N, H, W, C]``."""
        value = self.take(port(name, rank))
        return value if rank == 4 else value[:, None, None, :]

    def new_floats(self, part: Part, shape: tuple[int, ...], place: NDArray[np.float32] | None = None) -> NDArray[Any]:
        """Return the float32 ``[N, H, W, O]`` output of a part: ``place`` if it is given, else a new buffer."""
        out: NDArray[np.float32] = aligned(math.prod(shape), np.float32).reshape(shape) if place is None else place
        self.values[port(part.output, part.rank)] = out if part.rank == 4 else out[:, 0, 0]
        return out

    def new_bits(self, planned: Planned[Any], height: int, width: int, batch: int) -> PackedImage | None:
        """Return the packed image for the reader of an output of this size, None where nobody reads it as bits."""
        reader = planned.bits_for
        if reader is None:
            return None
        count = batch if planned.bits_kept else 1
        image = new_image(reader.part.layer, reader.kernel.format, height, width, count)
        self.images[reader] = image, batch
        return image

    def shared(self, table: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the table of the same content that is kept already, or this one, which is kept from now on."""
        return self.tables.setdefault(table.tobytes(), table)
