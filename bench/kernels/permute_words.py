"""The words of counting by byte permutes (:mod:`.permute_ir`)."""

from enum import IntEnum


class Word(IntEnum):
    """What the kernel has to know."""

    IMAGE = 0  # packed, with its border; 8 bytes behind it may be read
    ROW = 1  # bytes
    PIXEL = 2  # bytes
    CHANNELS = 3
    STEP = 4  # stride, 1 or 2
    PARTNER = 5  # bytes from a pixel to its partner
    CORNERS = 6  # int64, where the window of the first pixel of each tile lies
    STRIP = 7  # tiles one under the other
    BLOCKS = 8  # of 64 output channels
    WEIGHTS = 9  # [block][chunk][tap][code][lane]
    WEIGHT_BYTES = 10  # of a block
    TABLE = 11
    OUT = 12  # uint16 [tile][block][pair][pixel][64]
    SIZE = 13


class Plan(IntEnum):
    """What counting reads of the rows of a tile; the first six are three words each, one for a row of the kernel."""

    SOURCES = 0  # where the bits of the first position lie
    SLOTS = 3  # where the table rows of the first position lie
    PIXEL = 6  # bytes
    PARTNER = 7  # bytes
    MASK = 8  # of the bits that there are
    TABLE = 9
    SIZE = 10
