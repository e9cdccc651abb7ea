"""Where bits lie: packed images, weights, tables, and the words by which kernels are called."""

from .images import BYTES, NIBBLES, SLICES, VECTOR, WORDS, ImageFormat, PackedImage, decode_image, new_image
from .memory import aligned
from .tables import block_table, border_bases, pieces, pixel_table
from .weights import interleaved, pack_constants, pack_weights

__all__ = [
    "BYTES",
    "NIBBLES",
    "SLICES",
    "VECTOR",
    "WORDS",
    "ImageFormat",
    "PackedImage",
    "aligned",
    "block_table",
    "border_bases",
    "decode_image",
    "interleaved",
    "new_image",
    "pack_constants",
    "pack_weights",
    "pieces",
    "pixel_table",
]
