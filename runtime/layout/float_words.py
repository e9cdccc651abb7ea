"""The words of the kernels that do float work between packed layers; how words are used stands in :mod:`.words`."""

from enum import IntEnum

__all__ = [
    "LINEAR_BLOCK",
    "LINEAR_GROUP",
    "MEAN_LANES",
    "NORM_LANES",
    "SIGNED_BLOCK",
    "SIGNED_LANES",
    "ChainOp",
    "ChainWord",
    "FloatStemWord",
    "LinearWord",
    "MeanWord",
    "NormWord",
    "PoolWord",
    "ShortcutWord",
    "SignedWord",
    "StageWord",
]

MEAN_LANES = 16
"""Channels of a block of a mean."""

NORM_LANES = 16
"""Sums that a sum over a row is made of."""

LINEAR_BLOCK, LINEAR_GROUP = 16, 4
"""Outputs of a block of a float dense layer, whose weights lie together, and blocks that are done together."""


SIGNED_BLOCK, SIGNED_LANES = 512, 16
"""Outputs of a block of signed sums; the last block has fewer, filled up to a multiple of the lanes."""


class ShortcutWord(IntEnum):
    """Words of a float shortcut (kernels/shortcut.py).

    Work is counted in rows of means first, then in blocks of output channels.
    """

    SOURCE = 0  # float32 NHWC
    SOURCE_STRIDE = 1
    HEIGHT = 2  # of the source
    WIDTH = 3
    CHANNELS = 4
    POOL_HEIGHT = 5
    POOL_WIDTH = 6
    STRIDE_Y = 7
    STRIDE_X = 8
    MEANS = 9  # float32 [output height, output width, CHANNELS]: scratch, or the source itself without a pool
    MEANS_STRIDE = 10
    WEIGHT = 11  # float32 [O / 16, CHANNELS, 16]
    BIAS = 12
    OUT = 13  # float32 NHWC
    OUT_STRIDE = 14
    OUT_WIDTH = 15
    OUT_PIXELS = 16
    OUTPUTS = 17  # O
    SIZE = 18


class FloatStemWord(IntEnum):
    """Words of the float stem (kernels/float_stem.py). Work is counted in rows of the output.

    A *slot* holds one row of the input, plane behind plane, each with its padding and its columns in as many *phases*
    as the stride has pixels: column x lies at x // stride of phase x % stride.
    """

    SOURCE = 0  # float32 NCHW, as the caller feeds it
    SOURCE_STRIDE = 1
    HEIGHT = 2  # of the source
    WIDTH = 3
    CHANNELS = 4  # C
    SLOTS = 5  # scratch: a ring of slots for each row of work, zeros where nothing is written
    SLOTS_STRIDE = 6  # bytes from one ring to the next
    SLOT = 7  # bytes of a slot
    PLANE = 8  # bytes of a plane in a slot
    PHASE = 9  # bytes of a phase in a plane
    TOP = 10  # padding
    LEFT = 11
    STRIDE_Y = 12
    STRIDE_X = 13
    KERNEL_HEIGHT = 14  # as many slots has a ring
    KERNEL_WIDTH = 15
    COLUMNS = 16  # int64 [kernel width]: where in a plane a tap of the first pixel lies
    TAPS = 17  # of a channel; a table of where they lie is made behind each ring
    WEIGHT = 18  # float32 [O / 16, C, TAPS, 16]; what is left of O lies behind them in a block of eight
    WEIGHT_BLOCK = 19  # bytes of a block of sixteen
    BIAS = 20
    OUTPUTS = 21  # O
    SUMS = 22  # address of the kernel that makes a row of sums
    SUMS_HEIGHT = 23
    SUMS_WIDTH = 24
    ROW = 25  # bytes of a row of sums
    ROWS = 26  # float32 NHWC, where rows of sums go: the output itself, or with a pool a ring for each row of work
    ROWS_STRIDE = 27  # bytes from one image to the next, or from one ring to the next
    CHAIN = 28  # address of the kernel of the stages, 0 where there are none
    CHAIN_WORDS = 29  # its words (ChainWord): an image of it is a row
    CHAIN_WORK = 30
    LATE = 31  # 1: the stages come behind the pool, 0: before it
    LATE_ROWS = 32  # rows of the output from one image of the batch to the next, 0 where all lie in one place
    POOL = 33  # address of the kernel that makes a row of the pool
    POOL_HEIGHT = 34  # 0: no pool; a ring has one row more
    POOL_WIDTH = 35
    POOL_STRIDE_Y = 36
    POOL_STRIDE_X = 37
    POOL_TOP = 38
    POOL_LEFT = 39
    OUT = 40  # float32 NHWC, of a pool
    OUT_STRIDE = 41
    OUT_WIDTH = 42
    NAN = 43  # set to 1 where the pool reads NaN
    SIZE = 44


class ChainWord(IntEnum):
    """Words of a chain of elementwise stages (kernels/chain.py). Work is counted in blocks of PER pixels."""

    SOURCE = 0  # float32 NHWC
    SOURCE_STRIDE = 1
    OUT = 2
    OUT_STRIDE = 3
    CHANNELS = 4
    PIXELS = 5  # of an image
    PER = 6
    STAGES = 7  # table of stages, a row of StageWord each
    COUNT = 8
    SIZE = 9


class StageWord(IntEnum):
    """Words of a stage of a chain."""

    OP = 0  # a ChainOp
    OTHER = 1  # its operand: a tensor, a gate, or a number per channel, PER pixels of it
    OTHER_STRIDE = 2
    OTHER_PIXEL = 3  # bytes from one pixel of the operand to the next, 0 where all pixels share it
    GATE = 4  # 1: the operand is one pixel, [C], and not PER of them
    SECOND = 5  # the second number per channel, PER pixels of it
    SIZE = 6


class ChainOp(IntEnum):
    """What a stage makes of x with its operand y, and of some with a second number per channel z."""

    ADD = 0  # x + y
    SUBTRACT = 1  # x − y
    SUBTRACT_FROM = 2  # y − x
    MULTIPLY = 3  # x · y
    DIVIDE = 4  # x / y
    PRELU = 5  # x < 0 ? x · y : x
    CLIP = 6  # x < y ? y : x; x > z ? z : x
    HARD_SIGMOID = 7  # the same of x · y + z, between 0 and 1
    HARD_SWISH = 8  # x times that
    SIGMOID = 9  # 1 / (1 + exp(−x))
    ERF = 10  # the error function
    SILU = 11  # x times SIGMOID of x: two stages that go together (steps/natives.py)


class LinearWord(IntEnum):
    """Words of a float dense layer (kernels/linear.py). Work is counted in groups of four blocks of outputs."""

    SOURCE = 0  # float32 [N, K]
    OUT = 1  # float32 [N, O]
    ROWS = 2  # N
    INPUTS = 3  # K
    OUTPUTS = 4  # O
    WEIGHT = 5  # float32 [O / 16, K, 16], the last block filled up
    BIAS = 6  # float32 [O]
    SIZE = 7


class MeanWord(IntEnum):
    """Words of a mean over images (kernels/mean.py).

    Work is counted in blocks of 16 channels; behind those of an image come those of the next, where they are rows.
    """

    SOURCE = 0  # float32 NHWC
    SOURCE_STRIDE = 1
    OUT = 2  # float32 [N, C]
    OUT_STRIDE = 3
    CHANNELS = 4
    HEIGHT = 5
    WIDTH = 6
    SIZE = 7


class NormWord(IntEnum):
    """Words of a layer normalization of rows (kernels/norm.py). Work is counted in blocks of PER rows."""

    SOURCE = 0  # float32 [R, C]
    OUT = 1  # the same
    ROWS = 2
    PER = 3
    CHANNELS = 4
    SCALE = 5  # float32 [C]
    BIAS = 6
    EPSILON = 7  # address of a float32
    SIZE = 8


class PoolWord(IntEnum):
    """Words of a pool (kernels/pool.py). Work is counted in rows of the result."""

    SOURCE = 0  # float32 NHWC
    SOURCE_STRIDE = 1
    ROW = 2  # bytes from one row to the next, and of pixels
    PIXEL = 3
    HEIGHT = 4  # of the source
    WIDTH = 5
    CHANNELS = 6
    POOL_HEIGHT = 7
    POOL_WIDTH = 8
    STRIDE_Y = 9
    STRIDE_X = 10
    TOP = 11
    LEFT = 12
    DIVISOR = 13  # of an average; 0: the pixels of the window that lie in the image
    OUT = 14  # float32 NHWC
    OUT_STRIDE = 15
    OUT_ROW = 16
    OUT_PIXEL = 17
    OUT_WIDTH = 18
    NAN = 19  # written by the kernel: 1 once there was a NaN in a window, whose maximum is then no definite number
    MEAN = 20  # 1: the means, 0: the largest
    SIZE = 21


class SignedWord(IntEnum):
    """Words of signed sums (kernels/signed_sums.py). Work is counted in blocks of outputs × rows, rows the fastest."""

    SOURCE = 0  # float32 [N, K]
    OUT = 1  # float32 [N, O]
    ROWS = 2  # N
    INPUTS = 3  # K
    OUTPUTS = 4  # O
    WEIGHT = 5  # uint32: block after block [K / 32, outputs of the block], as the kernel reads them (layout/signed.py)
    SCALE = 6  # float32 [O]
    BIAS = 7
    SIZE = 8
