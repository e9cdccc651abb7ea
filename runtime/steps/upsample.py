"""Nearest upsampling, prepared and bound."""

from dataclasses import dataclass

from ..errors import ModelError
from ..kernels.entry import entry_point
from ..layout.move_words import UpsampleWord
from ..plan.parts import Planned
from ..plan.upsample import Upsample
from .buffers import Buffers
from .step import Bound, Step, descriptor, image_stride

__all__ = ["PreparedUpsample"]


@dataclass(frozen=True, eq=False)
class PreparedUpsample:
    """Nearest upsampling by whole factors."""

    planned: Planned[Upsample]

    @classmethod
    def of(cls, planned: Planned[Upsample]) -> "PreparedUpsample":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step. Raises ModelError where the image is of another size than the file says."""
        part = self.planned.part
        source = buffers.floats(part.of.source, part.rank, part.channels, part.name, sliced=True)
        batch, height, width, channels = source.shape
        rows, columns = part.of.size
        if rows % height or columns % width:
            raise ModelError(
                f"node {part.name}: {part.of.source} has images of {height}×{width}, which cannot be repeated to "
                f"{rows}×{columns} pixels; the file says that they are of another size"
            )
        out = buffers.new_floats(self.planned, (batch, rows, columns, channels))
        values = {
            UpsampleWord.SOURCE: source,
            UpsampleWord.SOURCE_STRIDE: image_stride(source),
            UpsampleWord.ROW: source.strides[1],
            UpsampleWord.PIXEL: source.strides[2],
            UpsampleWord.WIDTH: width,
            UpsampleWord.CHANNELS: channels,
            UpsampleWord.FACTOR_Y: rows // height,
            UpsampleWord.FACTOR_X: columns // width,
            UpsampleWord.OUT: out,
            UpsampleWord.OUT_STRIDE: image_stride(out),
            UpsampleWord.OUT_ROW: out.strides[1],
            UpsampleWord.OUT_PIXEL: out.strides[2],
        }
        words = descriptor(UpsampleWord, values)
        return Bound([Step(part.name, entry_point("route", "upsample"), words, rows, [values, source])], batch)
