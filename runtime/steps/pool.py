"""A pool, prepared and bound."""

from dataclasses import dataclass

from ..errors import ModelError
from ..kernels.entry import entry_point
from ..layout.float_words import PoolWord
from ..plan.parts import Planned
from ..plan.pool import Pool
from .buffers import Buffers
from .step import NAN_IN_POOL, Bound, Step, descriptor, image_stride

__all__ = ["PreparedPool"]


@dataclass(frozen=True, eq=False)
class PreparedPool:
    """A max-pool or an average pool."""

    planned: Planned[Pool]

    @classmethod
    def of(cls, planned: Planned[Pool]) -> "PreparedPool":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step. Raises ModelError where the image is smaller than the window."""
        pool = self.planned.part
        window, mean = pool.of.window, pool.of.mean
        source = buffers.floats(pool.of.source, pool.rank, pool.channels, pool.name, sliced=True)
        batch, height, width, channels = source.shape
        out_height, out_width = window.output_size(height, width)
        if out_height < 1 or out_width < 1:
            raise ModelError(f"node {pool.name}: an image of {height}×{width} is smaller than its window")
        out = buffers.new_floats(self.planned, (batch, out_height, out_width, channels))
        values = {
            PoolWord.SOURCE: source,
            PoolWord.SOURCE_STRIDE: image_stride(source),
            PoolWord.ROW: source.strides[1],
            PoolWord.PIXEL: source.strides[2],
            PoolWord.HEIGHT: height,
            PoolWord.WIDTH: width,
            PoolWord.CHANNELS: channels,
            PoolWord.POOL_HEIGHT: window.kernel[0],
            PoolWord.POOL_WIDTH: window.kernel[1],
            PoolWord.STRIDE_Y: window.strides[0],
            PoolWord.STRIDE_X: window.strides[1],
            PoolWord.TOP: window.pads[0],
            PoolWord.LEFT: window.pads[1],
            PoolWord.DIVISOR: 0 if pool.of.inside else window.kernel[0] * window.kernel[1],
            PoolWord.MEAN: int(mean),
            PoolWord.OUT: out,
            PoolWord.OUT_STRIDE: image_stride(out),
            PoolWord.OUT_ROW: out.strides[1],
            PoolWord.OUT_PIXEL: out.strides[2],
            PoolWord.OUT_WIDTH: out_width,
        }
        call = entry_point("pool", "pool")
        nan = None if mean else (int(PoolWord.NAN), NAN_IN_POOL)
        return Bound(
            [Step(pool.name, call, descriptor(PoolWord, values), out_height, [values, source], nan=nan)], batch
        )
