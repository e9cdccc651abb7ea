"""The words of the kernels that move floats and change none; how words are used stands in :mod:`.words`."""

from enum import IntEnum

__all__ = ["RegroupWord", "RouteWord", "RunWord", "UpsampleWord"]


class RegroupWord(IntEnum):
    """Words of pixels in another order (kernels/regroup.py). Work is counted in blocks of PER pixels."""

    SOURCE = 0  # float32, channels last
    SOURCE_STRIDE = 1
    OUT = 2
    OUT_STRIDE = 3
    CHANNELS = 4
    PIXELS = 5  # of an image
    PER = 6
    ORDER = 7  # int64 [PIXELS]: which pixel comes here
    SIZE = 8


class RouteWord(IntEnum):
    """Words of a move of channels (kernels/route.py). Work is counted in blocks of PER pixels."""

    OUT = 0  # float32 NHWC
    OUT_STRIDE = 1
    OUT_PIXEL = 2  # bytes of a pixel
    PIXELS = 3  # of an image
    PER = 4
    RUNS = 5  # table of runs, a row of RunWord each
    COUNT = 6
    SIZE = 7


class RunWord(IntEnum):
    """Words of a run: channels at equal steps of one source that become channels at equal steps. All are bytes."""

    SOURCE = 0  # at the first channel
    SOURCE_STRIDE = 1
    SOURCE_PIXEL = 2
    SOURCE_STEP = 3
    TARGET = 4  # from the beginning of a pixel
    TARGET_STEP = 5
    COUNT = 6  # channels
    SECOND = 7  # a source whose channels go between them, at steps of one channel as well; 0 for none
    SECOND_STRIDE = 8
    SECOND_PIXEL = 9
    SIZE = 10


class UpsampleWord(IntEnum):
    """Words of nearest upsampling (kernels/route.py). Work is counted in rows of the result."""

    SOURCE = 0  # float32 NHWC
    SOURCE_STRIDE = 1
    ROW = 2  # bytes from one row to the next, and of pixels
    PIXEL = 3
    WIDTH = 4  # of the source
    CHANNELS = 5
    FACTOR_Y = 6
    FACTOR_X = 7
    OUT = 8  # float32 NHWC
    OUT_STRIDE = 9
    OUT_ROW = 10
    OUT_PIXEL = 11
    SIZE = 12
