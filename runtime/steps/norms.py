"""Layer normalizations, aliases and regroups, prepared and bound."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..kernels.entry import entry_point
from ..layout.float_words import NormWord
from ..layout.move_words import RegroupWord
from ..plan.alias import Alias
from ..plan.norm import Norm
from ..plan.parts import Planned
from ..plan.regroup import Regroup
from .buffers import Buffers, port
from .step import Bound, Step, descriptor, image_stride

__all__ = ["PreparedAlias", "PreparedNorm", "PreparedRegroup"]

_BLOCK = 1024
"""Floats of a block of rows, about."""


@dataclass(frozen=True, eq=False)
class PreparedNorm:
    """A layer normalization of rows."""

    planned: Planned[Norm]

    @classmethod
    def of(cls, planned: Planned[Norm]) -> "PreparedNorm":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step."""
        norm = self.planned.part
        source = buffers.floats(norm.source, norm.rank, norm.channels, norm.name)
        rows, per = source.shape[1], max(1, _BLOCK // norm.channels)
        values = {
            NormWord.SOURCE: source,
            NormWord.OUT: buffers.new_floats(self.planned, source.shape),
            NormWord.ROWS: rows,
            NormWord.PER: per,
            NormWord.CHANNELS: norm.channels,
            NormWord.SCALE: norm.scale,
            NormWord.BIAS: norm.bias,
            NormWord.EPSILON: np.array([norm.epsilon]),
        }
        words, work = descriptor(NormWord, values), math.ceil(rows / per)
        return Bound([Step(norm.name, entry_point("norm", "norm"), words, work, [values])], 1)


@dataclass(frozen=True, eq=False)
class PreparedAlias:
    """A value in the memory of another one."""

    planned: Planned[Alias]

    @classmethod
    def of(cls, planned: Planned[Alias]) -> "PreparedAlias":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return no steps. Raises ModelError where the rows are not those of whole images."""
        alias = self.planned.part
        height, width = alias.size or (1, 1)
        source, batch = _images(alias, height * width, buffers)
        name = port(alias.output, alias.rank)
        if alias.rank == 4:
            buffers.values[name] = source.reshape(batch, height, width, alias.channels)
            return Bound([], batch)
        buffers.values[name] = source.reshape(batch, alias.channels)
        return Bound([], 1)


@dataclass(frozen=True, eq=False)
class PreparedRegroup:
    """Pixels in another order."""

    planned: Planned[Regroup]

    @classmethod
    def of(cls, planned: Planned[Regroup]) -> "PreparedRegroup":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step. Raises ModelError where the pixels are not those of whole images."""
        regroup = self.planned.part
        channels, order, pixels = regroup.channels, regroup.order, len(regroup.order)
        source, batch = _images(regroup, pixels, buffers)
        if regroup.rank == 4:
            shape = (batch, *(regroup.size or (1, 1)), channels)
        else:  # rows of all images are taken together
            shape = (1, batch * pixels, 1, channels)
            order = (np.arange(batch)[:, None] * pixels + order).reshape(-1)
        out = buffers.new_floats(self.planned, shape)
        per = max(1, _BLOCK // channels)
        values: dict[RegroupWord, int | NDArray[np.float32] | NDArray[np.int64]] = {
            RegroupWord.SOURCE: source,
            RegroupWord.SOURCE_STRIDE: image_stride(source.reshape(batch, -1)) if regroup.rank == 4 else 0,
            RegroupWord.OUT: out,
            RegroupWord.OUT_STRIDE: image_stride(out),
            RegroupWord.CHANNELS: channels,
            RegroupWord.PIXELS: len(order),
            RegroupWord.PER: per,
            RegroupWord.ORDER: order,
        }
        words, work = descriptor(RegroupWord, values), math.ceil(len(order) / per)
        step = Step(regroup.name, entry_point("regroup", "regroup"), words, work, [values])
        return Bound([step], batch if regroup.rank == 4 else 1)


def _images(part: Alias | Regroup, pixels: int, buffers: Buffers) -> tuple[NDArray[np.float32], int]:
    """Return what a part reads, and how many images of so many pixels that is."""
    source = buffers.floats(part.source, part.source_rank, part.channels, part.name)
    batch, rest = divmod(source.size // part.channels, pixels)
    if rest:
        raise ModelError(f"node {part.name}: {source.size // part.channels} rows are no images of {pixels} pixels")
    return source, batch
