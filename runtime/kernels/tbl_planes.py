"""TBL over two planes of bits: a look-up counts one pixel in both, where two pixels stand in TBL itself."""

from .pairs import make_pair_convolution
from .tbl import LANES, body_tbl

__all__ = ["conv_tbl_planes"]

conv_tbl_planes = make_pair_convolution(body_tbl, [3, 1], LANES, planes=2)
