"""The walk of a convolution kernel over its units: runs of tiles of one block of output channels.

A unit is a tile of pixels × a block of channels, pixels running fastest. Dividing once a run and not once a unit made a
3×3 of 64 channels at 56² a tenth faster; the weights that the next run needs are asked for meanwhile, as they have left
the cache where a program does anything but this network: a sixth of a cold 3×3 of 512 channels at 7².
"""

from numba.extending import register_jitable

from ..layout.words import BLOCK_WORDS, PIXEL_WORDS, ConvWord
from .llvm import load_i64

__all__ = ["tile_run"]


@register_jitable
def tile_run(step: int, unit: int, end: int, pixels: int) -> tuple[int, int, int, int, int]:
    """Return the run that begins with ``unit``, for tiles of ``pixels`` rows of the pixel table.

    (address of the block, address of the first tile's rows, number of tiles, address of the next block's weights, bytes
    of them that each tile should prefetch).
    """
    tiles = load_i64(step, ConvWord.TILES)
    block = load_i64(step, ConvWord.BLOCKS) + unit // tiles * (8 * BLOCK_WORDS)
    first = unit % tiles
    count = min(tiles - first, end - unit)
    rows = load_i64(step, ConvWord.PIXELS) + first * (4 * PIXEL_WORDS * pixels)
    weight_bytes = load_i64(block, 5)
    return block, rows, count, load_i64(block, 1) + weight_bytes, (weight_bytes // count + 63) // 64 * 64
