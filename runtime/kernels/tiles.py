"""The walk of every convolution kernel over its work: runs of tiles of one block of output channels.

Work is counted in tiles of pixels × blocks of channels, pixels running fastest. A run is the tiles of one block that a
call has to do. The division that finds the block is made once a run and not once a tile, which made a 3×3 of 64
channels at 56² a tenth faster.

While a run is counted, the weights of the next block are prefetched. They have left the cache wherever a program does
anything but this network; waiting for them took a sixth of a cold 3×3 of 512 channels at 7².
"""

from typing import Any

from ..layout.words import BlockWord, ConvWord, PixelWord
from .llvm import kernel, load_i64, prefetch, routine, scratch

__all__ = ["make_convolution"]

_BLOCK_BYTES, _PIXEL_BYTES = 8 * BlockWord.SIZE, 4 * PixelWord.SIZE


def make_convolution(count: Any, epilogue: Any, pixels: int, tile_bytes: int) -> Any:
    """Return the kernel that fills and finishes tiles of ``pixels`` rows of the pixel table, ``tile_bytes`` bytes each.

    ``count(builder, words, image, source, block, rows, tile)`` emits the mismatches of a tile: ``source`` is the image
    that a kernel before this one made, or else the packed input; ``block`` and ``rows`` are the tile's block of
    channels and its rows of the pixel table. ``epilogue(builder, words, image, block, rows, tile)`` makes floats and
    bits of them. Both are emitted into the loop: calls doubled the time of a depthwise 3×3 of 64 channels at 56².
    """
    count, epilogue = routine(count), routine(epilogue)

    @kernel
    def convolution(words: int, image: int, begin: int, end: int) -> None:
        """Do work ``begin … end − 1`` of a convolution on one image of the batch."""
        source = load_i64(words, ConvWord.SCRATCH)
        if source == 0:
            source = load_i64(words, ConvWord.ACT) + image * load_i64(words, ConvWord.ACT_STRIDE)
        tiles = load_i64(words, ConvWord.TILES)
        tile = scratch(tile_bytes)
        work = begin
        while work < end:
            block = load_i64(words, ConvWord.BLOCKS) + work // tiles * _BLOCK_BYTES
            first = work % tiles
            run = min(tiles - first, end - work)
            rows = load_i64(words, ConvWord.PIXELS) + first * (_PIXEL_BYTES * pixels)
            weight_bytes = load_i64(block, BlockWord.WEIGHT_BYTES)
            ahead, share = load_i64(block, BlockWord.WEIGHTS) + weight_bytes, (weight_bytes // run + 63) // 64 * 64
            for _ in range(run):
                prefetch(ahead, share)
                count(words, image, source, block, rows, tile)
                epilogue(words, image, block, rows, tile)
                rows += _PIXEL_BYTES * pixels
                ahead += share
            work += run

    return convolution
