"""CTP over two planes of bits: a tile is two pixels, each in both planes, so weights are loaded once for both."""

from .ctp import TILE_BYTES, count_ctp
from .epilogue import make_epilogue
from .tiles import make_convolution

__all__ = ["conv_ctp_planes"]

_epilogue = make_epilogue(4, 64, planes=2)
conv_ctp_planes = make_convolution(count_ctp, _epilogue, 4, TILE_BYTES)
