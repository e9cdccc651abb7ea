"""LUT2 over two planes of bits: a look-up counts one pixel in both, where two pixels stand in LUT2 itself."""

from .lut2 import body_lut2
from .pairs import make_pair_convolution

__all__ = ["conv_lut2_planes"]

conv_lut2_planes = make_pair_convolution(body_lut2, [6, 2], planes=2)
