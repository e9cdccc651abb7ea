"""The float shortcut, prepared and bound: the means of its pool, then products of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..kernels.entry import entry_point
from ..kernels.registry import SHORTCUT_LANES as LANES
from ..layout.float_words import ShortcutWord
from ..layout.memory import aligned
from ..plan.parts import Planned
from ..plan.shortcut import Shortcut
from .buffers import Buffers
from .step import Bound, Step, descriptor, image_stride

__all__ = ["PreparedShortcut"]


@dataclass(frozen=True, eq=False)
class PreparedShortcut:
    """A shortcut with its weight float32 ``[O / LANES, C, LANES]`` and bias ``[O]``."""

    planned: Planned[Shortcut]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @classmethod
    def of(cls, planned: Planned[Shortcut]) -> "PreparedShortcut":
        """Lay out the weight."""
        outputs, channels = planned.part.weight.shape
        weight = aligned(outputs * channels, np.float32).reshape(outputs // LANES, channels, LANES)
        weight[:] = planned.part.weight.reshape(outputs // LANES, LANES, channels).transpose(0, 2, 1)
        return cls(planned, weight, np.ascontiguousarray(planned.part.bias, np.float32))

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step of the products and, with a pool, that of the means before it."""
        shortcut, kernel = self.planned.part, self.planned.kernel
        source = buffers.floats(shortcut.source, shortcut.rank, shortcut.weight.shape[1], shortcut.name)
        batch, *size, channels = source.shape
        pool, outputs = shortcut.pool, shortcut.channels_out
        height, width = size if pool is None else pool.output_size(*size)
        if height < 1 or width < 1:
            raise ModelError(f"node {shortcut.name}: an image of {size[0]}×{size[1]} is smaller than its pool")
        buffers.reserve(4 * height * width * channels, shortcut.name)
        out = buffers.new_floats(self.planned, (batch, height, width, outputs))
        means = source if pool is None else aligned(height * width * channels, np.float32).reshape(1, -1)
        values = {
            ShortcutWord.SOURCE: source,
            ShortcutWord.SOURCE_STRIDE: image_stride(source),
            ShortcutWord.HEIGHT: size[0],
            ShortcutWord.WIDTH: size[1],
            ShortcutWord.CHANNELS: channels,
            ShortcutWord.MEANS: means,
            ShortcutWord.MEANS_STRIDE: image_stride(means),
            ShortcutWord.WEIGHT: self.weight,
            ShortcutWord.BIAS: self.bias,
            ShortcutWord.OUT: out,
            ShortcutWord.OUT_STRIDE: image_stride(out),
            ShortcutWord.OUT_WIDTH: width,
            ShortcutWord.OUT_PIXELS: height * width,
            ShortcutWord.OUTPUTS: outputs,
        }
        if pool is not None:
            values |= {
                ShortcutWord.POOL_HEIGHT: pool.kernel[0],
                ShortcutWord.POOL_WIDTH: pool.kernel[1],
                ShortcutWord.STRIDE_Y: pool.strides[0],
                ShortcutWord.STRIDE_X: pool.strides[1],
            }
        words = descriptor(ShortcutWord, values)
        products = Step(shortcut.name, entry_point("shortcut", kernel.symbol), words, outputs // kernel.lanes, [values])
        if pool is None:
            return Bound([products], batch)
        mean_rows = entry_point("shortcut", "mean_rows")
        return Bound([Step(f"{shortcut.name}:mean", mean_rows, words, height, [values]), products], batch)
