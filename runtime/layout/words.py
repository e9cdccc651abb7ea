"""The words of a kernel: an int64 array that holds everything it needs, numbers and addresses.

Every kernel is one function ``kernel(words, image, begin, end)``: of the work on image ``image`` of the batch it does
the part ``begin … end − 1``. ``*_STRIDE`` words without another comment are bytes from one image to the next, 0 where
all images share a buffer.
"""

from enum import IntEnum, IntFlag

__all__ = [
    "FEW_TAPS",
    "GATHER_WORDS",
    "SHARED_HEAD",
    "BlockWord",
    "Constant",
    "ConvWord",
    "Flag",
    "PackWord",
    "PixelWord",
    "StemWord",
]


class ConvWord(IntEnum):
    """Words of a convolution. Its work is counted in tiles of pixels × blocks of channels, pixels running fastest."""

    ACT = 0  # packed input image, at the corner of the window of output pixel (0, 0)
    ACT_STRIDE = 1
    PIXELS = 2  # pixel table, a row of PixelWord each
    TILES = 3  # tiles of pixels per block
    PIECES = 4  # runs of bytes under the window: (offset, length) each
    PIECE_COUNT = 5
    BLOCKS = 6  # table of blocks of output channels, a row of BlockWord each
    BASE = 7  # float32 [classes, O]: accumulator / 2 = base − mismatches
    RESIDUAL = 8
    RESIDUAL_STRIDE = 9
    OUT = 10  # float32 NHWC
    OUT_STRIDE = 11
    BITS = 12  # packed output image, at its pixel (0, 0)
    BITS_STRIDE = 13
    LIMITS = 14  # int32 [classes, O], or bit planes (layout/slices.py): bit = mismatches < limit
    CHANNELS = 15  # O
    FLAGS = 16
    TABLE = 17  # look-up table of the kernel, or GATHER_WORDS words for each byte of a pixel of the copies
    SCRATCH = 18  # image that another kernel makes of the input first, or 0
    SCRATCH_STRIDE = 19  # bytes: from one pixel of a pair to the other, or from one copy to the next
    ACT_ROW = 20  # bytes of a row of the packed image
    INPUTS = 21  # input channels of a group
    CELLS = 22  # logarithm of the cells of 64 channels that a pixel has in a vector
    NIBBLES = 23  # of the packed output image, as in PackWord
    LIMITS_STRIDE = 24  # class stride of LIMITS in bytes / O, because the pixel table stores class · O
    ACT_PIXEL = 25  # bytes of a pixel of the packed image
    SCRATCH_PIXEL = 26  # bytes of a pixel of a copy
    GATHERS = 27  # bytes that are gathered for a pixel, all copies
    OUT_PIXEL = 28  # bytes from one pixel of OUT to the next: more than its channels where it lies in a wider value
    WIDTHS = 29  # bytes from a number of LIMITS to the width of its interval (layout/intervals.py)
    SIZE = 30


class BlockWord(IntEnum):
    """Words of a block of output channels."""

    GROUP = 0  # offset of the block's inputs in a pixel of the packed image
    WEIGHTS = 1
    FIRST = 2  # its first output channel
    CHANNELS = 3  # how many it has
    CONSTANTS = 4
    WEIGHT_BYTES = 5
    SIZE = 6


class PixelWord(IntEnum):
    """Words, int32, of an output pixel. Where a tile has more places than pixels, a place repeats one of its pixels."""

    INPUT = 0  # offset of its window in the packed image
    OUTPUT = 1  # number of the pixel, −1 where it is repeated
    TARGET = 2  # offset of the pixel in the packed output image
    CLASS = 3  # border class · O
    COUNTS = 4  # row of the tile that holds its mismatches
    SIZE = 5


class Constant(IntEnum):
    """Order of the constants of a vector of channels: float32 [blocks, channels of a block / width, constants, width].

    ``width`` is the kernel's: eight or sixteen channels go through the epilogue at once.
    """

    SCALE = 0  # twice the layer's scale
    BIAS = 1
    SHIFT_IN = 2
    SLOPE = 3
    SHIFT_OUT = 4
    THRESHOLD = 5
    TURN = 6  # 1, or −1: the factor of the values of which THRESHOLD is the least with a bit


class PackWord(IntEnum):
    """Words of packing, float32 → bits. Its work is counted in rows of pixels."""

    SOURCE = 0
    SOURCE_STRIDE = 1
    ROW_STRIDE = 2  # in elements, as the next; channels lie side by side
    PIXEL_STRIDE = 3
    THRESHOLD = 4
    TARGET = 5  # packed image, at its pixel (0, 0)
    TARGET_STRIDE = 6
    WIDTH = 7
    ROW_BYTES = 8
    PIXEL_BYTES = 9
    GROUPS = 10
    GROUP_CHANNELS = 11
    GROUP_BYTES = 12
    NIBBLES = 13  # 1: four channels in a byte, times two; 0: eight channels in a byte
    GROUP_STRIDE = 14  # of the source, in elements: the channels of a group, or 0 where every group reads the same ones
    POOL_HEIGHT = 15  # from here to SOURCE_WIDTH for pack_pooled alone
    POOL_WIDTH = 16
    POOL_STRIDE_Y = 17
    POOL_STRIDE_X = 18
    POOL_TOP = 19
    POOL_LEFT = 20
    SOURCE_HEIGHT = 21
    SOURCE_WIDTH = 22
    TURN = 23  # bytes from a threshold to the factor of what is compared with it: 1 or −1, or a gate; 0 where all are 1
    NAN = 24  # written by the kernel: 1 once there was a NaN in a window, whose maximum is then no definite number
    TURN_STRIDE = 25  # of the factors; those of pack_pooled are the same for all images
    SIZE = 26


class StemWord(IntEnum):
    """Words of the exact stem (kernels/stem.py). Work is counted in rows: first of the source, then of the output."""

    SOURCE = 0  # uint8 NHWC, or float32 of which a kernel makes bytes
    SOURCE_STRIDE = 1
    SOURCE_ROW = 2  # numbers in a row: W · C
    ZERO = 3  # int16, the zero points of a row
    INSIDE = 4  # image with its border, at its pixel (0, 0)
    IMAGE = 5  # the same, at the corner of its padding
    ROW = 6  # bytes of a row of it
    PIXEL = 7  # bytes from one window to the next in a row
    STRIDE_Y = 8  # rows from one window to the next
    KERNEL_HEIGHT = 9
    KERNEL_STEPS = 10  # pairs, or fours, of numbers in a row of a window
    WEIGHT = 11
    WEIGHT_STRIDE = 12  # bytes of a block of channels
    BLOCKS = 13  # blocks of output channels
    WIDTH = 14  # of the image of sums
    HEIGHT = 15
    RING = 16  # rows of sums
    RING_STRIDE = 17  # bytes of a ring
    POOL_HEIGHT = 18
    POOL_WIDTH = 19
    POOL_STRIDE_Y = 20
    POOL_STRIDE_X = 21
    POOL_TOP = 22
    POOL_LEFT = 23
    SCALE = 24
    BIAS = 25
    THRESHOLD = 26
    CHANNELS = 27
    OUT = 28  # float32 NHWC, or 0
    OUT_STRIDE = 29
    OUT_WIDTH = 30
    BITS = 31  # packed output image, at its pixel (0, 0), or 0
    BITS_STRIDE = 32
    BITS_ROW = 33
    BITS_PIXEL = 34
    NIBBLES = 35
    SUMS = 36  # address of the kernel of the sums
    SUMS_PIXEL = 37  # bytes from one pixel of sums to the next
    SUMS_ROW = 38  # bytes of a row of sums
    TURN = 39  # factors of what is compared with THRESHOLD
    COLUMN_STEPS = 40  # fours of numbers, one under the other, that end the rows of a window, or 0
    INVERSE = 41  # float32, for floats that become bytes: the reciprocal of their scale
    NAN = 42  # written by the kernel that makes bytes of floats: 1 once there was a NaN
    SIZE = 43


class Flag(IntFlag):
    """What the epilogue of a convolution does."""

    RESIDUAL = 1
    ACTIVATION = 2
    STORE = 4
    BITS = 8
    LIMITS = 16
    RELU = 32
    INTERVALS = 64  # besides LIMITS: bit = mismatches − limit < width


FEW_TAPS = 14
"""Up to so many taps are counted in four bit planes, more in eight: a limit, one above the count, must fit too."""

GATHER_WORDS = 3
"""Words of a byte to gather (kernels/copies.py): offset of eight bytes in the input's pixel, the places of eight bits
in them as a byte each, offset of the byte from the pixel of the first copy."""

SHARED_HEAD = 8
"""Words before the counters of a shared program (kernels/program.py): open, threads inside, address of sched_yield,
threads that may help. The rest keeps the counters away from them in the cache."""
